"""The best score so far, against the time and the epochs that it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.ledger.records import TrialRow
from tuner.report.page.clock import stretches, unit_of
from tuner.report.page.figure import BEST, TRIAL, Figure, Layout, Trace, View, coverage, title
from tuner.report.page.source import Source
from tuner.report.page.text import label, number, numbers


@dataclass(frozen=True)
class Progress:
    """Ended trials in the order of their ends, ranked ones only.

    `seconds` count from the first start of all, pauses included; `epochs` are those of all trials
    that had ended by then, whether they are ranked or not.
    """

    rows: tuple[TrialRow, ...]
    seconds: tuple[float, ...]
    epochs: tuple[int, ...]
    best: tuple[float, ...]


def progress_of(source: Source) -> Progress:
    """How the best score rose (or fell, where lower is better)."""
    places = {row.number for row in source.ranked}
    ended = stretches(source)
    begin = min((stretch.start for stretch in ended), default=0.0)
    better = max if source.is_max else min
    rows: list[TrialRow] = []
    seconds: list[float] = []
    epochs: list[int] = []
    best: list[float] = []
    trained = 0
    for stretch in ended:
        trained += stretch.row.epochs
        score = stretch.row.score
        if stretch.row.number in places and score is not None:
            rows.append(stretch.row)
            seconds.append(stretch.end - begin)
            epochs.append(trained)
            best.append(better(best[-1], score) if best else score)
    return Progress(tuple(rows), tuple(seconds), tuple(epochs), tuple(best))


def progress_figure(source: Source, found: Progress) -> Figure | None:
    """A stair, and each trial as a point below it."""
    if len(found.rows) < 2:
        return None
    unit, length = unit_of(found.seconds[-1])
    hours = [second / length for second in found.seconds]
    by_time = {"title": title(f"{unit} since the first trial began"), "rangemode": "tozero"}
    by_epochs = {"title": title("epochs trained, over all trials"), "rangemode": "tozero"}
    layout: Layout = {
        "xaxis": by_time,
        "yaxis": {"title": title(label(source.record.metric))},
        "showlegend": True,
        "hovermode": "closest",
    }
    views = (
        View("time", _traces(found, hours), {"xaxis": by_time}),
        View("epochs", _traces(found, found.epochs), {"xaxis": by_epochs}),
    )
    return Figure(_traces(found, hours), layout, coverage(source, found.rows), 340, views)


def _traces(found: Progress, xs: Sequence[float]) -> list[Trace]:
    steps = [i for i, best in enumerate(found.best) if i == 0 or best != found.best[i - 1]]
    stair_x = [*(xs[i] for i in steps), xs[-1]]
    stair_y = [*(found.best[i] for i in steps), found.best[-1]]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": numbers(xs),
            "y": [number(row.score) for row in found.rows],
            "customdata": [row.number for row in found.rows],
            "marker": {
                "color": TRIAL,
                "size": 5 if len(xs) > 200 else 7,
                "opacity": 0.5,
            },
            "name": "trial",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(stair_x),
            "y": numbers(stair_y),
            "line": {"color": BEST, "width": 2.5, "shape": "hv"},
            "hoverinfo": "skip",
            "name": "best so far",
        },
    ]
