"""What stopping rules would have saved and lost, drawn: in the page of a grid, and of a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuner.experiment.schema import AshaStop, MedianStop, PatienceStop
from tuner.report import format
from tuner.report.page import drawing as draw
from tuner.report.page.drawing import Figure, Layout
from tuner.report.page.html import clean, embedded, label, render_file, tick
from tuner.report.page.source import PageSource
from tuner.report.replay import (
    MIN_CURVES,
    ORDERS,
    OverOrders,
    ReplayedRule,
    Replays,
    replay_table,
    replays_of,
    whole_curves,
)

_LEAST_EPOCHS = 6  # of the longest trial; rules have nothing to save in fewer
_MOST_EPOCHS = 60_000  # of all trials together; a page must not take longer than the run's end
_REPLAYED_EPOCHS = 150_000  # over all orders, of each rule
_LEAST_ORDERS = 20


def replayed_figure(replays: Replays) -> Figure:
    """A point for each rule: to the right is cheaper, lower is nearer to the best score."""
    rules = replays.replays
    saved, regrets = [r.epochs_saved for r in rules], [r.regret for r in rules]
    marker = {"color": draw.TRIAL, "size": 11}
    trace = draw.points(
        (100 * share.mean for share in saved),
        (regret.mean for regret in regrets),
        marker,
        mode="markers+text",
        text=[tick(rule.rule) for rule in rules],
        textposition="top center",
        textfont={"color": draw.INK, "size": 12},
        cliponaxis=False,
        error_x=_whiskers(saved, 100),
        error_y=_whiskers(regrets, 1),
    )
    metric = label(format.printable(replays.objective.metric))
    layout: Layout = {
        "xaxis": draw.titled("epochs saved (%)", range=[0, 104]),
        "yaxis": draw.titled(f"regret ({metric})", rangemode="tozero"),
        "showlegend": False,
    }
    note = f"{replays.about}. Lines hold 95 % of the orders. A rule that saves much and has no "
    return Figure([trace], layout, f"{note}regret would have done no harm.", 340)


def _whiskers(values: Sequence[OverOrders], scale: float) -> Layout:
    above = (scale * (value.high - value.mean) for value in values)
    below = (scale * (value.mean - value.low) for value in values)
    return draw.whiskers(above, below, color=draw.MUTED, thickness=1.2, width=4)


def replays_of_page(source: PageSource) -> Replays | None:
    """Some rules over an experiment that was trained whole; None for any other."""
    search = source.document.get("search")
    search = search if isinstance(search, Mapping) else {}
    is_whole = search.get("method", "grid") == "grid" and not search.get("stop")
    if source.record.is_running or not is_whole:
        return None
    curves, left_out = whole_curves(source.rows, dict(source.epochs), source.objective)
    total, longest = sum(map(len, curves)), max(map(len, curves), default=0)
    if len(curves) < MIN_CURVES or longest < _LEAST_EPOCHS or total > _MOST_EPOCHS:
        return None
    orders = max(_LEAST_ORDERS, min(ORDERS, _REPLAYED_EPOCHS // total))
    rules = list(_usual_rules(longest))
    return replays_of(
        source.record.name, curves, rules, source.objective, left_out=left_out, orders=orders
    )


def _usual_rules(epochs: int) -> Iterator[ReplayedRule]:
    """Halving from a ninth and from a third of the training on, the median, patience."""
    for part in (9, 3):
        yield ReplayedRule((AshaStop(rule="asha", min_epochs=max(1, epochs // part)),))
    yield ReplayedRule((MedianStop(rule="median", min_epochs=max(1, epochs // 9)),))
    yield ReplayedRule((PatienceStop(rule="patience", epochs=max(1, epochs // 3)),))


def replay_page(replays: Replays) -> str:
    """The whole file of `tuner replay -f html`."""
    table, figure = replay_table(replays), replayed_figure(replays)
    data: dict[str, Any] = {"figures": {"replayed": figure.to_json()}, "columns": []}
    view = {
        "name": clean(replays.name),
        "facts": ["replay", clean(replays.about)],
        "heads": [clean(column.title) for column in table.columns],
        "rows": [[clean(cell) for cell in row] for row in table.texts()],
        "numeric": [place for place, column in enumerate(table.columns) if column.numeric],
        "notes": [clean(note) for note in table.all_notes],
        "panel": {"id": "replayed", "title": "", "lead": LEAD, "kind": "", "span": 12}
        | {"figure": figure},
        "data": embedded(data),
    }
    return render_file("replay.html.j2", {"title": view["name"], "view": view})


LEAD = "What each rule would have saved, and what it would have lost."
