"""Reading many trials at once: whole columns without making a record of every row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from tuner.experiment.trial import TrialState
from tuner.ledger.codec import decode
from tuner.ledger.records import TrialRow
from tuner.ledger.rows import row_of
from tuner.ledger.sealed import COLUMNS, SINCE_VERSION

Fields = tuple[Any, ...]

_PLACES = {name: place for place, name in enumerate(COLUMNS["trials"])}
_STATES = {state.value: state for state in TrialState}
_MARK = '"$float"'  # texts with a NaN or an infinity go through the ledger's own decoder
_ABSENT = object()


class Rows(Sequence[TrialRow]):
    """Some trials in some order; records are made, and kept, when looked at.

    Of 100,000 trials a table shows twenty. `field` and `value` read a whole column at once.
    """

    def __init__(self, texts: Texts, places: Sequence[int] | None = None) -> None:
        self._texts = texts
        self._places = range(len(texts.rows)) if places is None else places
        self._fields: dict[str, Sequence[Any]] = {}
        self._values: dict[str, Sequence[Any]] = {}

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> TrialRow: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> TrialRow | Rows:
        if isinstance(index, slice):
            return Rows(self._texts, self._places[index])
        return self._texts.record(self._places[index])

    def __iter__(self) -> Iterator[TrialRow]:
        return map(self._texts.record, self._places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def picked(self, places: Sequence[int]) -> Rows:
        """The rows at these places, in this order."""
        mine = self._places
        return Rows(self._texts, [mine[place] for place in places])

    def by_number(self) -> Rows:
        """The same rows in the order of their numbers, in which columns are read fastest."""
        if len(self) == len(self._texts.rows):
            return Rows(self._texts)
        return Rows(self._texts, sorted(self._places))

    def has_everywhere(self, name: str) -> bool:
        """Whether every row, of these and all others, was searched with this name."""
        self._texts.searched(name)
        return self._texts.is_everywhere(name)

    def field(self, name: str) -> Sequence[Any]:
        """A column of the table of trials; `state` as a state."""
        if name not in self._fields:
            self._fields[name] = self._in_order(self._texts.field(name))
        return self._fields[name]

    def value(self, name: str, default: Any = None) -> Sequence[Any]:
        """A hyperparameter of every row, searched or fixed; the default where there is none."""
        if name not in self._values:
            self._values[name] = self._in_order(self._texts.searched(name))
        found = self._values[name]
        if self._texts.is_everywhere(name):
            return found
        record = self._texts.record
        return [
            record(place).value(name, default) if value is _ABSENT else value
            for place, value in zip(self._places, found, strict=True)
        ]

    def _in_order(self, column: Sequence[Any]) -> Sequence[Any]:
        if self._places == range(len(column)):
            return column
        return list(map(column.__getitem__, self._places))


class Texts:
    """The rows as they were read, verified by their digests, and what was made of them."""

    def __init__(self, rows: Sequence[Fields]) -> None:
        self.rows = rows
        self._records: dict[int, TrialRow] = {}
        self._decoded: Sequence[Mapping[str, Any]] | None = None
        self._fields: dict[str, list[Any]] = {}
        self._searched: dict[str, list[Any]] = {}
        self._is_everywhere: dict[str, bool] = {}

    def record(self, place: int) -> TrialRow:
        """The record of one row; always the same object."""
        found = self._records.get(place)
        if found is None:
            found = self._records[place] = row_of(self.rows[place], SINCE_VERSION)
        return found

    def field(self, name: str) -> Sequence[Any]:
        """One column of every row."""
        if name not in self._fields:
            place = _PLACES[name]
            found = [row[place] for row in self.rows]
            self._fields[name] = [_STATES[v] for v in found] if name == "state" else found
        return self._fields[name]

    def searched(self, name: str) -> Sequence[Any]:
        """One searched value of every row; `_ABSENT` where it was not searched."""
        if self._decoded is None:
            self._decoded = _decoded(self.field("searched"))
        if name not in self._searched:
            found = [values.get(name, _ABSENT) for values in self._decoded]
            self._searched[name] = found
            self._is_everywhere[name] = not any(value is _ABSENT for value in found)
        return self._searched[name]

    def is_everywhere(self, name: str) -> bool:
        """Whether every row was searched with this name; of one that `searched` has read."""
        return self._is_everywhere[name]


def field_of(rows: Sequence[TrialRow], name: str) -> Sequence[Any]:
    """One attribute of every row that is a column of the table of trials."""
    if isinstance(rows, Rows):
        return rows.field(name)
    return [getattr(row, name) for row in rows]


def value_of(rows: Sequence[TrialRow], name: str, default: Any = None) -> Sequence[Any]:
    """One hyperparameter of every row, searched or fixed; the default where there is none."""
    if isinstance(rows, Rows):
        return rows.value(name, default)
    return [row.value(name, default) for row in rows]


def picked(rows: Sequence[TrialRow], places: Sequence[int]) -> Sequence[TrialRow]:
    """The rows at these places, in this order."""
    if isinstance(rows, Rows):
        return rows.picked(places)
    return tuple(rows[place] for place in places)


def by_number(rows: Sequence[TrialRow]) -> Sequence[TrialRow]:
    """The rows in the order of their numbers: for what does not depend on the order."""
    if isinstance(rows, Rows):
        return rows.by_number()
    return sorted(rows, key=lambda row: row.number)


def _decoded(texts: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Many short texts in one go: half the time of one by one."""
    joined = ",".join(texts)
    if _MARK in joined:
        return [decode(text) for text in texts]
    found: list[Mapping[str, Any]] = json.loads(f"[{joined}]")
    return found
