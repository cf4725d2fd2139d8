"""Several trials as one line: mean, spread and number of those that share some values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import mul
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.queries import field_of, picked
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.record import RunRecord
from tuner.report.tabular.columns import Column


@dataclass(frozen=True)
class Group:
    """Ranked trials that share a value (or a range of values): mean score, spread, number.

    `spread` is the standard deviation over the trials; None for a single one.
    """

    label: str
    mean: float
    spread: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Line:
    """Ranked trials, best first, that share the values of the columns that they are grouped by."""

    values: Mapping[str, Any]
    trials: Sequence[TrialRow]
    score: Group

    @property
    def numbers(self) -> list[int]:
        """The numbers of its trials, in order."""
        return sorted(field_of(self.trials, "number"))


def group_of(label: str, scores: Sequence[float]) -> Group:
    """Mean and spread of some scores."""
    n = len(scores)
    if not all(map(math.isfinite, scores)):
        return Group(label, sum(scores) / n, None, n)  # infinite, or nan for both infinities
    mean = math.fsum(scores) / n
    if n < 2:
        return Group(label, mean, None, n)
    # Not statistics.stdev: its exact fractions take a second for ten thousand trials.
    away = [score - mean for score in scores]
    squares = math.fsum(map(mul, away, away))
    return Group(label, mean, math.sqrt(squares / (n - 1)), n)


def lines_of(record: RunRecord, by: Sequence[Column]) -> list[Line]:
    """The ranked trials in groups, best mean first; ties go to the group of the better trial."""
    ranked = record.ranking.ranked
    columns = [list(column.values(ranked)) for column in by]
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    keys = zip(*(map(_key, column) for column in columns), strict=True) if by else repeat(())
    for place, key in zip(range(len(ranked)), keys, strict=False):
        found[key].append(place)
    scores = field_of(ranked, "score")
    lines = [
        Line(
            {column.name: values[places[0]] for column, values in zip(by, columns, strict=True)},
            picked(ranked, places),
            group_of("", [scores[place] for place in places]),
        )
        for places in found.values()
    ]
    sign = -1.0 if record.direction == "max" else 1.0
    return sorted(lines, key=lambda line: _order(sign * line.score.mean))


def line_columns(by: Sequence[Column], rest: Sequence[Column], *, apart: bool) -> list[Column]:
    """The columns of lines: what they are grouped by, the score, and the means of the rest.

    `apart` gives mean and spread a column each, for programs.
    """
    score = [_MEAN, _SPREAD] if apart else [_SPREAD_SCORE]
    left = {column.name for column in by} | _NO_MEAN
    means = [_mean_column(column) for column in rest if column.numeric and column.name not in left]
    return [*map(_key_column, by), *score, _N, _STOPPED, *means, _TRIALS]


def mean_text(group: Group) -> str:
    """`0.5100 ± 0.0100`; the mean alone where there is no spread."""
    if group.spread is None:
        return words.score_text(group.mean)
    return f"{words.score_text(group.mean)} ± {words.score_text(group.spread)}"


def ranges_text(numbers: Sequence[int]) -> str:
    """`1-3, 7`: ascending numbers, runs as ranges."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


_NO_MEAN = {"trial", "score", "state", "seed", "replicate", "reason"}
_MAX_TRIALS_TEXT = 16


def _trials_text(text: str) -> str:
    if len(text) <= _MAX_TRIALS_TEXT:
        return text
    return text[:_MAX_TRIALS_TEXT].rpartition(",")[0] + ", …"


_SPREAD_SCORE = Column("score", "score", lambda line: line.score, mean_text)
_MEAN = Column("score", "score", lambda line: line.score.mean, words.score_text)
_SPREAD = Column("score_spread", "spread", lambda line: line.score.spread, words.score_text)
_N = Column("n", "n", lambda line: line.score.n, str)
_STOPPED = Column(
    "stopped",
    "stopped",
    lambda line: field_of(line.trials, "state").count(TrialState.STOPPED),
    str,
    rank=2,
)
_TRIALS = Column(
    "trials", "trials", lambda line: ranges_text(line.numbers), _trials_text, False, rank=3
)


def _key_column(column: Column) -> Column:
    return Column(
        column.name, column.title, _shared(column.name), column.text, column.numeric, rank=1
    )


def _shared(name: str) -> Callable[[Line], Any]:
    return lambda line: line.values[name]


def _mean_column(column: Column) -> Column:
    def mean(line: Line) -> Any:
        found = [value for value in column.values(line.trials) if value is not None]
        if not found or found.count(found[0]) == len(found):
            return found[0] if found else None
        return sum(found) / len(found)

    def text(value: Any) -> str:
        return column.text(value) if not _is_fraction(value) else _fraction_text(value, column)

    return Column(column.name, column.title, mean, text, rank=column.rank)


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) and not value.is_integer()


def _fraction_text(value: float, column: Column) -> str:
    return f"{value:.1f}" if column.text is str else column.text(value)


def _key(value: Any) -> tuple[str, Any]:
    """1, 1.0 and true are three values, and lists have no hash."""
    return (type(value).__name__, value if isinstance(value, str | int) else repr(value))


def _order(value: float) -> float:
    return math.inf if math.isnan(value) else value
