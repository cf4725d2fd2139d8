"""One table of anything shown to people: plain data, which `render` writes in every format.

A pure function fills it; whoever prints chooses the renderer and the width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

from tuner.report import format

COUNT, SECONDS = "count", "seconds"  # units that a paper scales and names in the head
TIED = "\N{NO-BREAK SPACE}"  # between words that stay on one line; never printed


@dataclass(frozen=True)
class Column:
    """One column: its full name, its title for people, and how a value is written.

    Numbers stand at the right. When a table is too wide, columns with a high `rank` go first, then
    those that `shrinks` are cut. `role` colours a cell on a terminal by its value.
    """

    name: str
    title: str
    text: Callable[[Any], str] = str
    numeric: bool = True
    rank: int = 0
    unit: str = ""
    shrinks: bool = False
    role: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Table:
    """Rows of values under their columns, and what stands around them.

    `about` says what the numbers are: such a table stands alone, others are parts of one text.
    `left_out` says which trials the rows leave out, `unranked` has a line for each that has failed.
    `marked` are the places of rows that stand out, `unsure` of those that cannot be told from
    them. `has_all` says what shows the columns that are too many. Columns without titles need no
    head. `TIED` joins words that stay on one line.
    """

    title: str
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    notes: tuple[str, ...] = ()
    about: str = ""
    left_out: str = ""
    unranked: tuple[str, ...] = ()
    marked: frozenset[int] = frozenset()
    unsure: frozenset[int] = frozenset()
    name: str = ""
    has_all: str = "--columns, -f csv"

    @property
    def stands_alone(self) -> bool:
        """Whether it has room around it, and in a paper a number of its own."""
        return bool(self.about)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What stands below it, with which trials are left out."""
        return (*self.notes, *([f"Left out: {self.left_out}."] if self.left_out else []))

    def texts(self) -> list[list[str]]:
        """Every cell as people read it, safe to print."""
        return [
            [format.printable(c.text(value)) for c, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def values(self, name: str) -> list[Any]:
        """A column's values."""
        place = [column.name for column in self.columns].index(name)
        return [row[place] for row in self.rows]


def text_table(
    title: str,
    heads: Sequence[str] = (),
    rows: Iterable[Sequence[str]] = (),
    notes: Iterable[str] = (),
    marked: frozenset[int] = frozenset(),
    num_numeric: int = 99,
) -> Table:
    """A table of ready texts: names, then `num_numeric` columns of numbers, then texts again."""
    columns = [
        Column(head, format.printable(head), numeric=0 < place <= num_numeric, shrinks=place == 0)
        for place, head in enumerate(heads)
    ]
    return Table(title, tuple(columns), tuple(map(tuple, rows)), tuple(notes), marked=marked)


@dataclass(frozen=True)
class MeanScore:
    """The scores of trials that share a value (or a range of values): mean, spread, number.

    `spread` is the standard deviation over the trials; None for a single one.
    """

    label: str
    mean: float
    spread: float | None
    n: int


def mean_score(label: str, scores: Sequence[float]) -> MeanScore:
    """Mean and spread of some scores."""
    n = len(scores)
    if not all(map(math.isfinite, scores)):
        return MeanScore(label, sum(scores) / n, None, n)  # infinite, or nan for both infinities
    mean = math.fsum(scores) / n
    if n < 2:
        return MeanScore(label, mean, None, n)
    # Not statistics.stdev: its exact fractions take a second for ten thousand trials.
    away = [score - mean for score in scores]
    squares = math.fsum(map(mul, away, away))
    return MeanScore(label, mean, math.sqrt(squares / (n - 1)), n)


def mean_text(score: MeanScore) -> str:
    """`0.5100 ± 0.0100`; the mean alone where there is no spread."""
    if score.spread is None:
        return format.score_text(score.mean)
    return f"{format.score_text(score.mean)} ± {format.beside_text(score.spread, score.mean)}"


def is_number(value: Any) -> bool:
    """Whether it can be compared with numbers; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_missing(value: Any) -> bool:
    """Nothing, or nothing that has a place in an order."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
