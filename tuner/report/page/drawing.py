"""Figures as the page draws them: traces and axes in plotly's words, views, and notes.

Colours are words that begin with @ and are replaced on the page by those of its light or dark
theme. Points that stand for a trial carry its number as `customdata`; what is written when one
points at them is looked up on the page, as text. What all figures have in common (no zero line,
margins that grow with labels, the closest point answers) stands in `templates/figures.js`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.page.html import number, numbers

Trace = dict[str, Any]
Layout = dict[str, Any]
T = TypeVar("T")

BEST, TRIAL, FAINT, INK, MUTED = "@best", "@trial", "@faint", "@ink", "@muted"
SCALE = "@scale"  # the sequential colours, from the worst to the best
STATE_COLORS = {
    TrialState.COMPLETED: TRIAL,
    TrialState.STOPPED: "@stopped",
    TrialState.DIVERGED: "@diverged",
    TrialState.FAILED: "@failed",
    TrialState.RUNNING: "@running",
}
_SCORED = "with a score"
_GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly, and are always the same
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class View:
    """One choice of what a figure shows: what changes in each trace and in the layout.

    `note` replaces the figure's, where it is not empty.
    """

    label: str
    traces: Sequence[Trace] = ()
    layout: Layout = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """What is drawn. `note` says which trials are shown and which are not."""

    traces: Sequence[Trace]
    layout: Layout
    note: str
    height: int = 380
    views: tuple[View, ...] = ()

    @classmethod
    def of_views(cls, views: Iterable[View], layout: Layout, note: str, height: int) -> Figure:
        """One that shows the first of some views; `layout` holds what they share."""
        listed = tuple(views)
        return cls(listed[0].traces, layout, note or listed[0].note, height, listed)

    def to_json(self) -> dict[str, Any]:
        """As the page's script reads it; the note stands in the page itself."""
        return {
            "data": list(self.traces),
            "layout": self.layout,
            "height": self.height,
            "views": [
                {"data": list(view.traces), "layout": view.layout, "note": view.note}
                for view in self.views
            ],
        }


# ---------------------------------------------------------------------- traces
# `more` are further words of plotly's.


def points(
    xs: Iterable[float | None], ys: Iterable[float | None], marker: Layout, **more: Any
) -> Trace:
    """Marks at some places."""
    places = {"x": numbers(xs), "y": numbers(ys)}
    return {"type": "scatter", "mode": "markers", **places, "marker": marker, **more}


def trial_points(
    rows: Sequence[TrialRow], xs: Iterable[float | None], marker: Layout, **more: Any
) -> Trace:
    """A mark at the score of each trial."""
    trials = [row.number for row in rows]
    return points(xs, (row.score for row in rows), marker, customdata=trials, **more)


def cloud(rows: Sequence[TrialRow], xs: Sequence[float], size: int) -> Trace:
    """Trials behind what is said of them; smaller where there are many."""
    marker = {"color": TRIAL, "size": 5 if len(rows) > 200 else size, "opacity": 0.5}
    return trial_points(rows, xs, marker, name="trial")


def column(place: float, scores: Sequence[float], marker: Layout, **more: Any) -> Trace:
    """Scores above each other, spread a little sideways."""
    return points((place + 0.4 * jitter(i) for i in range(len(scores))), scores, marker, **more)


def lines(
    xs: Iterable[float | None], ys: Iterable[float | None], line: Layout, **more: Any
) -> Trace:
    """A line through some places, with a gap at each None."""
    places = {"x": numbers(xs), "y": numbers(ys)}
    return {"type": "scatter", "mode": "lines", **places, "line": line, **more}


def box(place: int, scores: Sequence[float]) -> Trace:
    """The middle half of some scores, behind the scores themselves."""
    return {
        "type": "box",
        "x": [place] * len(scores),
        "y": numbers(scores),
        "boxpoints": False,
        "width": 0.5,
        "line": {"color": MUTED, "width": 1.2},
        "fillcolor": "@veil",
        "hoverinfo": "skip",
    }


def heat_map(cells: Sequence[Sequence[float | None]], unit: str, gap: int, **more: Any) -> Trace:
    """Rows of cells from the bottom to the top; one that is None stays empty."""
    return {
        "type": "heatmap",
        "z": cells,
        "colorscale": SCALE,
        "xgap": gap,
        "ygap": gap,
        "hoverongaps": False,
        "colorbar": titled(unit),
        **more,
    }


def whiskers(
    above: Iterable[float | None],
    below: Iterable[float | None] | None = None,
    *,
    color: str = INK,
    thickness: float = 1.8,
    width: int = 5,
) -> Layout:
    """Bars that reach so far from each point, to both sides alike without `below`."""
    sides: Layout = {"array": numbers(above)}
    if below is not None:
        sides |= {"symmetric": False, "arrayminus": numbers(below)}
    return {"type": "data", **sides, "color": color, "thickness": thickness, "width": width}


def arm(high: float | None, low: float | None) -> float:
    """The length of half a whisker; 0 where an end is unknown."""
    return 0.0 if high is None or low is None else max(0.0, high - low)


def jitter(place: int) -> float:
    """Between -0.5 and 0.5, so that neighbours do not hide each other."""
    return (place * _GOLDEN) % 1.0 - 0.5


# ---------------------------------------------------------------------- axes


def titled(text: str, **more: Any) -> Layout:
    """Something with a title; `text` has been through `label` where it is not our own."""
    return {"title": {"text": text}, **more}


def ticked(ticks: Iterable[tuple[float, str]], **more: Any) -> Layout:
    """An axis with these ticks and no others."""
    listed = list(ticks)
    places, texts = numbers(place for place, _ in listed), [text for _, text in listed]
    return {"tickmode": "array", "tickvals": places, "ticktext": texts, **more}


def names_axis(names: Sequence[str], air: float = 0.6) -> Layout:
    """A name at each whole number; they have been through `tick` where they are not our own."""
    ends = [-0.6, len(names) - 1 + air]
    return ticked(enumerate(names), showgrid=False, range=ends)


def number_axis(
    text: str, ticks: Iterable[float], write: Callable[[float], str], *, is_log: bool = True
) -> Layout:
    """An axis of numbers with ticks of our own."""
    kind = {"type": "log" if is_log else "linear", "autorange": True}
    return titled(text, **kind, **ticked((value, write(value)) for value in ticks))


def possible(metric: str, scores: Iterable[float]) -> tuple[float, float]:
    """Between which values such scores can lie: a spread or an axis must not leave them."""
    seen = list(scores)
    floor = 0.0 if min(seen, default=0.0) >= 0 else -math.inf
    is_share = metric.endswith("accuracy") and floor == 0.0 and max(seen, default=0.0) <= 1
    return floor, 1.0 if is_share else math.inf


def cost_axis(text: str, costs: Sequence[float]) -> Layout:
    """Logarithmic where costs differ by more than a factor of three."""
    low, high = min(costs), max(costs)
    wide = high > 3 * low
    ticks = decades(low, high) if wide else round_steps(low, high)
    return number_axis(text, ticks, format.count_text, is_log=wide)


def epoch_axis(text: str, longest: int) -> Layout:
    """Whole numbers only."""
    return titled(text, tickformat="d", **({"dtick": 1} if longest < 13 else {}))


def line_at(value: float, *, is_level: bool = False, width: float = 1.5) -> Layout:
    """A dashed line through the whole figure, upright or level."""
    along, across = ("x", "y") if is_level else ("y", "x")
    return {
        "type": "line",
        f"{along}ref": "paper",
        f"{along}0": 0,
        f"{along}1": 1,
        f"{across}ref": across,
        f"{across}0": number(value, 10),
        f"{across}1": number(value, 10),
        "line": {"color": MUTED, "width": width, "dash": "dash"},
        "layer": "below",
    }


def decades(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: 1, 2, 5 of each decade, fewer where there are many.

    Both ends are above zero.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 4 else (1,)
    values = [factor * 10.0**decade for decade in range(first, last + 1) for factor in factors]
    return [value for value in values if 0.7 * low <= value <= 1.4 * high]


def round_steps(low: float, high: float) -> list[float]:
    """About five round numbers between two different ones."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in _STEPS if size * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


# ---------------------------------------------------------------------- what is shown of what


def coverage(
    rows: Sequence[TrialRow], shown: Iterable[TrialRow], because: Mapping[str, int] = {}
) -> str:
    """`Shows 15 of 18 trials; left out: 2 diverged, 1 failed.`

    `because` counts those that are left out for reasons that are not their state.
    """
    drawn = {row.number for row in shown}
    missing = [row for row in rows if row.number not in drawn]
    head = f"Shows {len(drawn):,} of {format.counted(len(rows), 'trial')}"
    if not missing:
        return f"{head}."
    named = {reason: count for reason, count in because.items() if count}
    rest = Counter(_why(row) for row in missing)
    if named:
        ranked = rest.pop(_SCORED, 0) - sum(named.values())
        named |= {_SCORED: ranked} if ranked > 0 else {}
    parts = [f"{count:,} {reason}" for reason, count in {**named, **rest}.items()]
    return f"{head}; left out: {', '.join(parts)}."


def spread_out(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly over the list; the first and the last always."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _why(row: TrialRow) -> str:
    if row.state in (TrialState.COMPLETED, TrialState.STOPPED):
        return "without a score" if row.score is None else _SCORED
    return format.state_word(row.state)
