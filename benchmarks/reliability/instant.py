"""Workers that train in no time: what is left is the scheduler and the ledger."""

from __future__ import annotations

from tuner.execution.pools import Pool
from tuner.execution.protocol import Epoch, Finished, Lost, Ready, Report, Task, TrainTrial

VALIDATION = 5000  # images, so that some trials tie


def metrics(number: int) -> dict[str, float]:
    """Another accuracy for every trial, in no order."""
    accuracy = number * 7919 % VALIDATION / VALIDATION
    return {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": accuracy}


class InstantPool(Pool):
    """Every epoch of a trial, and its end, are there as soon as it is sent."""

    def __init__(self) -> None:
        self._reports: list[tuple[int, Report]] = []

    def start(self, worker: int) -> None:
        self._reports.append((worker, Ready("none", 0.0, {})))

    def send(self, worker: int, task: Task) -> None:
        if not isinstance(task, TrainTrial):
            return
        found = metrics(task.number)
        for epoch in range(1, task.until + 1):
            self._reports.append((worker, Epoch(task.number, epoch, found, 0.1)))
        self._reports.append((worker, Finished(task.number)))

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        reports, self._reports = self._reports, []
        return reports

    def kill(self, worker: int, reason: str) -> None:
        self._reports.append((worker, Lost(reason)))

    def dismiss(self) -> bool:
        return bool(self._reports)

    def close(self) -> None:
        return None
