"""A worker without a framework: it plays what the learning rate of a trial stands for.

What it learns is a number that follows from the one before, so that a trial that goes on from a
wrong checkpoint, or from none, ends otherwise. It is started as real workers are.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from tuner.errors import Problem
from tuner.execution.protocol import (
    Epoch,
    Finished,
    Progress,
    Ready,
    Report,
    Resumed,
    SetupFailed,
    TrainTrial,
    WorkerSetup,
)
from tuner.execution.worker import Mailbox
from tuner.ledger import logs
from tuner.ledger.checkpoint import SavedCheckpoint

GOOD, SLOW, DIES_BEFORE, DIES_WITHIN, DIES_AFTER, SILENT, POISON, RAISES, STEADY = (
    0.01 * number for number in range(1, 10)
)
"""Learning rates; all but the last four do harm in the first attempt alone."""

STEP_SECONDS = 0.2  # of an epoch of those that take time

WAIT = "wait"  # while this file is there, nobody goes on behind an epoch

Act = Report | float | str
"""What a worker does: says something, takes seconds, or `dies` or `hangs`."""


def after(value: float, task: TrainTrial) -> float:
    """What a trial has learnt one epoch later."""
    return (value * 7.31 + task.training["learning_rate"] + task.seed / 7 + 0.1) % 1.0


def plays(task: TrainTrial, value: float, begun: int) -> Iterator[Act]:
    """All that happens in an attempt that goes on after `begun` epochs."""
    rate = task.training["learning_rate"]
    does_harm = task.attempt == 1 or rate == POISON
    if does_harm and rate in (DIES_BEFORE, POISON):
        yield "dies"
    if does_harm and rate == SILENT:
        yield "hangs"
    for epoch in range(begun + 1, task.until + 1):
        if rate in (SLOW, STEADY) or rate >= 0.5:  # those of a cluster whose machines come and go
            yield STEP_SECONDS
        yield Progress(task.number, epoch, 1, 2, 1.0)
        if does_harm and rate == DIES_WITHIN and epoch == 2:
            yield "dies"
        if rate == RAISES:
            yield Finished(task.number, "ValueError: as it was told", attempt=task.attempt)
            return
        value = after(value, task)
        metrics = {"loss": 1.0, "accuracy": value, "val_loss": 1.0, "val_accuracy": value}
        yield Epoch(task.number, epoch, metrics, 0.1)
        if does_harm and rate == DIES_AFTER and epoch == 1:
            yield "dies"
    yield Finished(task.number, attempt=task.attempt)


class _Stub:
    def __init__(self, setup: WorkerSetup, connection: Connection, mailbox: Mailbox) -> None:
        self._folder = setup.checkpoints
        self._connection = connection
        self._mailbox = mailbox
        self._waits = (setup.data_dir or Path()) / WAIT

    def run(self) -> None:
        while isinstance(task := self._mailbox.next(), TrainTrial):
            print(logs.begins(task.number, task.attempt), flush=True)
            print(f"trial {task.number} by a stub", flush=True)
            self._train(task)
            print(logs.ends(task.number), flush=True)

    def _train(self, task: TrainTrial) -> None:
        value, begun = self._begin(task)
        has_trained = False
        for act in plays(task, value, begun):
            while self._waits.exists() and has_trained and not self._mailbox.gives_up(task):
                time.sleep(0.05)
            if self._mailbox.gives_up(task):
                self._connection.send(Finished(task.number, attempt=task.attempt))
                return
            has_trained |= isinstance(act, Epoch)
            if isinstance(act, float):
                time.sleep(act)
            elif act == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            elif act == "hangs":
                time.sleep(3600)
            elif isinstance(act, Epoch):
                waits = act.epoch in task.rungs
                self._connection.send(replace(self._saved(act, task), waits=waits))
                if waits and not self._mailbox.goes_on(task, act.epoch):
                    self._connection.send(Finished(task.number, attempt=task.attempt))
                    return
            else:
                self._connection.send(act)

    def _begin(self, task: TrainTrial) -> tuple[float, int]:
        damaged = []
        for row in task.checkpoints:
            path = self._folder / row.file
            content = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(content).hexdigest() == row.sha256:
                self._connection.send(Resumed(task.number, row.epoch, tuple(damaged)))
                return json.loads(content), row.epoch
            damaged.append(f"{path}: damaged")
        self._connection.send(Resumed(task.number, 0, tuple(damaged)))
        return 0.0, 0

    def _saved(self, report: Epoch, task: TrainTrial) -> Epoch:
        content = json.dumps(report.metrics["val_accuracy"]).encode()
        name = f"{report.number}-{report.epoch}-{task.attempt}.npz"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        return replace(report, checkpoint=SavedCheckpoint(name, digest, len(content)))


def main() -> None:
    print(logs.STARTED, flush=True)
    connection = Connection(int(sys.argv[1]))
    mailbox = Mailbox(connection)
    setup = mailbox.next()
    assert isinstance(setup, WorkerSetup)
    scratch = setup.data_dir or Path()
    (scratch / str(os.getpid())).touch()
    if (scratch / "broken").exists():
        connection.send(SetupFailed("broken", (Problem("broken on purpose", "stub"),)))
        return
    connection.send(Ready("CPU", 0.1, {"dataset": "data:1"}))
    _Stub(setup, connection, mailbox).run()
