"""Where the time of a run went: how it is measured, and as the ledger keeps it for all views."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

START, IMPORT, DATA, MEASURE = "start", "import", "data", "measure"
BUILD, TRACE, COMPILE = "build", "trace", "compile"
TRAIN, EVALUATE, CHECKPOINT, WAIT, OTHER = "train", "evaluate", "checkpoint", "wait", "other"

PHASES: Mapping[str, str] = {
    START: "starting the process",
    IMPORT: "imports",
    DATA: "data",
    MEASURE: "measuring the device",
    BUILD: "building networks",
    TRACE: "tracing",
    COMPILE: "compiling",
    TRAIN: "training",
    EVALUATE: "evaluation",
    CHECKPOINT: "checkpoints",
    WAIT: "waiting for work",
    OTHER: "other",
}
"""What a worker's time goes into, in the order of its life, in words."""

PREPARING, SEARCH, LEDGER = "preparing", "search", "ledger"
"""What the scheduler's time goes into beside WAIT and OTHER; the first is before any worker."""


class Stopwatch:
    """Where the time of one thread goes: each moment is of one phase, so that they add up."""

    def __init__(self, phase: str = OTHER, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._phase, self._since = phase, clock()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens within is of this phase, and no longer of the one around it."""
        before = self._phase
        self._turn(name)
        try:
            yield
        finally:
            self._turn(before)

    def move(self, seconds: float, source: str, target: str) -> None:
        """Of what a phase has had, so many seconds were of another one."""
        self._seconds[source] -= seconds
        self._seconds[target] += seconds

    def seconds(self) -> dict[str, float]:
        """Each phase so far; together the time since the beginning."""
        self._turn(self._phase)
        return dict(self._seconds)

    def _turn(self, phase: str) -> None:
        now = self._clock()
        self._seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now


@dataclass(frozen=True)
class WorkerProfile:
    """A worker's seconds by phase; together the time from its start to what it said last.

    `training_flop` are the operations of its training, 3 · 2 · multiply-adds of each image: a
    forward pass, and a backward pass of twice the work. `matrix_flops` is how many a second a
    matrix product reaches on its device in the run's precision. `programs` it has compiled.
    """

    worker: int
    seconds: Mapping[str, float]
    node: str = ""
    device: str = ""
    programs: int = 0
    training_flop: float = 0.0
    matrix_flops: float | None = None

    @property
    def whole_seconds(self) -> float:
        """All phases together."""
        return sum(self.seconds.values())

    @property
    def training_flops(self) -> float | None:
        """Operations a second while it trained; None before it did."""
        seconds = self.seconds.get(TRAIN, 0.0)
        return self.training_flop / seconds if seconds and self.training_flop else None


@dataclass(frozen=True)
class RunProfile:
    """The last run that was profiled: its own seconds by phase, and those of its workers."""

    started_at: str
    precision: str
    scheduler: Mapping[str, float]
    workers: tuple[WorkerProfile, ...]

    @property
    def whole_seconds(self) -> float:
        """Of the run, until its last worker had gone."""
        return sum(self.scheduler.values())

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """What `asdict` gave; a newer tuner may know more of a worker."""
        known = {field.name for field in fields(WorkerProfile)}
        workers = tuple(
            WorkerProfile(**{name: value for name, value in worker.items() if name in known})
            for worker in kept["workers"]
        )
        return cls(kept["started_at"], kept["precision"], kept["scheduler"], workers)

    def document(self) -> dict[str, Any]:
        """As `--json` prints it: with what follows from the rest."""
        workers = [
            {
                **asdict(worker),
                "whole_seconds": worker.whole_seconds,
                "training_flops": worker.training_flops,
            }
            for worker in self.workers
        ]
        return {**asdict(self), "whole_seconds": self.whole_seconds, "workers": workers}
