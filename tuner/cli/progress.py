"""Where a run is, kept up by its events: what both the live view and the plain lines read."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.execution.events import (
    EpochEnded,
    Event,
    RunEnded,
    RunStarted,
    TrialCompiled,
    TrialEnded,
    TrialProgress,
    TrialStarted,
    TrialWaits,
    WorkerLost,
    WorkerReady,
)
from tuner.execution.workforce import Workforce
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.estimate import Estimate, Trained
from tuner.ledger.records import RANKED_STATES, UNRANKED_STATES
from tuner.report import format

MAX_LEADERS = 10  # of the live view's table
MAX_FAILURES = 2  # that it tells; a search may have many


@dataclass
class ShownTrial:
    """One trial on its worker. `epoch` is the running one, from 1; `curve` the objective's.

    `heard_at` is when it began what it does now: compiling, or an epoch.
    """

    number: int
    worker: int
    values: Mapping[str, Any]
    replicate: int
    epochs: int
    is_compiling: bool
    started_at: float
    structure: str = ""
    heard_at: float = 0.0
    epoch: int = 1
    step: int = 0
    steps: int = 0
    loss: float = math.nan
    curve: list[float] = field(default_factory=list)

    @property
    def part(self) -> float:
        """How much of the running epoch is done, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0

    @property
    def last(self) -> float | None:
        """The objective after the last epoch; None before there is one."""
        return self.curve[-1] if self.curve else None

    @property
    def share(self) -> float:
        """How much of the trial is done, 0 to 1."""
        return min(1.0, (self.epoch - 1 + self.part) / max(1, self.epochs))


@dataclass(frozen=True)
class Best:
    """The best trial so far."""

    number: int
    score: float
    values: Mapping[str, Any]


class RunProgress:
    """The state of a run. Feed it every event, in order."""

    def __init__(self, objective: Objective, clock: Callable[[], float] = time.monotonic) -> None:
        self.metric = objective.metric
        self._objective = objective
        self.clock = clock
        self.name = ""
        self.total: int | None = None
        self.done = 0
        self.ended = 0
        self.device = ""
        self.workforce = Workforce(clock)
        self.running: dict[int, ShownTrial] = {}
        self.waiting: dict[int, ShownTrial] = {}  # by number: at a rung, for others
        self.num_failures = 0  # diverged ones are failures, too
        self._stopped: set[int] = set()
        self.failures: deque[TrialEnded] = deque(maxlen=MAX_FAILURES)  # the last ones
        self.last_stopped: TrialEnded | None = None
        self._best_ended: Best | None = None
        self._leaders: list[Best] = []  # of this run
        self._estimate = Estimate()
        self._trained: dict[str, Trained] = {}  # by structure
        self._epochs = 0  # that have ended
        self._planned: int | None = None  # epochs, of a search that shares them out itself
        self._trained_before = 0
        self.started_at = clock()
        self.is_stopping = False
        self.data: tuple[str, int, int] | None = None  # what is done, bytes, of how many

    def take(self, event: Event) -> None:
        """Takes one event into account."""
        self.workforce.take(event)
        match event:
            case RunStarted():
                self._start_run(event)
            case WorkerReady():
                self.device = event.device
            case TrialStarted():
                self._start_trial(event)
            case TrialCompiled() | TrialProgress() | EpochEnded():
                self._advance(event)
            case TrialWaits():
                self._wait(event)
            case TrialEnded():
                self._end_trial(event)
            case WorkerLost():
                self.running.pop(event.worker, None)
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
        if self._planned is not None:
            whole = self._trained_before + self._planned
            done = self._trained_before + self._epochs_begun
            return min(1.0, done / whole) if whole else 1.0
        under_way = sum(trial.share for trial in self.running.values())
        return min(1.0, (self.done + self.ended + under_way) / self.total)

    @property
    def seconds_left(self) -> float | None:
        """As this run measures it, or was expected of what it has not come to; None: unknown."""
        if self.total is None:
            return None
        open_trials = len(self.running) + len(self.waiting)
        running = [
            (trial.structure, trial.epochs + 1 - trial.epoch - trial.part)
            for trial in self.running.values()
        ]
        planned = self._planned
        return self._estimate.seconds_left(
            self._with_first_epochs(),
            running,
            not_begun=max(0, self.total - self.done - self.ended - open_trials),
            epochs_left=None if planned is None else max(0.0, planned - self._epochs_begun),
        )

    @property
    def num_stopped(self) -> int:
        """How many a rule has stopped, less those that it has taken up again."""
        return len(self._stopped)

    @property
    def _epochs_begun(self) -> float:
        return self._epochs + sum(trial.part for trial in self.running.values())

    def _with_first_epochs(self) -> dict[str, Trained]:
        """Where no epoch of a structure has ended, what the begun part of one shows."""
        trained = dict(self._trained)
        for trial in self.running.values():
            mine, seconds = trained[trial.structure], self.clock() - trial.heard_at
            if not mine.epochs and trial.part and seconds >= 1.0:
                trained[trial.structure] = replace(mine, epochs=trial.part, seconds=seconds)
        return trained

    @property
    def best(self) -> Best | None:
        """The best trial so far, of those that have ended or wait."""
        scores = [
            (t, self._objective.best(filter(math.isfinite, t.curve))) for t in self.waiting.values()
        ]
        trials = [Best(t.number, score, t.values) for t, score in scores if score is not None]
        if self._best_ended is not None:
            trials.append(self._best_ended)
        return max(trials, key=self._order, default=None)

    @property
    def leaders(self) -> list[Best]:
        """The best that have ended or wait, best first, and what the best of earlier runs was."""
        known = {one.number: one for one in (*self._leaders, *filter(None, [self.best]))}
        return sorted(known.values(), key=self._order, reverse=True)[:MAX_LEADERS]

    def _start_run(self, event: RunStarted) -> None:
        self.data = None
        self.name, self.total, self.done = event.name, event.total, event.done
        self._planned, self._trained_before = event.epochs_to_run, event.epochs_trained
        self._estimate = event.estimate or Estimate(event.workers)
        if event.best is not None and event.best.score is not None:
            self._compare(Best(event.best.number, event.best.score, event.best.values))

    def _start_trial(self, event: TrialStarted) -> None:
        now = self.clock()
        before = self.waiting.pop(event.number, None)
        trained = self._trained.setdefault(event.structure, Trained())
        self.ended -= event.up_again
        if event.number in self._stopped:
            self._stopped.remove(event.number)
            trained.ended -= 1
            trained.epochs_of_ended -= event.epochs_done
        self.running[event.worker] = ShownTrial(
            event.number,
            event.worker,
            event.values,
            event.replicate,
            event.epochs,
            event.first_of_structure,
            now,
            event.structure,
            now,
            epoch=event.epochs_done + 1,
            curve=before.curve[: event.epochs_done] if before else [],
        )

    def _advance(self, event: TrialCompiled | TrialProgress | EpochEnded) -> None:
        trial = self.running.get(event.worker)
        if trial is None or trial.number != event.number:
            return
        trial.is_compiling = False
        if isinstance(event, TrialProgress):
            trial.epoch, trial.step, trial.steps = event.epoch, event.step, event.steps
            trial.loss = event.loss
            return
        trial.heard_at, trained = self.clock(), self._trained[trial.structure]
        if isinstance(event, TrialCompiled):
            trained.compile_seconds = event.seconds
        else:
            trained.epochs, trained.seconds = trained.epochs + 1, trained.seconds + event.seconds
            self._epochs += 1
            trial.epoch, trial.step = event.epoch + 1, 0
            trial.loss = event.metrics.get("loss", trial.loss)
            trial.curve.append(event.metrics.get(self.metric, math.nan))

    def _wait(self, event: TrialWaits) -> None:
        trial = None if event.worker is None else self.running.pop(event.worker, None)
        if trial is None:  # it had come so far in an earlier run
            what = (event.number, 0, event.values, 0, event.epochs, False, self.clock())
            trial = ShownTrial(*what, epoch=event.epoch + 1)
        self.waiting[event.number] = trial

    def _end_trial(self, event: TrialEnded) -> None:
        trial = self.waiting.pop(event.number, None)
        if event.worker is not None:
            trial = self.running.pop(event.worker, trial)
        if trial:
            mine = self._trained.setdefault(trial.structure, Trained())
            mine.ended += 1
            mine.epochs_of_ended += event.epochs
        was_stopped = event.number in self._stopped  # and has ended again before it could go on
        if event.state in UNRANKED_STATES:
            self.failures.append(event)
            self.num_failures += 1
        if event.state is TrialState.STOPPED:
            self.last_stopped = event
            self._stopped.add(event.number)
        self.ended += not was_stopped
        if event.state in RANKED_STATES and event.score is not None:
            self._compare(Best(event.number, event.score, event.values))

    def _compare(self, trial: Best) -> None:
        if math.isnan(trial.score):
            return
        self._leaders = sorted([*self._leaders, trial], key=self._order, reverse=True)
        del self._leaders[MAX_LEADERS:]
        if self._best_ended is None or self._order(trial) > self._order(self._best_ended):
            self._best_ended = trial

    def _order(self, trial: Best) -> tuple[float, int]:
        return self._objective.gain(trial.score), -trial.number


class DataLines:
    """Writes a line for every tenth of a data set that is downloaded or read."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last = ("", -1)

    def __call__(self, what: str, num_bytes: int, total_bytes: int) -> None:
        """So much is done."""
        tenth = (what, num_bytes * 10 // total_bytes if total_bytes else -1)
        if total_bytes and tenth != self._last:
            self._write(data_text(what, num_bytes, total_bytes))
        self._last = tenth


def data_text(what: str, num_bytes: int, total_bytes: int) -> str:
    """How far a data set is."""
    whole = f" of {format.bytes_text(total_bytes)}" if total_bytes else ""
    return f"{what}: {format.bytes_text(num_bytes)}{whole}"
