"""A pool under a stopwatch: what its workers report is also what training costs here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from tuner.data.config import DataConfig
from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError
from tuner.execution.estimate.speeds import Speed, SpeedRecord, Start, spread
from tuner.execution.estimate.workload import Network, network_of
from tuner.execution.messages import (
    Compiled,
    Epoch,
    Finished,
    Ready,
    Rehearse,
    Report,
    Task,
    TrainTrial,
    not_finite,
)
from tuner.execution.pools import Pool
from tuner.experiment.trial import Configuration

_MAX_SAMPLES = 500  # of each kind and structure


@dataclass(frozen=True)
class Setting:
    """What all measurements of a run have in common."""

    machine: str
    backend: str
    precision: str
    sharing: int
    data: DataConfig
    info: DatasetInfo


@dataclass
class _Tally:
    """What was seen of one structure, in seconds."""

    task: TrainTrial | Rehearse
    compiling: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    first_steps: list[float] = field(default_factory=list)  # of epochs right after compiling
    images: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)  # what they took besides
    trials: list[float] = field(default_factory=list)  # what they took besides
    spread: float = 0.0
    is_rehearsal: bool = False


@dataclass
class _Running:
    """A trial on its worker; `idle` are seconds in which no epoch was trained."""

    task: TrainTrial | Rehearse
    tally: _Tally
    heard_at: float
    compiled: bool = False
    idle: float = 0.0
    num_epochs: int = 0


class Stopwatch(Pool):
    """Does what the pool does. `record` then keeps what was seen of it."""

    def __init__(
        self, pool: Pool, setting: Setting, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._setting = setting
        self._clock = clock
        self._tallies: dict[str, _Tally] = {}
        self._networks: dict[str, Network | None] = {}
        self._running: dict[int, _Running] = {}
        self._started: dict[int, float] = {}
        self._starts: list[tuple[str, float]] = []  # device, seconds

    # ------------------------------------------------------------ as a pool

    def start(self, worker: int) -> None:
        """Its time until it is ready counts."""
        self._started[worker] = self._clock()
        self._running.pop(worker, None)
        self._pool.start(worker)

    def send(self, worker: int, task: Task) -> None:
        """The time of a trial begins."""
        if isinstance(task, TrainTrial | Rehearse):
            tally = self._tallies.setdefault(task.structure, _Tally(task))
            self._running[worker] = _Running(task, tally, self._clock())
        self._pool.send(worker, task)

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        """What it receives is noted."""
        reports = self._pool.receive(timeout_seconds)
        for worker, report in reports:
            self._note(worker, report)
        return reports

    def kill(self, worker: int, reason: str) -> None:
        """As the pool."""
        self._pool.kill(worker, reason)

    def dismiss(self) -> bool:
        """As the pool."""
        return self._pool.dismiss()

    def close(self) -> None:
        """As the pool."""
        self._pool.close()

    # ------------------------------------------------------------ what was seen

    def record(self, record: SpeedRecord, now: datetime) -> None:
        """Keeps what was seen, if anything was."""
        if speeds := self.speeds(now):
            record.add(speeds, [self._start(now)])

    def speeds(self, now: datetime) -> list[Speed]:
        """One for each structure of which an epoch or a rehearsal was seen."""
        if not self._starts:
            return []
        found = (self._speed(key, tally, now) for key, tally in self._tallies.items())
        return [speed for speed in found if speed is not None]

    def _start(self, now: datetime) -> Start:
        device = self._starts[-1][0]
        seconds = median(seconds for _, seconds in self._starts)
        setting = self._setting
        return Start(setting.machine, setting.backend, device, seconds, _text(now))

    def _speed(self, key: str, tally: _Tally, now: datetime) -> Speed | None:
        steps = tally.steps or tally.first_steps
        network = self._network(tally.task)
        if network is None or not steps:
            return None
        setting = self._setting
        return Speed(
            machine=setting.machine,
            device=self._starts[-1][0],
            sharing=setting.sharing,
            backend=setting.backend,
            precision=setting.precision,
            family=network.family,
            structure=key,
            image_shape=network.image_shape,
            num_classes=network.num_classes,
            batch_size=network.batch_size,
            parameters=network.parameters,
            macs=network.macs,
            step_seconds=median(steps),
            image_seconds=median(tally.images) if tally.images else 0.0,
            epoch_seconds=median(tally.epochs) if tally.epochs else 0.0,
            trial_seconds=median(tally.trials) if tally.trials else 0.0,
            compile_seconds=median(tally.compiling) if tally.compiling else None,
            spread=max(tally.spread, spread(steps)),
            epochs=0 if tally.is_rehearsal else len(steps),
            measured_at=_text(now),
        )

    # ------------------------------------------------------------ while it runs

    def _note(self, worker: int, report: Report) -> None:
        if isinstance(report, Ready):
            seconds = self._clock() - self._started.pop(worker, self._clock())
            self._starts.append((report.device, seconds))
            return
        running = self._running.get(worker)
        if running is None or getattr(report, "number", None) != running.task.number:
            return
        if isinstance(report, Compiled):
            running.compiled = True
            running.idle -= report.seconds
            running.tally.compiling.append(report.seconds)
        elif isinstance(report, Epoch):
            self._epoch(running, report)
        elif isinstance(report, Finished):
            self._finished(running, report)
            del self._running[worker]

    def _epoch(self, running: _Running, report: Epoch) -> None:
        tally, network = running.tally, self._network(running.task)
        now = self._clock()
        besides = now - running.heard_at - report.seconds
        running.heard_at, running.num_epochs = now, running.num_epochs + 1
        if running.num_epochs == 1:
            running.idle += besides
        elif besides >= 0:
            _keep(tally.epochs, besides)
        if network is None or not network.steps or not_finite(report.metrics):
            return
        step = (report.seconds - report.validation_seconds) / network.steps
        is_first = running.compiled and running.num_epochs == 1
        _keep(tally.first_steps if is_first else tally.steps, step)
        if network.validation_images and report.validation_seconds:
            _keep(tally.images, report.validation_seconds / network.validation_images)

    def _finished(self, running: _Running, report: Finished) -> None:
        tally, found = running.tally, report.rehearsal
        if found is not None:
            tally.is_rehearsal = True
            tally.spread = max(tally.spread, found.spread)
            _keep(tally.steps, found.step_seconds)
            _keep(tally.images, found.image_seconds)
            _keep(tally.trials, found.start_seconds)
        elif running.num_epochs and not report.reason:
            running.idle += self._clock() - running.heard_at
            _keep(tally.trials, max(0.0, running.idle))

    def _network(self, task: TrainTrial | Rehearse) -> Network | None:
        """None for one that cannot be."""
        key, setting = task.structure, self._setting
        if key not in self._networks:
            configuration = Configuration(dict(task.model), dict(task.training), {}, task.switches)
            try:
                network = network_of(configuration, key, setting.info, setting.data)
            except InputError:
                network = None
            self._networks[key] = network
        return self._networks[key]


def _keep(values: list[float], value: float) -> None:
    if len(values) < _MAX_SAMPLES:
        values.append(value)


def _text(now: datetime) -> str:
    return now.isoformat(timespec="seconds")
