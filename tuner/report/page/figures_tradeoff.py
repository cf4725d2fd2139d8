"""What a score costs: against parameters, multiply-adds and seconds, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.page.axes import round_steps
from tuner.report.page.figure import BEST, TRIAL, Figure, Layout, Trace, View, coverage, title
from tuner.report.page.source import Source
from tuner.report.page.text import label, number

Cost = Callable[[TrialRow], float | None]

COSTS: dict[str, tuple[str, Cost]] = {
    "parameters": ("parameters", lambda row: row.parameters),
    "multiply-adds": ("multiply-adds per image", lambda row: row.macs),
    "training time": ("seconds of training", lambda row: row.train_seconds),
}


@dataclass(frozen=True)
class Tradeoff:
    """Ranked trials with a known cost, best first, and those that no other one beats in both."""

    name: str
    axis: str
    rows: tuple[TrialRow, ...]
    costs: tuple[float, ...]
    front: tuple[int, ...]


def tradeoffs_of(source: Source) -> list[Tradeoff]:
    """One for each cost that differs between trials."""
    found = []
    for name, (axis, cost) in COSTS.items():
        pairs = [(row, cost(row)) for row in source.ranked]
        known = [(row, float(value)) for row, value in pairs if value is not None and value > 0]
        rows = tuple(row for row, _ in known)
        costs = tuple(value for _, value in known)
        if len(set(costs)) > 1:
            found.append(Tradeoff(name, axis, rows, costs, pareto_front(costs)))
    return found


def pareto_front(costs: Sequence[float]) -> tuple[int, ...]:
    """Places of those that none beats in both, cheapest first; `costs` are in the order of rank.

    Of trials that cost the same, the best is on the front, and of equal scores the cheapest.
    """
    front = []
    best = len(costs)
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], place)):
        if place < best:
            front.append(place)
            best = place
    return tuple(front)


def tradeoff_figure(source: Source, found: Sequence[Tradeoff]) -> Figure | None:
    """Points, and the front as a stair; what lies above it nobody has reached."""
    if not found:
        return None
    first = found[0]
    layout: Layout = {
        "xaxis": cost_axis(first.axis, first.costs),
        "yaxis": {"title": title(label(source.record.metric))},
        "showlegend": True,
        "hovermode": "closest",
    }
    views = tuple(
        View(t.name, _traces(t), {"xaxis": cost_axis(t.axis, t.costs)}, _note(source, t))
        for t in found
    )
    return Figure(_traces(first), layout, _note(source, first), 340, views)


def _note(source: Source, found: Tradeoff) -> str:
    unknown = len(source.ranked) - len(found.rows)
    note = coverage(source, found.rows, {"of unknown cost": unknown})
    return f"{note} Nothing is both cheaper and better than a trial on the front."


def _traces(found: Tradeoff) -> list[Trace]:
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [number(cost) for cost in found.costs],
            "y": [number(row.score) for row in found.rows],
            "customdata": [row.number for row in found.rows],
            "marker": {
                "color": TRIAL,
                "size": 5 if len(found.rows) > 200 else 8,
                "opacity": 0.5,
            },
            "name": "trial",
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [number(found.costs[place]) for place in found.front],
            "y": [number(found.rows[place].score) for place in found.front],
            "customdata": [found.rows[place].number for place in found.front],
            "line": {"color": BEST, "width": 2, "shape": "hv"},
            "marker": {"color": BEST, "size": 10, "symbol": "diamond"},
            "name": "Pareto front",
        },
    ]


def cost_axis(name: str, costs: Sequence[float]) -> Layout:
    """Logarithmic where costs differ by more than a factor of three."""
    low, high = min(costs), max(costs)
    wide = high > 3 * low
    ticks = decades(low, high) if wide else round_steps(low, high)
    return {
        "title": title(name),
        "type": "log" if wide else "linear",
        "autorange": True,
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [words.count_text(value) for value in ticks],
    }


def decades(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: 1, 2, 5 of each decade, fewer where there are many.

    Both ends are above zero.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 4 else (1,)
    found = [factor * 10.0**decade for decade in range(first, last + 1) for factor in factors]
    return [value for value in found if 0.7 * low <= value <= 1.4 * high]
