"""What the sides reach with so many parameters or multiply-adds, with the front of each."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.comparing.reach import Configuration, fronts
from tuner.report.page.contest import Contest, Contestant
from tuner.report.page.figure import Figure, Layout, Trace, View, spread_out, title
from tuner.report.page.figures_sides import level_line
from tuner.report.page.figures_tradeoff import cost_axis
from tuner.report.page.text import label, number, numbers

_MOST_POINTS = 400  # a side
_SIZES = {"parameters": "parameters", "macs": "multiply-adds per image"}
_LABELS = {"parameters": "parameters", "macs": "multiply-adds"}


def sizes_figure(contest: Contest) -> Figure | None:
    """A point for each configuration, its mean over seeds; lines are the fronts."""
    views = tuple(
        View(_LABELS[size], _traces(contest, size), {"xaxis": cost_axis(axis, known)})
        for size, axis in _SIZES.items()
        if len(set(known := _known(contest, size))) > 1
    )
    if not views:
        return None
    layout: Layout = {
        **views[0].layout,
        "yaxis": {"title": title(f"mean {label(contest.found.metric)}")},
        "shapes": level_line(contest.found.target),
        "showlegend": True,
        "hovermode": "closest",
    }
    total = sum(len(one.tried) for one in contest.contestants)
    note = (
        f"{words.counted(total, 'configuration')}, each by its mean over seeds. Nothing of a side "
        "is both smaller and better than its line; the dashed line is the score at which costs "
        "are compared."
    )
    return Figure(views[0].traces, layout, note, 380, views)


def size_of(row: TrialRow, size: str) -> int | None:
    """Parameters or multiply-adds of a trial's network."""
    return row.parameters if size == "parameters" else row.macs


def _known(contest: Contest, size: str) -> list[float]:
    rows = (c.entries[0].row for one in contest.contestants for c in one.tried)
    return [float(found) for row in rows if (found := size_of(row, size))]


def _traces(contest: Contest, size: str) -> list[Trace]:
    traces = []
    for one in contest.contestants:
        known = [c for c in one.tried if size_of(c.entries[0].row, size)]
        ordered = sorted(known, key=lambda c: -c.score)
        traces.append(_points(contest, one, spread_out(ordered, _MOST_POINTS), size))
        traces.append(_front(contest, one, size))
    return traces


def _points(contest: Contest, one: Contestant, tried: Sequence[Configuration], size: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [size_of(c.entries[0].row, size) for c in tried],
        "y": [number(contest.sign * c.score) for c in tried],
        "customdata": [contest.number_of(c.entries[0]) for c in tried],
        "text": [_text(contest, one, c) for c in tried],
        "marker": {"color": one.color, "size": 7, "opacity": 0.5, "symbol": one.symbol},
        "name": label(one.side.name),
        "legendgroup": str(one.place),
        "showlegend": False,
    }


def _text(contest: Contest, one: Contestant, tried: Configuration) -> str:
    if len(tried.entries) == 1:
        return one.side.name
    mean = words.score_text(contest.sign * tried.score)
    return f"{one.side.name}: mean {mean} over {len(tried.entries)} seeds; the first of them:"


def _front(contest: Contest, one: Contestant, size: str) -> Trace:
    front = fronts(one.tried)[size]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": numbers(cost for cost, _ in front),
        "y": numbers(contest.sign * score for _, score in front),
        "line": {"color": one.color, "width": 2.5, "dash": one.dash},
        "marker": {"color": one.color, "size": 9, "symbol": one.symbol},
        "hoverinfo": "skip",
        "name": label(one.side.name),
        "legendgroup": str(one.place),
        "showlegend": True,
    }
