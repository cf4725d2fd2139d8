"""A line of the table of trials as a record."""

from __future__ import annotations

from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.codec import decode
from tuner.ledger.records import TrialRow

TRIAL_COLUMNS = (
    "number, key, state, score, best_epoch, epochs, configuration, searched, replicate, seed, "
    "structure, metrics, parameters, macs, train_seconds, compile_seconds, worker, attempt, "
    "reason, started_at, finished_at"
)


def row_of(fields: tuple[Any, ...]) -> TrialRow:
    """The record of the columns that `TRIAL_COLUMNS` names."""
    number, key, state, score, best_epoch, epochs, configuration, searched = fields[:8]
    replicate, seed, structure, metrics, *rest = fields[8:]
    return TrialRow(
        number,
        key,
        TrialState(state),
        score,
        best_epoch,
        epochs,
        decode(configuration),
        decode(searched),
        replicate,
        seed,
        structure,
        decode(metrics),
        *rest,
    )
