"""A small ledger with replicates: three learning rates under eight seeds, one trial failed."""

from __future__ import annotations

from pathlib import Path

from tests.report.fixed_ledger import Clock
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome

# Of each learning rate: the final val_accuracy under each seed; None has failed.
SCORES: dict[float, list[float | None]] = {
    0.01: [0.50, 0.52, 0.51, 0.53, 0.50, 0.52, 0.51, 0.49],
    0.1: [0.51, 0.51, 0.50, 0.54, 0.49, 0.51, 0.52, 0.48],
    0.001: [0.30, 0.32, 0.31, 0.33, 0.30, None, 0.31, 0.29],
}


def make(results: Path, name: str = "seeds", num_seeds: int = 8) -> RunFolder:
    """Writes the run under a results folder, with the first so many seeds."""
    folder = RunFolder(results, name)
    folder.prepare()
    with Ledger.create_or_open(folder.ledger, name, now=Clock()) as ledger:
        ledger.set_objective(Objective("val_accuracy", "max"))
        ledger.begin_run(total=3 * num_seeds, done=0, workers=1)
        for seed in range(num_seeds):
            for rate, scores in SCORES.items():
                _trial(ledger, rate, seed, scores[seed])
    return folder


def _trial(ledger: Ledger, rate: float, seed: int, score: float | None) -> None:
    values = {"training.learning_rate": rate}
    configuration = {"model.family": "resnet", **values, "training.epochs": 2}
    new = NewTrial(f"{rate}-{seed}", configuration, values, seed, seed, "s", 272_474, 40_600_000)
    (number,) = ledger.add([new])
    ledger.start(number, 1)
    if score is None:
        ledger.finish(number, Outcome(TrialState.FAILED, reason="MemoryError: too large"))
        return
    num_epochs = 1 if (rate, seed) == (0.001, 7) else 2
    for epoch in range(1, num_epochs + 1):
        metrics = {"val_loss": 2.0 / epoch, "val_accuracy": score / 2 * epoch}
        ledger.record_epoch(number, epoch, metrics, 1.5)
    state = TrialState.COMPLETED if num_epochs == 2 else TrialState.STOPPED
    ledger.finish(number, Outcome(state, score, 2, metrics, 1.5 * num_epochs + seed / 10, 0.5))
