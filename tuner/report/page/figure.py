"""A figure as the page draws it: plotly's traces and layout, views to choose from, and a note.

Colours are words that begin with @ and are replaced on the page by those of its light or dark
theme. Points that stand for a trial carry its number as `customdata`; what is written when one
points at them is looked up on the page, as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.page.source import Source

Trace = dict[str, Any]
Layout = dict[str, Any]
T = TypeVar("T")

BEST, TRIAL, FRONT, FAINT = "@best", "@trial", "@best", "@faint"
SCALE = "@scale"  # the sequential colours, from the worst to the best
STATE_COLORS = {
    TrialState.COMPLETED: TRIAL,
    TrialState.STOPPED: "@stopped",
    TrialState.DIVERGED: "@diverged",
    TrialState.FAILED: "@failed",
    TrialState.RUNNING: "@running",
    TrialState.WAITING: FAINT,
}
STATE_SYMBOLS = {
    TrialState.COMPLETED: "circle",
    TrialState.STOPPED: "square",
    TrialState.DIVERGED: "x",
    TrialState.FAILED: "triangle-down",
    TrialState.RUNNING: "circle-open",
}


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


def title(text: str) -> dict[str, str]:
    """A title as plotly takes it; `text` has been through `label` where it is not our own."""
    return {"text": text}


def coverage(source: Source, shown: Iterable[TrialRow], because: Mapping[str, int] = {}) -> str:
    """`Shows 15 of 18 trials; left out: 2 diverged, 1 failed.`

    `because` counts those that are left out for reasons that are not their state.
    """
    numbers = {row.number for row in shown}
    missing = [row for row in source.rows if row.number not in numbers]
    total = len(source.rows)
    head = f"Shows {len(numbers):,} of {words.counted(total, 'trial')}"
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


_SCORED = "with a score"


def _why(row: TrialRow) -> str:
    if row.state in (TrialState.COMPLETED, TrialState.STOPPED):
        return "without a score" if row.score is None else _SCORED
    return words.state_word(row.state)
