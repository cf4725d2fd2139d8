"""What a comparison's page is made from: the sides with their colours, and every trial's place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.comparing import sides
from tuner.report.comparing.compare import Comparison
from tuner.report.comparing.reach import Configuration, configurations, sign_of
from tuner.report.comparing.sides import Entry, Side

_COLORS = 8
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "hexagon", "star", "pentagon")
_DASHES = ("solid", "dash", "dot")
_ABSENT = object()


@dataclass(frozen=True)
class Contestant:
    """A side as figures draw it; after eight colours symbols and dashes tell sides apart too."""

    place: int
    side: Side
    tried: tuple[Configuration, ...]

    @property
    def color(self) -> str:
        """Its colour on the page, whatever the theme."""
        return f"@side{self.place % _COLORS}"

    @property
    def symbol(self) -> str:
        """Its points' shape."""
        return _SYMBOLS[self.place % len(_SYMBOLS)]

    @property
    def dash(self) -> str:
        """Its lines' stroke."""
        return _DASHES[self.place // _COLORS % len(_DASHES)]


@dataclass(frozen=True)
class Place:
    """A trial in the page's table. `side` is empty for one that is on none, `out` for one that
    takes part.
    """

    experiment: str
    row: TrialRow
    side: str
    out: str


@dataclass(frozen=True)
class Contest:
    """The comparison and all that it was made from."""

    found: Comparison
    sources: tuple[sides.Source, ...]
    contestants: tuple[Contestant, ...]

    @property
    def sign(self) -> float:
        """What makes a larger score the better one."""
        return sign_of(self.found.direction)

    @property
    def head(self) -> str:
        """What sides are called: the value that sets them apart."""
        return words.printable(self.found.by.rpartition(".")[2]) if self.found.by else "side"

    def named(self, side: str) -> str:
        """A side in a sentence: `resnet-grid`, or `depth 20`."""
        return f"{self.head} {side}" if self.found.by and self.head != "family" else side

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every trial: those with a score first and best first, ties to the earlier one."""
        by_trial = {
            (entry.experiment, entry.row.number): one.side.name
            for one in self.contestants
            for entry in one.side.entries
        }
        found = [
            self._place(source, row, by_trial.get((source.record.name, row.number)))
            for source in self.sources
            for row in source.record.rows
        ]
        return tuple(sorted(found, key=self._order))

    @cached_property
    def numbers(self) -> dict[tuple[str, int], int]:
        """By experiment and trial: the place by which figures and table know a trial."""
        return {(p.experiment, p.row.number): i for i, p in enumerate(self.places)}

    def number_of(self, entry: Entry) -> int:
        """The same of a trial that takes part."""
        return self.numbers[entry.experiment, entry.row.number]

    def trial_text(self, experiment: str, number: int) -> str:
        """A trial's name: with its experiment where there are several."""
        return f"{experiment}/{number}" if len(self.sources) > 1 else str(number)

    def _order(self, place: Place) -> tuple[bool, bool, float]:
        score = place.row.score
        is_finite = score is not None and math.isfinite(score)
        return bool(place.out), not is_finite, -self.sign * score if is_finite and score else 0.0

    def _place(self, source: sides.Source, row: TrialRow, side: str | None) -> Place:
        name = source.record.name
        if side is not None:
            return Place(name, row, side, "")
        return Place(name, row, self._side_of(name, row), self._why(row))

    def _side_of(self, experiment: str, row: TrialRow) -> str:
        if not self.found.by:
            return words.printable(experiment)
        value = row.value(self.found.by, _ABSENT)
        return "" if value is _ABSENT else words.value_text(value)

    def _why(self, row: TrialRow) -> str:
        if row.score is None:
            state = words.state_word(row.state)
            return state if state not in ("completed", "stopped") else "without a score"
        if self.found.by and row.value(self.found.by, _ABSENT) is _ABSENT:
            return f"without {words.printable(self.found.by)}"
        if not math.isfinite(row.score):
            return "with an infinite score"
        return "counted in another experiment"


def contest_of(sources: Sequence[sides.Source], found: Comparison) -> Contest:
    """The sides that `found` was computed from; their names are those of its summaries."""
    made = sides.groups(sources, found.by) if found.by else sides.whole_experiments(sources)
    contestants = tuple(
        Contestant(place, side, tuple(configurations(side.entries, found.direction)))
        for place, side in enumerate(made.sides)
    )
    return Contest(found, tuple(sources), contestants)
