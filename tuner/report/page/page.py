"""The page of one or several experiments as text: everything in one file, and nothing in it that a
trial could execute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.report import format
from tuner.report.importance import Importance
from tuner.report.page import drawing as draw
from tuner.report.page import learning, networks, overview, predicted, replayed, search_space
from tuner.report.page.axes import ValueAxis, axes_of, by_importance, importance_of
from tuner.report.page.confirmed import confirmed_figure, confirmed_heads, confirmed_rows
from tuner.report.page.drawing import Figure, Layout, Trace
from tuner.report.page.html import clean, embedded, label, render_file, tick
from tuner.report.page.source import PageSource
from tuner.report.page.trials import TrialColumn, trial_columns
from tuner.report.prediction_document import heading
from tuner.report.profile import profile_table
from tuner.report.trials_table import superseded_table
from tuner.report.workers import workers_table

MAX_SLICES = 12
REFRESH_SECONDS = 30  # as often as a page is written again while its run is on
_MOST_NARROW = 6  # classes of a matrix that a telephone shows without scrolling
_MOST_POINTS = 400  # of an experiment, beside others


@dataclass(frozen=True)
class Panel:
    """A figure in its place: `kind` tells the page how to frame it, `span` how many of the twelve
    columns it takes where there is room.
    """

    id: str
    title: str
    lead: str
    figure: Figure
    kind: str = ""
    span: int = 12


@dataclass(frozen=True)
class PageSection:
    """Panels that answer one question, and what is said of what is not drawn."""

    id: str
    title: str
    panels: tuple[Panel, ...]
    said: str = ""


def render_page(sources: Sequence[PageSource]) -> str:
    """The whole file. Deterministic: the same ledgers give the same page."""
    views = [_view(source, f"e{place}") for place, source in enumerate(sources)]
    comparison = _comparison(sources) if len(sources) > 1 else None
    title = format.joined([view["name"] for view in views]) or "tuner"
    refresh = REFRESH_SECONDS if any(view["running"] for view in views) else 0
    context = {"title": title, "experiments": views, "comparison": comparison, "refresh": refresh}
    return render_file("page.html.j2", context)


def page_data(
    metric: str, best: int | None, columns: Iterable[TrialColumn], panels: Iterable[Panel]
) -> str:
    """What the page's scripts read of an experiment or a comparison."""
    return embedded(
        {
            "metric": clean(metric),
            "best": best,
            "columns": [column.to_json() for column in columns],
            "figures": {panel.id: panel.figure.to_json() for panel in panels},
        }
    )


def panel_of(
    id: str, title: str, lead: str, figure: Figure | None, kind: str = "", span: int = 12
) -> tuple[Panel, ...]:
    """A figure in its place; none where there is no figure."""
    return (Panel(id, title, lead, figure, kind, span),) if figure is not None else ()


def _view(source: PageSource, id: str) -> dict[str, Any]:
    """What the template shows of one experiment; `data` is what its scripts read."""
    record, best = source.record, source.best
    axes = axes_of(source)
    importance = importance_of(source, axes)
    sections = sections_of(source, axes, importance)
    confirmed, images = _confirmed_view(source), _predicted_view(source)
    panels = [panel for section in sections for panel in section.panels]
    if confirmed:
        panels.insert(0, confirmed["panel"])
    if images:
        panels += images["panels"]
    return {
        "id": id,
        "name": clean(record.name),
        "running": _running(source),
        "description": clean(str(source.document.get("description") or "")),
        "objective": f"{clean(record.metric)}, {source.objective.better} is better",
        "facts": overview.facts(source),
        "tiles": overview.tiles(source),
        "histogram": overview.histogram_of(source),
        "states": overview.state_counts(source),
        "best_values": overview.best_values(source),
        "best_curve": overview.sparkline_of(source),
        "findings": overview.findings(source, importance),
        "confirmed": confirmed,
        "test_images": images,
        "sections": sections,
        "failures": overview.failures(source),
        "superseded": superseded_table(record),
        "profile": profile_table(record.profile) if record.profile else None,
        "workers": workers_table(record.workers, is_running=record.is_running),
        "num_trials": len(source.rows),
        "yaml": clean(source.yaml),
        "environment": overview.environment_rows(dict(record.environment)),
        "data": page_data(
            record.metric, best.number if best else None, trial_columns(source), panels
        ),
    }


def _running(source: PageSource) -> str:
    """That this is no end, and as of when; empty for a run that has ended."""
    record = source.record
    if not record.is_running:
        return ""
    ended = len(record.ranking.ranked) + len(record.ranking.unranked)
    planned = len(record.rows) + record.missing
    return (
        f"This run is on: {ended:,} of {format.counted(planned, 'trial')} have ended. All figures "
        f"may change; the page loads itself again every {REFRESH_SECONDS} s."
    )


def _confirmed_view(source: PageSource) -> dict[str, Any] | None:
    """Where `tuner confirm` has been: it stands above all that the search alone can say."""
    if source.confirmed is None:
        return None
    lead = "From the score in the search to the mean on the test set."
    return {
        "sentences": source.confirmed.sentences,
        "panel": Panel("confirmed", "", lead, confirmed_figure(source.confirmed)),
        "heads": confirmed_heads(source.confirmed),
        "rows": confirmed_rows(source.confirmed),
    }


def _predicted_view(source: PageSource) -> dict[str, Any] | None:
    """What the leaders say of single test images, where that is kept."""
    found, confirmed = source.predicted, source.confirmed
    if found is None or confirmed is None:
        return None
    names = [confirmed.short_names[one.place - 1] for one in found.leaders]
    first, name = found.leaders[0], names[0]
    chosen = "the search's best" if first.place == 1 else f"configuration {name}"
    classes, matrix = predicted.class_figure(found, names), predicted.confusion_figure(found, names)
    calibration = predicted.calibration_figure(found, names)
    hard, sure = "The hardest is on top.", "Can its probabilities be relied on?"
    taken = "What each class is taken for."
    is_wide = len(first.matrix.names if first.matrix else ()) > _MOST_NARROW
    return {
        "sentences": [f"{heading(first)}:", *found.sentences],
        "panels": [
            *panel_of("classes", "Each class", hard, classes, span=6),
            *panel_of("calibration", "Calibration", sure, calibration, span=6),
            *panel_of("confusion", "Confusion matrix", taken, matrix, "matrix" if is_wide else ""),
        ],
        "heads": predicted.CONFUSION_HEADS,
        "rows": predicted.confusion_rows(first),
        "worst": predicted.worst_cards(first),
        "worst_note": predicted.worst_note(first, chosen),
    }


# ---------------------------------------------------------------------- sections


def sections_of(
    source: PageSource, axes: Sequence[ValueAxis], importance: Importance
) -> list[PageSection]:
    """All that can be drawn of an experiment, sections without a panel left out."""
    metric = format.printable(source.objective.metric)
    ordered = by_importance(axes, importance)
    curves = learning.curves_figure(source, learning.curves_of(source))
    timeline = learning.timeline_figure(source, learning.timeline_of(source))
    by_rank = "One line for each trial, in the colour of its rank; the best is on top."
    when = "Which worker trained which trial when."
    panels = {
        "curves": ("Learning curves", panel_of("curves", "", by_rank, curves, "shaded")),
        "mattered": ("What mattered", _mattered(source, ordered, importance, metric)),
        "together": ("Values together", _together(source, ordered, metric)),
        "cost": ("Progress and cost", _cost(source, metric)),
        "inside": ("Inside the network", _inside(source)),
        "time": ("Time line", panel_of("timeline", "", when, timeline)),
    }
    inside = source.inside
    said = {"inside": networks.reuse_said(inside.row, inside.blocks) if inside.row else ""}
    return [
        PageSection(id, title, drawn, said.get(id, ""))
        for id, (title, drawn) in panels.items()
        if drawn or said.get(id)
    ]


def spans_of(count: int) -> list[int]:
    """Columns for so many small figures, so that every row is full: three or four, or two."""
    tail = {0: [], 1: [3] * 4, 2: [6] * 2}[count % 3] if count > 1 else [12] * count
    return [4] * (count - len(tail)) + tail


def _mattered(
    source: PageSource, axes: Sequence[ValueAxis], importance: Importance, metric: str
) -> tuple[Panel, ...]:
    lead = f"How much each hyperparameter had to do with {metric}."
    shares = search_space.importance_figure(source, importance)
    slices = [
        (format.printable(axis.title), figure)
        for axis in axes[:MAX_SLICES]
        if (figure := search_space.slice_figure(source, search_space.slice_of(source, axis)))
    ]
    return (
        *panel_of("importance", "Importance", lead, shares),
        *_small("slice", slices, f"{metric} at each value"),
    )


def _small(name: str, drawn: Sequence[tuple[str, Figure]], lead: str) -> tuple[Panel, ...]:
    """Small figures beside each other."""
    return tuple(
        Panel(f"{name}-{place}", title, lead, figure, "slice", span)
        for place, (span, (title, figure)) in enumerate(
            zip(spans_of(len(drawn)), drawn, strict=True)
        )
    )


def _together(source: PageSource, axes: Sequence[ValueAxis], metric: str) -> tuple[Panel, ...]:
    parallel = search_space.parallel_figure(source, search_space.parallel_of(source, axes))
    brush = "Drag along an axis to keep only trials that pass there; the table follows."
    means = f"Mean {metric} at each pair of values."
    return (
        *panel_of("parallel", "Parallel coordinates", brush, parallel, "parallel"),
        *panel_of("pairs", "Pairs", means, search_space.pairs_figure(source, axes), "pairs"),
    )


def _cost(source: PageSource, metric: str) -> tuple[Panel, ...]:
    progress = learning.progress_figure(source, learning.progress_of(source))
    tradeoff = learning.tradeoff_figure(source, learning.tradeoffs_of(source))
    rising = "How the best score came about."
    replays = replayed.replays_of_page(source)
    replay = replayed.replayed_figure(replays) if replays else None
    return (
        *panel_of("progress", "Best so far", rising, progress, span=6),
        *panel_of("tradeoff", f"What {metric} costs", "Left is cheaper.", tradeoff, span=6),
        *panel_of("replayed", "Stopping rules, replayed", replayed.LEAD, replay),
    )


def _inside(source: PageSource) -> tuple[Panel, ...]:
    """A panel for each dense block, and one for the gradients; most runs keep neither."""
    inside = source.inside
    gradients = networks.gradients_figure(inside.watched)
    blocks = [
        (
            f"Feature reuse in {format.printable(block.name)}",
            networks.reuse_figure(inside.row, block),
        )
        for block in inside.blocks
        if inside.row and block.tells
    ]
    return (
        *_small("reuse", blocks, "Which earlier layers each layer reads."),
        *panel_of("gradients", "Gradients", "Do they reach the first layers?", gradients),
    )


# ---------------------------------------------------------------------- several experiments


def _comparison(sources: Sequence[PageSource]) -> dict[str, Any]:
    """The overview of several experiments; only scores of one meaning share a figure."""
    objectives = {source.objective for source in sources}
    figure = _scores_figure(sources, objectives.pop().metric) if len(objectives) == 1 else None
    data = {"figures": {"scores": figure.to_json()} if figure else {}, "columns": []}
    return {
        "rows": [_comparison_row(source, f"e{place}") for place, source in enumerate(sources)],
        "panel": Panel("scores", "", "", figure) if figure else None,
        "data": embedded(data),
    }


def _scores_figure(sources: Sequence[PageSource], metric: str) -> Figure | None:
    """A column of points for each experiment, its best on top and its middle half as a box."""
    if not any(source.ranked for source in sources):
        return None
    traces: list[Trace] = []
    for place, source in enumerate(sources):
        scores = [row.score for row in source.ranked if row.score is not None]
        if scores:
            chosen = draw.spread_out(scores, _MOST_POINTS)
            marker = {"color": draw.TRIAL, "size": 6, "opacity": 0.55}
            texts = [format.score_text(score) for score in chosen]
            traces += [
                draw.box(place, scores),
                draw.column(place, chosen, marker, text=texts),
                _winner(place, scores[0]),
            ]
    layout: Layout = {
        "xaxis": draw.names_axis([tick(source.record.name) for source in sources]),
        "yaxis": draw.titled(label(metric)),
    }
    parts = [f"{format.printable(s.record.name)} {len(s.ranked):,}" for s in sources]
    note = f"Ranked trials: {', '.join(parts)}. Boxes hold the middle half, lines are medians."
    return Figure(traces, layout, note)


def _winner(place: int, score: float) -> Trace:
    return draw.points(
        [place],
        [score],
        {"color": draw.BEST, "size": 14, "symbol": "star"},
        mode="markers+text",
        text=[format.score_text(score)],
        textposition="top center",
        textfont={"color": draw.INK, "size": 13},
        cliponaxis=False,
    )


def _comparison_row(source: PageSource, id: str) -> dict[str, Any]:
    best = source.best
    return {
        "id": id,
        "name": clean(source.record.name),
        "objective": clean(source.objective.metric),
        "score": format.score_text(best.score if best else None),
        "trial": best.number if best else None,
        "best_values": clean(format.values_text(best.values)) if best else "",
        "ranked": len(source.ranked),
        "trials": len(source.rows),
        "parameters": format.count_text(best.parameters if best else None),
        "seconds": format.seconds_text(overview.wall_seconds(source)),
    }
