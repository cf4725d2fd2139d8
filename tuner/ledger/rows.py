"""A line of the table of trials as a record."""

from __future__ import annotations

import dataclasses
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.codec import Late, decode
from tuner.ledger.records import TrialRow
from tuner.ledger.sealed import COLUMNS, SINCE_VERSION

_FIELDS = tuple(field.name for field in dataclasses.fields(TrialRow))
_STATES = {state.value: state for state in TrialState}
_STATE, _CONFIGURATION, _SEARCHED, _METRICS = (
    COLUMNS["trials"].index(name) for name in ("state", "configuration", "searched", "metrics")
)


def row_of(fields: tuple[Any, ...], version: int) -> TrialRow:
    """The record of the columns of `trials` in a ledger of some version.

    Where no digest vouches for the texts they are decoded at once, so that damage shows here.

    Raises:
        KeyError, ValueError: a state or a text is damaged.
    """
    read = Late if version >= SINCE_VERSION else decode
    values = list(fields)
    values[_STATE] = _STATES[fields[_STATE]]
    values[_CONFIGURATION] = read(fields[_CONFIGURATION])
    values[_SEARCHED] = read(fields[_SEARCHED])
    values[_METRICS] = read(fields[_METRICS])
    row = object.__new__(TrialRow)
    # A frozen record's own __init__ sets field by field: three times as long, for 100,000 rows.
    row.__dict__.update(zip(_FIELDS, values, strict=True))
    return row
