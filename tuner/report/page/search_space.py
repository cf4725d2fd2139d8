"""Scores over the search space: importance, slices, pairs of values, parallel coordinates.

For each figure one function computes what it shows and another draws it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.importance import Effect, Importance
from tuner.report.page import drawing as draw
from tuner.report.page.axes import ABSENT, ValueAxis, effect_title
from tuner.report.page.drawing import Figure, Layout, Trace, View
from tuner.report.page.html import clean, label, number, numbers, tick
from tuner.report.page.source import PageSource
from tuner.report.table import MeanScore, mean_score

MAX_BARS = 14
MAX_PAIR_AXES = 10  # 45 pairs
MAX_PARALLEL_AXES = 12
MAX_LINES = 3_000
_BINS = 6
_WIDTH = 0.34  # of the band in which the points of one category are spread
_MAX_MEANS = 12
_MAX_POINTS = 2_000
_GAP = 0.14  # of an axis, below which lie trials whose branch does not have the hyperparameter


# ---------------------------------------------------------------------- importance


def importance_figure(source: PageSource, importance: Importance) -> Figure | None:
    """Bars, the largest at the top, each with its interval; the note names the method."""
    if not importance.is_telling:
        return None
    rows = list(reversed(importance.effects[:MAX_BARS]))
    known = any(row.has_interval for row in rows)
    trace: Trace = {
        "type": "bar",
        "orientation": "h",
        "x": numbers(row.share for row in rows),
        "y": list(range(len(rows))),
        "text": list(map(_share_text, rows)),
        "textposition": "none" if known else "outside",
        "cliponaxis": False,
        "marker": {"color": [draw.TRIAL if len(row.names) == 1 else draw.FAINT for row in rows]},
    }
    if known:
        above = (draw.arm(row.high, row.share) for row in rows)
        below = (draw.arm(row.share, row.low) for row in rows)
        trace["error_x"] = draw.whiskers(above, below, thickness=1.4, width=4)
    title = "share, with its 95 % interval" if known else "share"
    layout: Layout = {
        "xaxis": draw.titled(title, rangemode="tozero", tickformat=".0%"),
        "yaxis": draw.names_axis([_bar_name(source, row) for row in rows]),
        "bargap": 0.5,
    }
    note = f"{draw.coverage(source.rows, source.ranked)} {_method(importance)}"
    height = 90 + sum(30 if len(row.names) == 1 else 38 for row in rows)
    return Figure([trace], layout, note, height)


def _bar_name(source: PageSource, row: Effect) -> str:
    """Two names below each other: side by side a telephone has no room for them."""
    return " ×<br>".join(map(tick, effect_title(source, row).split(" × ")))


def _share_text(row: Effect) -> str:
    interval = f" ({row.low:.1%} to {row.high:.1%})" if row.has_interval else ""
    return f"{row.share:.1%}{interval}"


def _method(importance: Importance) -> str:
    said = f"Method: {importance.method}."
    if importance.uncertainty:
        said += f" Interval: {importance.uncertainty}."
    if left_out := len(importance.effects[MAX_BARS:]):
        said += f" Not drawn: {left_out} with smaller shares."
    if any(len(effect.names) > 1 for effect in importance.effects):
        said += " Grey bars are what two explain together beyond their own shares."
    return said


# ---------------------------------------------------------------------- slices


@dataclass(frozen=True)
class Slice:
    """A point for each ranked trial that has the hyperparameter, and the mean at each value."""

    axis: ValueAxis
    rows: tuple[TrialRow, ...]
    positions: tuple[float, ...]
    means: tuple[tuple[float, MeanScore], ...]


def slice_of(source: PageSource, axis: ValueAxis) -> Slice:
    """Positions and scores along one axis; means where few values were tried."""
    placed = list(_placed(source.ranked, axis))
    by_position: dict[float, list[float]] = defaultdict(list)
    for row, position in placed:
        by_position[position].append(row.score or 0.0)
    means = tuple((place, mean_score("", by_position[place])) for place in sorted(by_position))
    wanted = len(means) <= _MAX_MEANS and len(placed) >= 2 * len(means)
    rows, positions = tuple(row for row, _ in placed), tuple(place for _, place in placed)
    return Slice(axis, rows, positions, means if wanted else ())


def slice_figure(source: PageSource, slice_: Slice) -> Figure | None:
    """Points, spread a little sideways where they share a place, and their means."""
    if not slice_.rows:
        return None
    pairs = list(zip(slice_.rows, _spread_sideways(slice_), strict=True))
    others = [pair for pair in pairs if not source.is_best(pair[0])]
    chosen = draw.spread_out(others, _MAX_POINTS)
    many = len(chosen) > 200
    usual = {"color": draw.TRIAL, "size": 4 if many else 7, "opacity": 0.45 if many else 0.65}
    star = {"color": draw.BEST, "size": 13, "symbol": "star"}
    traces = [_trials(chosen, usual, "trial")]
    if slice_.means:
        traces.append(_means(slice_, source.objective.metric))
    if len(others) < len(pairs):
        traces.append(_trials([pair for pair in pairs if source.is_best(pair[0])], star, "best"))
    absent = {"without this hyperparameter": len(source.ranked) - len(slice_.rows)}
    note = draw.coverage(source.rows, slice_.rows, absent)
    if len(chosen) < len(others):
        note += f" {len(chosen):,} of them, evenly over the ranks, are drawn; means are of all."
    layout: Layout = {
        "xaxis": draw.titled(label(slice_.axis.title), **slice_.axis.layout()),
        "yaxis": draw.titled(label(source.objective.metric)),
    }
    return Figure(traces, layout, note, 270)


def _placed(rows: Iterable[TrialRow], axis: ValueAxis) -> Iterable[tuple[TrialRow, float]]:
    """Trials with a score and where they lie, of those that have the hyperparameter."""
    for row in rows:
        position = axis.position(row.values.get(axis.name, ABSENT))
        if position is not None and row.score is not None:
            yield row, position


def _trials(placed: Sequence[tuple[TrialRow, float]], marker: Layout, name: str) -> Trace:
    return draw.trial_points([row for row, _ in placed], (x for _, x in placed), marker, name=name)


def _means(slice_: Slice, metric: str) -> Trace:
    """Joined by a line only where the values have an order; no whisker leaves what can be."""
    means = slice_.means
    scores = (row.score for row in slice_.rows if row.score is not None)
    floor, ceiling = draw.possible(metric, scores)
    above = [min(group.spread or 0.0, ceiling - group.mean) for _, group in means]
    below = [min(group.spread or 0.0, group.mean - floor) for _, group in means]
    return draw.points(
        (place for place, _ in means),
        (group.mean for _, group in means),
        {"color": draw.INK, "symbol": "diamond", "size": 7},
        mode="lines+markers" if slice_.axis.has_order else "markers",
        error_y=draw.whiskers(above, below, thickness=1.2, width=4),
        text=[f"mean of {group.n}" for _, group in means],
        line={"color": draw.INK, "width": 1, "dash": "dot"},
        name="mean ± standard deviation",
    )


def _spread_sideways(slice_: Slice) -> list[float]:
    """By the trials' numbers, so that points do not hide each other."""
    if not slice_.means:
        return list(slice_.positions)
    places = (place for place, _ in slice_.means)
    narrowest = min((b - a for a, b in itertools.pairwise(places)), default=0.0)
    width = _WIDTH if slice_.axis.is_category else narrowest * _WIDTH
    pairs = zip(slice_.rows, slice_.positions, strict=True)
    return [position + draw.jitter(row.number) * width for row, position in pairs]


# ---------------------------------------------------------------------- pairs


@dataclass(frozen=True)
class Bins:
    """The cells of one axis: their names, and which cell each position falls into."""

    axis: ValueAxis
    labels: tuple[str, ...]
    edges: tuple[float, ...] = ()

    def cell(self, position: float) -> int:
        """The cell of a position."""
        if self.axis.is_category:
            return int(position)
        return sum(position >= edge for edge in self.edges)

    def layout(self) -> Layout:
        """The axis as plotly takes it."""
        ticks = draw.ticked(enumerate(map(tick, self.labels)), showgrid=False)
        return draw.titled(label(self.axis.title), **ticks)


@dataclass(frozen=True)
class Pair:
    """Cells by (row, column), of the trials that have both hyperparameters and a score."""

    x: Bins
    y: Bins
    cells: dict[tuple[int, int], MeanScore]
    shown: tuple[TrialRow, ...]


def bins_of(axis: ValueAxis) -> Bins:
    """A cell for each value, or six equally wide ones on the axis' scale where there are many."""
    if axis.is_category:
        return Bins(axis, axis.labels)
    places = [place for value in axis.points if (place := axis.position(value)) is not None]
    if len(places) <= 12:
        middles = tuple((a + b) / 2 for a, b in itertools.pairwise(places))
        return Bins(axis, tuple(format.value_text(value) for value in axis.points), middles)
    width = (axis.high - axis.low) / _BINS
    edges = tuple(axis.low + width * place for place in range(1, _BINS))
    ends = [_value_at(axis, place) for place in (axis.low, *edges, axis.high)]
    return Bins(axis, tuple(f"{low} – {high}" for low, high in itertools.pairwise(ends)), edges)


def pairs_of(axes: Sequence[ValueAxis]) -> list[tuple[Bins, Bins]]:
    """Every pair of the first axes, those first that come first; the longer one lies along x."""
    bins = [bins_of(axis) for axis in axes[:MAX_PAIR_AXES]]
    ordered = sorted(itertools.combinations(range(len(bins)), 2), key=sum)
    pairs = [(bins[a], bins[b]) for a, b in ordered]
    return [(y, x) if len(y.labels) > len(x.labels) else (x, y) for x, y in pairs]


def pair_of(source: PageSource, x: Bins, y: Bins) -> Pair:
    """Mean, spread and number of the scores in each cell."""
    columns = {row.number: x.cell(place) for row, place in _placed(source.ranked, x.axis)}
    scores: dict[tuple[int, int], list[float]] = defaultdict(list)
    shown = []
    for row, place in _placed(source.ranked, y.axis):
        if row.number in columns:
            scores[y.cell(place), columns[row.number]].append(row.score or 0.0)
            shown.append(row)
    cells = {cell: mean_score("", values) for cell, values in scores.items()}
    return Pair(x, y, cells, tuple(shown))


def pairs_figure(source: PageSource, axes: Sequence[ValueAxis]) -> Figure | None:
    """The heat maps of all pairs that were tried, one at a time."""
    pairs = [pair for x, y in pairs_of(axes) if (pair := pair_of(source, x, y)).cells]
    if not pairs:
        return None
    views = [_pair_view(source, pair) for pair in pairs]
    return Figure.of_views(views, {}, "", views[0].layout["height"])


def _pair_view(source: PageSource, pair: Pair) -> View:
    """Cells in the colours of their means; empty where nothing was tried."""
    columns, rows = range(len(pair.x.labels)), range(len(pair.y.labels))
    is_max = source.objective.direction == "max"
    grid = [[pair.cells.get((row, column)) for column in columns] for row in rows]
    cells = draw.heat_map(
        [[number(group.mean) if group else None for group in line] for line in grid],
        f"mean {label(source.objective.metric)}",
        2,
        text=[[_cell_text(group) for group in line] for line in grid],
        reversescale=not is_max,
    )
    layout: Layout = {
        "width": 260 + 140 * len(columns),  # at most: wide cells say no more
        "xaxis": pair.x.layout(),
        "yaxis": pair.y.layout(),
        "annotations": _written(pair, is_max) if len(columns) * len(rows) <= 80 else [],
        "height": max(300, min(560, 130 + 46 * len(rows))),
    }
    missing = {"without one of the two": len(source.ranked) - len(pair.shown)}
    note = (
        draw.coverage(source.rows, pair.shown, missing)
        + " A cell is the mean over everything else."
    )
    name = format.printable(f"{pair.y.axis.title} × {pair.x.axis.title}")
    return View(name, [cells], layout, note)


def _written(pair: Pair, is_max: bool) -> list[Layout]:
    """The means, each in a colour that can be read on the cell's own."""
    means = [group.mean for group in pair.cells.values()]
    low, high = min(means), max(means)
    written = []
    for (row, column), group in pair.cells.items():
        share = (group.mean - low) / (high - low) if high > low else 0.0
        is_good = (share if is_max else 1 - share) > 0.5
        place = {"x": column, "y": row, "showarrow": False}
        color = {"color": "@onhigh" if is_good else "@onlow"}
        written.append({**place, "text": f"{group.mean:.3g}", "font": color})
    return written


def _cell_text(group: MeanScore | None) -> str:
    if group is None:
        return ""
    spread = f" ± {format.score_text(group.spread)}" if group.spread is not None else ""
    return f"mean {format.score_text(group.mean)}{spread}, n = {group.n}"


def _value_at(axis: ValueAxis, place: float) -> str:
    """The value at a position, in three digits."""
    if axis.kind == "log":
        return f"{10**place:.2g}"
    return f"{1 - 10**-place:.4g}" if axis.kind == "reverse_log" else f"{place:.3g}"


# ---------------------------------------------------------------------- parallel coordinates
# Drawn by the page itself: plotly's need WebGL, which many a remote desktop lacks, and lay all
# trials of a category on one line.


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


def parallel_of(source: PageSource, axes: Sequence[ValueAxis]) -> Parallel:
    """The axes in the order given, at most twelve, then the score."""
    scored = [row for row in reversed(source.ranked) if row.score is not None]
    rows = tuple(draw.spread_out(scored, MAX_LINES))
    dimensions = [_dimension(axis, rows) for axis in axes[:MAX_PARALLEL_AXES]]
    if rows:
        dimensions.append(_score_dimension(source.objective.metric, rows))
    left_out = max(0, len(axes) - MAX_PARALLEL_AXES)
    return Parallel(tuple(dimensions), rows, left_out, len(scored) - len(rows))


def parallel_figure(source: PageSource, parallel: Parallel) -> Figure | None:
    """Lines coloured by rank; ranges of each axis can be brushed."""
    if len(parallel.rows) < 2 or len(parallel.dimensions) < 2:
        return None
    trace: Trace = {
        "type": "parallel",
        "trials": [row.number for row in parallel.rows],
        "dimensions": [
            {
                "title": clean(dimension.title),
                "values": numbers(dimension.positions),
                "range": list(dimension.span),
                "ticks": [[place, clean(text)] for place, text in dimension.ticks],
                "spread": dimension.spread,
            }
            for dimension in parallel.dimensions
        ],
    }
    thinned = {"thinned out, evenly over the ranks": parallel.thinned}
    note = draw.coverage(source.rows, parallel.rows, thinned)
    if parallel.left_out_axes:
        count = format.counted(parallel.left_out_axes, "hyperparameter")
        note += f" Not drawn: the {count} that mattered least."
    return Figure([trace], {}, note, 400)


def _dimension(axis: ValueAxis, rows: Sequence[TrialRow]) -> Dimension:
    places = [axis.position(row.values.get(axis.name, ABSENT)) for row in rows]
    ends = (axis.low - axis.spread / 2, axis.high + axis.spread / 2)
    low, high = axis.span if axis.is_category else ends
    ticks, absent = axis.ticks, 0.0
    if None in places:
        absent = low - (0.5 if axis.is_category else (high - low) * _GAP)
        ticks = ((absent, "(none)"), *ticks)
        low = absent - (0.5 if axis.is_category else (high - low) * _GAP / 2)
    positions = tuple(absent if place is None else place for place in places)
    return Dimension(axis.title, positions, (low, high), ticks, axis.spread)


def _score_dimension(metric: str, rows: Sequence[TrialRow]) -> Dimension:
    scores = tuple(row.score for row in rows if row.score is not None)
    low, high = min(scores), max(scores)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    ticks = tuple((value, format.value_text(value)) for value in draw.round_steps(low, high))
    return Dimension(metric, scores, (low, high), ticks)
