"""Where a run is, kept up by its events: what both the live view and the plain lines read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.execution.messages import (
    EpochEnded,
    Event,
    Notice,
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
from tuner.ledger.records import RANKED_STATES, UNRANKED_STATES


@dataclass
class RunningTrial:
    """One trial on its worker. `epoch` is the running one, from 1; `curve` the objective's."""

    number: int
    worker: int
    values: Mapping[str, Any]
    replicate: int
    epochs: int
    is_compiling: bool
    started_at: float
    epoch: int = 1
    step: int = 0
    steps: int = 0
    loss: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How much of the trial is done, 0 to 1."""
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.epoch - 1 + within) / max(1, self.epochs))


@dataclass(frozen=True)
class Best:
    """The best trial so far."""

    number: int
    score: float
    values: Mapping[str, Any]


class RunProgress:
    """The state of a run. Feed it every event, in order; `best` is that of earlier runs."""

    def __init__(
        self, metric: str, direction: str, clock: Callable[[], float], best: Best | None = None
    ) -> None:
        self.metric = metric
        self.clock = clock
        self._sign = 1.0 if direction == "max" else -1.0
        self.name = ""
        self.folder = ""
        self.total: int | None = None
        self.done = 0
        self.ended = 0
        self.workers = 1
        self.device = ""
        self.running: dict[int, RunningTrial] = {}
        self.best = best
        self.counts: dict[TrialState, int] = {}
        self.failures: list[TrialEnded] = []
        self.notes: list[str] = []
        self.compile_seconds = 0.0
        self.started_at = clock()
        self.began_training_at: float | None = None
        self.is_stopping = False
        self.downloaded: tuple[int, int] | None = None  # bytes, of how many

    def take(self, event: Event) -> None:
        """Takes one event into account."""
        match event:
            case RunStarted():
                self._start_run(event)
            case WorkerReady():
                self.device = event.device
            case TrialStarted():
                self._start_trial(event)
            case TrialCompiled():
                self._compiled(event)
            case TrialProgress():
                self._progressed(event)
            case EpochEnded():
                self._end_epoch(event)
            case TrialEnded():
                self._end_trial(event)
            case WorkerLost():
                self._lose_worker(event)
            case Notice():
                self.notes.append(event.text)
            case RunEnded():
                self.running.clear()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.started_at

    @property
    def share(self) -> float | None:
        """How much of the whole search is done, running trials included."""
        if not self.total:
            return None
        return min(1.0, (self.done + self.ended + self._under_way) / self.total)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace of this run so far; None while there is no pace."""
        if self.total is None or self.began_training_at is None:
            return None
        progress = self.ended + self._under_way
        left = max(0.0, self.total - self.done - progress)
        elapsed = self.clock() - self.began_training_at
        # A first fraction of an epoch, compiling included, says nothing about the pace.
        if progress <= 0 or elapsed < 1.0:
            return None
        return elapsed / progress * left

    @property
    def num_failures(self) -> int:
        """Failed and diverged trials of this run."""
        return len(self.failures)

    @property
    def _under_way(self) -> float:
        return sum(trial.share for trial in self.running.values())

    def _start_run(self, event: RunStarted) -> None:
        self.downloaded = None
        self.name, self.folder = event.name, event.folder
        self.total, self.done, self.workers = event.total, event.done, event.workers
        self.notes += event.notes

    def _start_trial(self, event: TrialStarted) -> None:
        now = self.clock()
        if self.began_training_at is None:
            self.began_training_at = now
        self.running[event.worker] = RunningTrial(
            event.number,
            event.worker,
            event.values,
            event.replicate,
            event.epochs,
            event.first_of_structure,
            now,
            epoch=event.epochs_done + 1,
        )

    def _compiled(self, event: TrialCompiled) -> None:
        self.compile_seconds += event.seconds
        trial = self._trial(event.worker, event.number)
        if trial:
            trial.is_compiling = False

    def _progressed(self, event: TrialProgress) -> None:
        trial = self._trial(event.worker, event.number)
        if trial:
            trial.is_compiling = False
            trial.epoch, trial.step, trial.steps = event.epoch, event.step, event.steps
            trial.loss = event.loss

    def _end_epoch(self, event: EpochEnded) -> None:
        trial = self._trial(event.worker, event.number)
        if trial:
            trial.is_compiling = False
            trial.epoch, trial.step = event.epoch + 1, 0
            trial.metrics = event.metrics
            trial.loss = event.metrics.get("loss", trial.loss)
            trial.curve.append(event.metrics.get(self.metric, math.nan))

    def _end_trial(self, event: TrialEnded) -> None:
        self.running.pop(event.worker, None)
        if event.state in UNRANKED_STATES:
            self.failures.append(event)
        if event.state in (*RANKED_STATES, *UNRANKED_STATES):
            self.ended += 1
            self.counts[event.state] = self.counts.get(event.state, 0) + 1
        if event.state in RANKED_STATES and event.score is not None:
            self._compare(Best(event.number, event.score, event.values))

    def _compare(self, found: Best) -> None:
        if math.isnan(found.score):
            return
        if self.best is None or self._order(found) > self._order(self.best):
            self.best = found

    def _order(self, found: Best) -> tuple[float, int]:
        return self._sign * found.score, -found.number

    def _lose_worker(self, event: WorkerLost) -> None:
        self.running.pop(event.worker, None)
        of = f" with trial {event.number}" if event.number is not None else ""
        self.notes.append(f"worker {event.worker} was lost{of}: {event.reason}")

    def _trial(self, worker: int, number: int) -> RunningTrial | None:
        trial = self.running.get(worker)
        return trial if trial and trial.number == number else None
