"""Whole columns of many trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.ledger.records import TrialRow


def field_of(rows: Sequence[TrialRow], name: str) -> Sequence[Any]:
    """One attribute of every row that is a column of the table of trials."""
    return [getattr(row, name) for row in rows]


def value_of(rows: Sequence[TrialRow], name: str, default: Any = None) -> Sequence[Any]:
    """One hyperparameter of every row, searched or fixed; the default where there is none."""
    return [row.value(name, default) for row in rows]


def picked(rows: Sequence[TrialRow], places: Sequence[int]) -> Sequence[TrialRow]:
    """The rows at these places, in this order."""
    return tuple(rows[place] for place in places)


def by_number(rows: Sequence[TrialRow]) -> Sequence[TrialRow]:
    """The rows in the order of their numbers: for what does not depend on the order."""
    return sorted(rows, key=lambda row: row.number)
