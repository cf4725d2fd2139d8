"""Parallel coordinates: every ranked trial as a line through its values to its score.

Drawn by the page itself: plotly's need WebGL, which many a remote desktop lacks, and lay all
trials of a category on one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.page.axes import ABSENT, ValueAxis, round_steps
from tuner.report.page.figure import Figure, coverage, spread_out
from tuner.report.page.source import Source
from tuner.report.page.text import clean, number

MAX_AXES = 12
MAX_LINES = 3_000
_ABSENT_TEXT = "(none)"
_GAP = 0.14  # of an axis, below which lie trials whose branch does not have the hyperparameter


@dataclass(frozen=True)
class Dimension:
    """One vertical axis: where each trial crosses it, in the order of the trials.

    `spread` is the height over which trials of one category are spread, in units of the axis.
    """

    title: str
    positions: tuple[float, ...]
    span: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    spread: float = 0.0


@dataclass(frozen=True)
class Parallel:
    """Axes and trials, worst first, so that the best are drawn last."""

    dimensions: tuple[Dimension, ...]
    rows: tuple[TrialRow, ...]
    left_out_axes: int
    thinned: int = 0


def parallel_of(source: Source, axes: Sequence[ValueAxis]) -> Parallel:
    """The axes in the order given, at most twelve, then the score."""
    scored = [row for row in reversed(source.ranked) if row.score is not None]
    rows = tuple(spread_out(scored, MAX_LINES))
    dimensions = [_dimension(axis, rows) for axis in axes[:MAX_AXES]]
    if rows:
        dimensions.append(_score(source, rows))
    left_out = max(0, len(axes) - MAX_AXES)
    return Parallel(tuple(dimensions), rows, left_out, len(scored) - len(rows))


def parallel_figure(source: Source, found: Parallel) -> Figure | None:
    """Lines coloured by rank; ranges of each axis can be brushed."""
    if len(found.rows) < 2 or len(found.dimensions) < 2:
        return None
    trace: dict[str, Any] = {
        "type": "parallel",
        "trials": [row.number for row in found.rows],
        "dimensions": [_as_json(dimension) for dimension in found.dimensions],
    }
    note = coverage(source, found.rows, {"thinned out, evenly over the ranks": found.thinned})
    if found.left_out_axes:
        count = words.counted(found.left_out_axes, "hyperparameter")
        note += f" Not drawn: the {count} that mattered least."
    return Figure([trace], {}, note, 400)


def _dimension(axis: ValueAxis, rows: Sequence[TrialRow]) -> Dimension:
    places = [axis.position(row.value(axis.name, ABSENT)) for row in rows]
    low, high = axis.span if axis.is_category else (axis.low, axis.high)
    ticks = axis.ticks
    if None in places:
        absent = low - (0.5 if axis.is_category else (high - low) * _GAP)
        ticks = ((absent, _ABSENT_TEXT), *ticks)
        low = absent - (0.5 if axis.is_category else (high - low) * _GAP / 2)
        positions = tuple(absent if place is None else place for place in places)
    else:
        positions = tuple(place for place in places if place is not None)
    spread = 0.72 if axis.is_category else 0.0
    return Dimension(axis.title, positions, (low, high), ticks, spread)


def _score(source: Source, rows: Sequence[TrialRow]) -> Dimension:
    scores = tuple(row.score for row in rows if row.score is not None)
    low, high = min(scores), max(scores)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    ticks = tuple((value, words.value_text(value)) for value in round_steps(low, high))
    return Dimension(source.record.metric, scores, (low, high), ticks)


def _as_json(dimension: Dimension) -> dict[str, Any]:
    return {
        "title": clean(dimension.title),
        "values": [number(place) for place in dimension.positions],
        "range": list(dimension.span),
        "ticks": [[place, clean(text)] for place, text in dimension.ticks],
        "spread": dimension.spread,
    }
