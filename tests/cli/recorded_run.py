"""A recorded run for the views: two structures, one divergence, one failure, an edit before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tuner.execution.events import (
    EpochEnded,
    Event,
    RunEnded,
    RunStarted,
    TrialCompiled,
    TrialEnded,
    TrialProgress,
    TrialStarted,
    WorkerLost,
    WorkerReady,
)
from tuner.experiment.trial import TrialState
from tuner.ledger.estimate import Estimate, StructureTime


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run_started(name: str, to_run: int, epochs: int, workers: int = 1, **changes) -> RunStarted:
    """Trials of a structure `s`, of as many epochs each; nothing was measured before."""
    estimate = Estimate(workers, {"s": StructureTime(to_run, to_run * epochs)})
    begun = RunStarted(name, to_run, 0, to_run, workers, "r", estimate=estimate)
    return replace(begun, **changes)


def values(depth: int, rate: float) -> dict[str, float]:
    return {"model.depth": depth, "training.learning_rate": rate}


def events(clock: Clock) -> Iterator[Event]:
    """Every event with the clock moved to its time."""
    halves = {"s20": StructureTime(2, 6), "s32": StructureTime(2, 6)}
    yield RunStarted("grid", 5, 1, 4, 1, "results/grid", estimate=Estimate(1, halves))
    clock.now += 2
    yield WorkerReady(1, "CPU", 2.0)
    yield from trial(clock, 2, values(20, 0.1), [0.1, 0.2, 0.3], first=True)
    yield from trial(clock, 3, values(20, 0.01), [0.1, 0.15, 0.2], first=False)
    yield TrialStarted(4, 1, values(32, 1.0), 0, 3, "s32", True)
    clock.now += 4
    yield TrialCompiled(4, 1, 3.5)
    yield EpochEnded(4, 1, 1, 3, metrics(0.01), 2.0)
    yield TrialEnded(4, 1, TrialState.DIVERGED, None, "loss is nan in epoch 2", values(32, 1.0), 2)
    yield TrialStarted(5, 1, values(32, 0.1), 0, 3, "s32", False)
    yield WorkerLost(1, 5, "killed by signal 9")
    yield WorkerReady(1, "CPU", 2.0)
    yield TrialStarted(5, 1, values(32, 0.1), 0, 3, "s32", True)
    clock.now += 1
    yield TrialEnded(
        5, 1, TrialState.FAILED, None, "MemoryError: no\nmore room", values(32, 0.1), 0
    )
    yield RunEnded("done", {TrialState.COMPLETED: 3}, None, clock.now - 1000.0, 4)


def trial(
    clock: Clock, number: int, found: dict[str, float], curve: list[float], *, first: bool
) -> Iterator[Event]:
    yield TrialStarted(number, 1, found, 0, len(curve), "s20", first)
    if first:
        clock.now += 3
        yield TrialCompiled(number, 1, 2.5)
    for epoch, accuracy in enumerate(curve, start=1):
        for step in (10, 20):
            clock.now += 1
            yield TrialProgress(number, 1, epoch, len(curve), step, 20, 4.0 / epoch)
        yield EpochEnded(number, 1, epoch, len(curve), metrics(accuracy), 2.0)
    yield TrialEnded(number, 1, TrialState.COMPLETED, max(curve), "", found, len(curve))


def metrics(accuracy: float) -> dict[str, float]:
    return {"loss": 2.5, "val_accuracy": accuracy, "val_loss": 3.0}
