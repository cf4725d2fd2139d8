"""A small ledger that never changes: six ranked trials, one failed, one diverged, one waiting."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome

# depth, learning_rate, val_accuracy per epoch; None ends in failure, NaN in divergence
TRIALS = [
    (20, 0.001, [0.05, 0.10, 0.15]),
    (20, 0.01, [0.10, 0.20, 0.30]),
    (20, 0.1, [0.10, 0.25, 0.20]),
    (32, 0.001, [0.04, 0.08, 0.12]),
    (32, 0.01, [0.10, 0.20, 0.30]),
    (32, 0.1, [0.20, 0.10]),
    (32, 1.0, [0.01, math.nan]),
    (20, 1.0, []),
    (20, 10.0, None),
]
PARAMETERS = {20: 272_474, 32: 466_906}
MACS = {20: 40_600_000, 32: 69_100_000}


class Clock:
    """Each look takes a second."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


def make(results: Path, name: str = "grid") -> RunFolder:
    """Writes the fixed run under a results folder."""
    folder = RunFolder(results, name)
    folder.prepare()
    folder.environment.write_text(json.dumps({"data": {"num_classes": 100}}))
    with Ledger.create_or_open(folder.ledger, name, now=Clock()) as ledger:
        ledger.set_objective(Objective("val_accuracy", "max"))
        ledger.begin_run(total=10, done=0, workers=1)
        for index, (depth, rate, curve) in enumerate(TRIALS):
            _add(ledger, index, depth, rate)
            if curve is not None:
                _train(ledger, index + 1, curve)
    return folder


def _add(ledger: Ledger, index: int, depth: int, rate: float) -> None:
    values = {"model.depth": depth, "training.learning_rate": rate}
    configuration = {"model.family": "resnet", **values, "training.epochs": 3}
    ledger.add(
        [
            NewTrial(
                f"key{index}", configuration, values, 0, 0, f"s{depth}",
                PARAMETERS[depth], MACS[depth],
            )
        ]
    )  # fmt: skip


def _train(ledger: Ledger, number: int, curve: list[float]) -> None:
    ledger.start(number, 1)
    for epoch, accuracy in enumerate(curve, start=1):
        ledger.record_epoch(number, epoch, _metrics(accuracy, epoch), 2.0)
    ledger.finish(number, _outcome(curve))


def _metrics(accuracy: float, epoch: int) -> dict[str, float]:
    return {
        "loss": 4.0 / epoch,
        "accuracy": accuracy + 0.05,
        "val_loss": 4.5 / epoch,
        "val_accuracy": accuracy,
    }


def _outcome(curve: list[float]) -> Outcome:
    if not curve:
        return Outcome(TrialState.FAILED, reason="MemoryError: too large\nsecond line")
    metrics = _metrics(curve[-1], len(curve))
    if math.isnan(curve[-1]):
        return Outcome(TrialState.DIVERGED, None, None, metrics, 4.0, 0.0, "loss is nan in epoch 2")
    state = TrialState.COMPLETED if len(curve) == 3 else TrialState.STOPPED
    best = max(curve)
    seconds = 2.0 * len(curve)
    return Outcome(state, best, curve.index(best) + 1, metrics, seconds, 1.5)
