"""Slices: the score against the value of one hyperparameter, everything else as it happens."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.ledger.records import TrialRow
from tuner.report.marginals import Group, group_of
from tuner.report.page.axes import ABSENT, ValueAxis
from tuner.report.page.figure import BEST, TRIAL, Figure, Layout, Trace, coverage, spread_out, title
from tuner.report.page.source import Source
from tuner.report.page.text import number

_GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly, and are always the same
_WIDTH = 0.34  # of the band in which the points of one category are spread
_MAX_MEANS = 12
_MAX_POINTS = 2_000


@dataclass(frozen=True)
class Slice:
    """A point for each ranked trial that has the hyperparameter, and the mean at each value."""

    axis: ValueAxis
    rows: tuple[TrialRow, ...]
    positions: tuple[float, ...]
    means: tuple[tuple[float, Group], ...]


def slice_of(source: Source, axis: ValueAxis) -> Slice:
    """Positions and scores along one axis; means where few values were tried."""
    rows, positions = [], []
    by_position: dict[float, list[float]] = defaultdict(list)
    for row in source.ranked:
        position = axis.position(row.value(axis.name, ABSENT))
        if position is not None and row.score is not None:
            rows.append(row)
            positions.append(position)
            by_position[position].append(row.score)
    means = tuple((place, group_of("", by_position[place])) for place in sorted(by_position))
    wanted = len(means) <= _MAX_MEANS and len(rows) > len(means)
    return Slice(axis, tuple(rows), tuple(positions), means if wanted else ())


def slice_figure(source: Source, found: Slice) -> Figure | None:
    """Points, spread a little sideways where they share a place, and their means."""
    if not found.rows:
        return None
    others = [i for i, row in enumerate(found.rows) if not source.is_best(row)]
    chosen = spread_out(others, _MAX_POINTS)
    traces = [_points(found, chosen)]
    if found.means:
        traces.append(_means(found))
    traces += [_best(found, i) for i, row in enumerate(found.rows) if source.is_best(row)]
    layout: Layout = {
        "xaxis": found.axis.layout(),
        "yaxis": {"title": title("")},
        "hovermode": "closest",
    }
    absent = len(source.ranked) - len(found.rows)
    note = coverage(source, found.rows, {"without this hyperparameter": absent})
    if len(chosen) < len(others):
        note += f" {len(chosen):,} of them, evenly over the ranks, are drawn; means are of all."
    return Figure(traces, layout, note, 240)


def _points(found: Slice, chosen: Sequence[int]) -> Trace:
    many = len(chosen) > 200
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [number(_spread(found, i)) for i in chosen],
        "y": [number(found.rows[i].score) for i in chosen],
        "customdata": [found.rows[i].number for i in chosen],
        "marker": {
            "color": TRIAL,
            "size": 4 if many else 7,
            "opacity": 0.45 if many else 0.65,
        },
        "name": "trial",
    }


def _best(found: Slice, place: int) -> Trace:
    row = found.rows[place]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [number(_spread(found, place))],
        "y": [number(row.score)],
        "customdata": [row.number],
        "marker": {"color": BEST, "size": 13, "symbol": "star"},
        "name": "best",
    }


def _means(found: Slice) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [number(place) for place, _ in found.means],
        "y": [number(group.mean) for _, group in found.means],
        "error_y": {
            "type": "data",
            "array": [number(group.spread or 0.0) for _, group in found.means],
            "color": "@ink",
            "thickness": 1.2,
            "width": 4,
        },
        "text": [f"mean of {group.n}" for _, group in found.means],
        "marker": {"color": "@ink", "symbol": "diamond", "size": 7},
        "line": {"color": "@ink", "width": 1, "dash": "dot"},
        "name": "mean ± standard deviation",
    }


def _spread(found: Slice, place: int) -> float:
    """Sideways by the trial's number, so that points do not hide each other."""
    position = found.positions[place]
    if not found.means:
        return position
    width = _WIDTH if found.axis.is_category else _narrowest(found) * _WIDTH
    share = (found.rows[place].number * _GOLDEN) % 1.0 - 0.5
    return position + share * width


def _narrowest(found: Slice) -> float:
    places = [place for place, _ in found.means]
    gaps = [b - a for a, b in itertools.pairwise(places)]
    return min(gaps, default=0.0)
