"""A worker that trains nothing, for campaigns on a cluster: short epochs, each to be told apart.

What it learns follows from the checkpoint that it goes on from; its seconds are those of no other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.execution import stub_worker as stub
from tuner.execution.protocol import Epoch, Finished, Progress, TrainTrial

SECONDS = (0.02, 0.15)  # of an epoch


def plays(task: TrainTrial, value: float, begun: int) -> Iterator[stub.Act]:
    for epoch in range(begun + 1, task.until + 1):
        yield random.uniform(*SECONDS)
        yield Progress(task.number, epoch, 1, 2, 1.0)
        value = stub.after(value, task)
        metrics = {"loss": 1.0, "accuracy": value, "val_loss": 1.0, "val_accuracy": value}
        yield Epoch(task.number, epoch, metrics, time.time_ns() % 10**12 / 1e12)
    yield Finished(task.number, attempt=task.attempt)


def main() -> None:
    stub.plays = plays
    stub.main()
