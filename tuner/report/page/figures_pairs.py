"""Heat maps: the mean score at each pair of values of two hyperparameters."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.marginals import Group, group_of
from tuner.report.page.axes import ABSENT, ValueAxis
from tuner.report.page.figure import SCALE, Figure, Layout, Trace, View, coverage, title
from tuner.report.page.source import Source
from tuner.report.page.text import label, number, tick

MAX_AXES = 10  # 45 pairs
_BINS = 6


@dataclass(frozen=True)
class Bins:
    """The cells of one axis: their names, and which cell each position falls into."""

    axis: ValueAxis
    labels: tuple[str, ...]
    edges: tuple[float, ...]

    def cell(self, position: float) -> int:
        """The cell of a position."""
        if self.axis.is_category:
            return int(position)
        return sum(position >= edge for edge in self.edges)


@dataclass(frozen=True)
class Pair:
    """Cells by (row, column), of the trials that have both hyperparameters and a score."""

    x: Bins
    y: Bins
    cells: dict[tuple[int, int], Group]
    shown: tuple[TrialRow, ...]


def bins_of(axis: ValueAxis) -> Bins:
    """A cell for each value, or six equally wide ones on the axis' scale where there are many."""
    if axis.is_category:
        return Bins(axis, axis.labels, ())
    places = [place for value in axis.points if (place := axis.position(value)) is not None]
    if len(places) <= 12:
        middles = tuple((a + b) / 2 for a, b in itertools.pairwise(places))
        return Bins(axis, tuple(words.value_text(value) for value in axis.points), middles)
    width = (axis.high - axis.low) / _BINS
    edges = tuple(axis.low + width * place for place in range(1, _BINS))
    ends = [_number_at(axis, place) for place in (axis.low, *edges, axis.high)]
    labels = tuple(f"{low} – {high}" for low, high in itertools.pairwise(ends))
    return Bins(axis, labels, edges)


def pair_of(source: Source, x: Bins, y: Bins) -> Pair:
    """Mean, spread and number of the scores in each cell."""
    scores: dict[tuple[int, int], list[float]] = defaultdict(list)
    shown = []
    for row in source.ranked:
        places = [bins.axis.position(row.value(bins.axis.name, ABSENT)) for bins in (y, x)]
        if row.score is None or places[0] is None or places[1] is None:
            continue
        scores[y.cell(places[0]), x.cell(places[1])].append(row.score)
        shown.append(row)
    cells = {cell: group_of("", found) for cell, found in scores.items()}
    return Pair(x, y, cells, tuple(shown))


def pair_figure(source: Source, found: Pair) -> Figure | None:
    """Cells in the colours of their means; empty where nothing was tried."""
    if not found.cells:
        return None
    columns, rows = len(found.x.labels), len(found.y.labels)
    layout: Layout = {
        "width": 260 + 140 * columns,  # at most: wide cells say no more
        "xaxis": _axis(found.x),
        "yaxis": _axis(found.y),
        "hovermode": "closest",
    }
    if columns * rows <= 80:
        layout["annotations"] = [_annotation(found, cell, source) for cell in found.cells]
    missing = len(source.ranked) - len(found.shown)
    note = coverage(source, found.shown, {"without one of the two": missing})
    note += " A cell is the mean over everything else."
    return Figure([_heat_map(source, found)], layout, note, max(300, min(560, 130 + 46 * rows)))


def pairs_figure(source: Source, axes: Sequence[ValueAxis]) -> Figure | None:
    """The heat maps of all pairs that were tried, one at a time."""
    found = []
    for x, y in pairs_of(axes):
        figure = pair_figure(source, pair_of(source, x, y))
        if figure is not None:
            found.append((words.printable(f"{y.axis.title} × {x.axis.title}"), figure))
    if not found:
        return None
    views = tuple(
        View(name, figure.traces, {**figure.layout, "height": figure.height}, figure.note)
        for name, figure in found
    )
    first = found[0][1]
    return Figure(first.traces, first.layout, first.note, first.height, views)


def _heat_map(source: Source, found: Pair) -> Trace:
    grid = [
        [found.cells.get((row, column)) for column in range(len(found.x.labels))]
        for row in range(len(found.y.labels))
    ]
    return {
        "type": "heatmap",
        "z": [[number(cell.mean) if cell else None for cell in line] for line in grid],
        "text": [[_hover(cell) for cell in line] for line in grid],
        "colorscale": SCALE,
        "reversescale": not source.is_max,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "colorbar": {"title": title(f"mean {label(source.record.metric)}")},
    }


def _annotation(found: Pair, cell: tuple[int, int], source: Source) -> Layout:
    """The mean, written in a colour that can be read on the cell's own."""
    means = [group.mean for group in found.cells.values()]
    low, high = min(means), max(means)
    share = (found.cells[cell].mean - low) / (high - low) if high > low else 0.0
    share = share if source.is_max else 1 - share
    return {
        "x": cell[1],
        "y": cell[0],
        "text": f"{found.cells[cell].mean:.3g}",
        "showarrow": False,
        "font": {"color": "@onhigh" if share > 0.5 else "@onlow"},
    }


def _hover(group: Group | None) -> str:
    if group is None:
        return ""
    spread = f" ± {words.score_text(group.spread)}" if group.spread is not None else ""
    return f"mean {words.score_text(group.mean)}{spread}, n = {group.n}"


def _axis(bins: Bins) -> Layout:
    return {
        "title": title(label(bins.axis.title)),
        "tickmode": "array",
        "tickvals": list(range(len(bins.labels))),
        "ticktext": [tick(text) for text in bins.labels],
        "showgrid": False,
        "zeroline": False,
    }


def _number_at(axis: ValueAxis, place: float) -> str:
    """The value at a position, in three digits."""
    if axis.kind == "log":
        return f"{10**place:.2g}"
    return f"{1 - 10**-place:.4g}" if axis.kind == "reverse_log" else f"{place:.3g}"


def pairs_of(axes: Sequence[ValueAxis]) -> list[tuple[Bins, Bins]]:
    """Every pair of the first axes, those first that come first; the longer one lies along x."""
    bins = [bins_of(axis) for axis in axes[:MAX_AXES]]
    ordered = sorted(itertools.combinations(range(len(bins)), 2), key=lambda pair: sum(pair))
    pairs = [(bins[a], bins[b]) for a, b in ordered]
    return [(y, x) if len(y.labels) > len(x.labels) else (x, y) for x, y in pairs]
