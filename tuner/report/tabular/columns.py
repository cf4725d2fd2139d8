"""The columns of a table of trials: their names, how a cell is read and how it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import InputError, Problem, nearest
from tuner.ledger.queries import field_of, value_of
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.record import RunRecord

# Shown by default when they vary; the rest is for --columns, csv and json.
_NEVER_BY_DEFAULT = {"seed", "reason", "compile_seconds"}
_SAME_IS_NEWS = {"epochs", "parameters", "macs"}


@dataclass(frozen=True)
class Column:
    """One column: its full name, its title for people, and how to read and write a cell.

    When a table is too wide, columns with a high `rank` go first.
    """

    name: str
    title: str
    value: Callable[[Any], Any]
    text: Callable[[Any], str]
    numeric: bool = True
    rank: int = 0
    whole: Callable[[Sequence[TrialRow]], Iterable[Any]] | None = None

    def values(self, rows: Sequence[Any]) -> Iterable[Any]:
        """The column's value in every row; of many trials at once where that is faster."""
        return self.whole(rows) if self.whole else map(self.value, rows)


def columns_of(record: RunRecord) -> list[Column]:
    """All columns in the order of trials.csv."""
    short = words.short_names(record.value_names)
    return [
        _field("trial", "trial", str, field="number"),
        Column("state", "state", lambda row: row.state.value, str.lower, False, 2, _states),
        _field("score", "score", words.score_text),
        _field("epochs", "epochs", str, rank=6),
        *(_value_column(name, short[name], record.rows) for name in record.value_names),
        _field("replicate", "replicate", str, rank=3),
        _field("seed", "seed", str, rank=12),
        *(_metric_column(name) for name in record.metric_names),
        _field("parameters", "params", words.count_text, rank=5),
        _field("macs", "MACs", words.count_text, rank=7),
        _field("train_seconds", "train", words.seconds_text, rank=4),
        _field("compile_seconds", "compile", words.seconds_text, rank=9),
        Column("reason", "reason", lambda row: row.reason, words.first_line, False, 11),
    ]


def varying(
    known: Sequence[Column], rows: Sequence[Any], record: RunRecord
) -> tuple[list[Column], list[tuple[str, str]]]:
    """The columns that tell rows apart, and of the others title and text, where that is news."""
    chosen: list[Column] = []
    same: list[tuple[str, str]] = []
    for column in known:
        if column.name in ("trial", "score", "n"):
            chosen.append(column)
        elif _is_default(column, record):
            if len(rows) < 2 or _differs(column, rows):
                chosen.append(column)
            elif _same_is_news(column, rows[0], record):
                same.append((column.title, column.text(column.value(rows[0]))))
    return chosen, same


def column_named(known: Sequence[Column], name: str, option: str) -> Column:
    """The column of a full name, a title or a name's unambiguous last part.

    Raises:
        InputError: there is no such column.
    """
    by_name = {column.title: column for column in known}
    by_name.update({column.name: column for column in known})
    if name in by_name:
        return by_name[name]
    guess = nearest(name, by_name)
    raise InputError(
        Problem(
            "there is no such column",
            where=option,
            received=name,
            expected=", ".join(words.printable(column.name) for column in known),
            mend=f"did you mean {guess}?" if guess else "",
        )
    )


def columns_named(known: Sequence[Column], names: Iterable[str], option: str) -> list[Column]:
    """The same for several names, each column once."""
    return list({c.name: c for c in (column_named(known, name, option) for name in names)}.values())


def is_number(value: Any) -> bool:
    """Whether it can be compared with numbers; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_missing(value: Any) -> bool:
    """Nothing, or nothing that has a place in an order."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _field(
    name: str, title: str, text: Callable[[Any], str], *, field: str = "", rank: int = 0
) -> Column:
    """A column that is one of the ledger's."""
    wanted = field or name
    return Column(
        name,
        title,
        lambda row: getattr(row, wanted),
        text,
        rank=rank,
        whole=lambda rows: field_of(rows, wanted),
    )


def _states(rows: Sequence[TrialRow]) -> Sequence[str]:
    return [state.value for state in field_of(rows, "state")]


def _value_column(name: str, title: str, rows: Sequence[TrialRow]) -> Column:
    kinds = set(map(type, value_of(rows, name)))
    return Column(
        name,
        words.printable(title),
        lambda row: row.value(name),
        words.value_text,
        numeric=kinds <= {int, float, type(None)},
        rank=1,
        whole=lambda rows: value_of(rows, name),
    )


def _metric_column(name: str) -> Column:
    wanted = 8 if name.startswith("val_") else 10
    title = words.printable(name)
    return Column(name, title, lambda row: row.metrics.get(name), words.score_text, rank=wanted)


def _differs(column: Column, rows: Sequence[Any]) -> bool:
    """Whether a column has two values."""
    values = column.values(rows)
    if isinstance(values, list):
        return values.count(values[0]) != len(values)  # a tenth of the time of a loop
    others = iter(values)  # looks no further than to the second
    first = next(others)
    return any(value != first for value in others)


def _same_is_news(column: Column, row: Any, record: RunRecord) -> bool:
    if column.name == "state":
        return bool(column.value(row) != "completed")
    if column.name == "stopped":
        return bool(column.value(row))
    return column.name in _SAME_IS_NEWS or column.name in record.value_names


def _is_default(column: Column, record: RunRecord) -> bool:
    if column.name in _NEVER_BY_DEFAULT:
        return False
    if column.name in record.metric_names:
        return column.name.startswith("val_")
    if column.name == "replicate":
        return any(field_of(record.rows, "replicate"))
    return True
