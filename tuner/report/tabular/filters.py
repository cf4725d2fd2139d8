"""Only some trials: bounds on any column that holds numbers."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import InputError, Problem
from tuner.experiment.trial import TrialState
from tuner.ledger.queries import field_of, picked
from tuner.report import words
from tuner.report.record import RunRecord
from tuner.report.tabular.columns import column_named, columns_of, is_number


@dataclass(frozen=True)
class Bound:
    """`name` must be at least (at most, if `is_upper`) `value`; both ends are allowed."""

    name: str
    value: float
    is_upper: bool

    @property
    def option(self) -> str:
        """What a person types for it."""
        return "--max" if self.is_upper else "--min"

    def allows(self, value: object) -> bool:
        """Whether a value is a number on the right side; nothing and NaN are not."""
        if not is_number(value):
            return False
        return value <= self.value if self.is_upper else value >= self.value  # type: ignore[operator]


def bound_of(text: str, *, is_upper: bool) -> Bound:
    """The bound of `NAME=VALUE`.

    Raises:
        InputError: it has no name, or its value is no number.
    """
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if name.strip() and not math.isnan(number):
        return Bound(name.strip(), number, is_upper)
    raise InputError(
        Problem(
            "this is no bound",
            where="--max" if is_upper else "--min",
            received=words.printable(text),
            expected="NAME=NUMBER, as score=0.4 or parameters=1e6",
        )
    )


def narrowed(record: RunRecord, bounds: Sequence[Bound]) -> RunRecord:
    """The record with only those trials whose values lie within all bounds.

    Trials without a number in such a column are outside: what has failed has no score.

    Raises:
        InputError: there is no such column.
    """
    if not bounds:
        return record
    known = columns_of(record)
    places: Sequence[int] = range(len(record.rows))
    parts = []
    for bound in bounds:
        column = column_named(known, bound.name, bound.option)
        values = list(column.values(record.rows))
        places = [place for place in places if bound.allows(values[place])]
        sign = "≤" if bound.is_upper else "≥"
        parts.append(f"{column.title} {sign} {words.value_text(bound.value)}")
    rows = picked(record.rows, places)
    counts = Counter(field_of(rows, "state"))
    return dataclasses.replace(
        record,
        rows=rows,
        counts={state: counts[state] for state in TrialState},
        outside=record.outside + len(record.rows) - len(rows),
        filtered_by=words.joined([record.filtered_by, *parts] if record.filtered_by else parts),
    )
