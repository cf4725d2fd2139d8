"""Trials without a ledger, for what is computed from rows alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow


def trial(
    number: int,
    score: float | None,
    values: Mapping[str, Any],
    seed: int = 0,
    *,
    replicate: int | None = None,
    parameters: int | None = None,
    macs: int | None = None,
    epochs: int = 3,
    state: TrialState = TrialState.COMPLETED,
    fixed: Mapping[str, Any] | None = None,
    key: str = "",
) -> TrialRow:
    """A trial of which only these things matter."""
    return TrialRow(
        number=number,
        key=key or f"key{number}",
        state=state,
        score=score,
        best_epoch=epochs,
        epochs=epochs,
        configuration={**(fixed or {}), **values},
        values=values,
        replicate=seed if replicate is None else replicate,
        seed=seed,
        structure="s",
        metrics={},
        parameters=parameters,
        macs=macs,
        train_seconds=2.0 * epochs,
        compile_seconds=1.0,
        worker=0,
        attempt=1,
        reason="",
        started_at=None,
        finished_at=None,
    )


def in_context(row: TrialRow, **changed: Any) -> TrialRow:
    """The trial, trained on these data: names of the data section, changed."""
    data = {"dataset": "cifar10", "fingerprint": "f10", "validation": 5000, "seed": 0}
    context = {f"data.{name}": value for name, value in (data | changed).items()}
    return dataclasses.replace(row, context=context | {"backend": "jax"})
