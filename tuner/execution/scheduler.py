"""The scheduler: one loop that gives trials to workers and writes what they report down."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as StopEvent

from tuner.errors import InputError, TunerError
from tuner.execution.messages import (
    MAX_PROGRAMS,
    Compiled,
    Epoch,
    EpochEnded,
    Finished,
    Listener,
    Lost,
    Progress,
    Ready,
    Report,
    SetupFailed,
    TrainTrial,
    TrialCompiled,
    TrialEnded,
    TrialProgress,
    TrialStarted,
    WorkerLost,
    WorkerReady,
    not_finite,
)
from tuner.execution.pool import Pool
from tuner.execution.queue import TrialQueue
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Trial, TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost

WAIT_SECONDS = 0.2
GRACE_SECONDS = 3.0
MAX_ATTEMPTS = 2  # a trial whose worker dies starts again once


@dataclass
class _Running:
    """A trial on a worker, and what has been learnt of it."""

    number: int
    trial: Trial
    attempt: int
    epochs: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    best_epoch: int | None = None
    diverged: str = ""

    @property
    def epochs_planned(self) -> int:
        return int(self.trial.configuration.training["epochs"])


@dataclass
class _Slot:
    """A worker as the scheduler sees it."""

    ready: bool = False
    running: _Running | None = None
    structures: list[str] = field(default_factory=list)  # of the programs it keeps, oldest first
    failed_starts: int = 0

    def use(self, structure: str) -> None:
        """As the worker does with its programs."""
        others = [held for held in self.structures if held != structure]
        self.structures = [*others, structure][-MAX_PROGRAMS:]


class Scheduler:
    """Runs what the queue gives on the workers of a pool; the only writer of the ledger.

    `cost` gives parameters and multiply-adds of a trial; `on_ready` receives the data hashes and
    the device that the first worker reports. The clock is in seconds.
    """

    def __init__(
        self,
        experiment: Experiment,
        queue: TrialQueue,
        pool: Pool,
        ledger: Ledger,
        *,
        csv: TrialsCsv,
        cost: Callable[[Trial], Cost | None],
        listener: Listener,
        on_ready: Callable[[Ready], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._experiment = experiment
        self._queue = queue
        self._pool = pool
        self._ledger = ledger
        self._csv = csv
        self._cost = cost
        self._tell = listener
        self._on_ready = on_ready
        self._clock = clock
        self._slots: dict[int, _Slot] = {}
        self._attempts: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}  # of trials that were put back
        self._failed = False

    def run(
        self, workers: int, stop: StopEvent, *, budget_seconds: float | None, fail_fast: bool
    ) -> str:
        """Until nothing is left to run, `stop` is set, or (fail-fast) a trial fails.

        Returns how it ended: `done`, `interrupted`, `budget` or `failed`.
        """
        if stop.is_set():
            return "interrupted"
        deadline = math.inf if budget_seconds is None else self._clock() + budget_seconds
        for worker in range(1, workers + 1):
            self._slots[worker] = _Slot()
            self._pool.start(worker)
        grace = GRACE_SECONDS
        try:
            while self._assign(late=self._clock() >= deadline):
                for worker, report in self._pool.receive(WAIT_SECONDS):
                    self._handle(worker, report)
                if stop.is_set() or (fail_fast and self._failed):
                    self._drain()
                    return "failed" if self._failed and fail_fast else "interrupted"
        except KeyboardInterrupt:
            grace = 0.0  # asked for a second time: at once
            raise
        finally:
            self._pool.close(grace)
            self._ledger.interrupted()
        return "done" if self._queue.is_empty() else "budget"

    # ------------------------------------------------------------ giving work

    def _assign(self, late: bool) -> bool:
        """Give every idle worker a trial; False when nothing runs and nothing may start."""
        for worker, slot in self._slots.items():
            if late or not slot.ready or slot.running:
                continue
            trial = self._queue.next(slot.structures)
            if trial is not None:
                self._start(worker, slot, trial)
        return self._anything_runs() or not (late or self._queue.is_empty())

    def _anything_runs(self) -> bool:
        return any(slot.running for slot in self._slots.values())

    def _start(self, worker: int, slot: _Slot, trial: Trial) -> None:
        structure = trial.structure.key
        number = self._number(trial)
        self._attempts[trial.key] += 1
        attempt = self._attempts[trial.key]
        self._ledger.start(number, worker, attempt)
        slot.running = _Running(number, trial, attempt)
        self._tell(
            TrialStarted(
                number=number,
                worker=worker,
                values=trial.configuration.values,
                replicate=trial.replicate,
                epochs=slot.running.epochs_planned,
                structure=structure,
                first_of_structure=structure not in slot.structures,
            )
        )
        slot.use(structure)
        self._pool.send(
            worker,
            TrainTrial(
                number=number,
                model=trial.configuration.model,
                training=trial.configuration.training,
                switches=trial.configuration.switches,
                precision=trial.precision,
                seed=trial.seed,
                structure=structure,
            ),
        )

    def _number(self, trial: Trial) -> int:
        """The number of a trial in the ledger, which is made where there is none."""
        number = self._numbers.get(trial.key) or self._queue.number(trial)
        if number:
            return number
        cost = self._cost(trial)
        new = NewTrial(
            key=trial.key,
            configuration=trial.configuration.flat(),
            values=trial.configuration.values,
            replicate=trial.replicate,
            seed=trial.seed,
            structure=trial.structure.key,
            parameters=cost.parameters if cost else None,
            macs=cost.macs if cost else None,
        )
        return self._ledger.add([new])[0]

    # ------------------------------------------------------------ hearing of it

    def _handle(self, worker: int, report: Report) -> None:
        slot = self._slots[worker]
        running = slot.running
        if isinstance(report, Ready):
            self._ready(worker, slot, report)
        elif isinstance(report, SetupFailed):
            raise InputError(report.problems) if report.problems else TunerError(report.reason)
        elif isinstance(report, Lost):
            self._lost(worker, slot, report)
        elif running is None or report.number != running.number:
            return
        elif isinstance(report, Compiled):
            self._tell(TrialCompiled(running.number, worker, report.seconds))
        elif isinstance(report, Progress):
            self._progress(worker, running, report)
        elif isinstance(report, Epoch):
            self._epoch(worker, running, report)
        else:
            slot.running = None
            self._finished(worker, running, report)

    def _ready(self, worker: int, slot: _Slot, report: Ready) -> None:
        slot.ready, slot.failed_starts = True, 0
        self._on_ready(report)
        self._tell(WorkerReady(worker, report.device, report.seconds))

    def _progress(self, worker: int, running: _Running, report: Progress) -> None:
        self._tell(
            TrialProgress(
                number=running.number,
                worker=worker,
                epoch=report.epoch,
                epochs=running.epochs_planned,
                step=report.step,
                steps=report.steps,
                loss=report.loss,
            )
        )

    def _epoch(self, worker: int, running: _Running, report: Epoch) -> None:
        metrics = dict(report.metrics)
        self._ledger.record_epoch(running.number, report.epoch, metrics, report.seconds)
        running.epochs, running.metrics = report.epoch, metrics
        if bad := not_finite(metrics):
            running.diverged = f"{bad} is {metrics[bad]} in epoch {report.epoch}"
        else:
            self._note_score(running)
        self._tell(
            EpochEnded(
                number=running.number,
                worker=worker,
                epoch=report.epoch,
                epochs=running.epochs_planned,
                metrics=metrics,
                seconds=report.seconds,
            )
        )

    def _note_score(self, running: _Running) -> None:
        objective = self._experiment.objective
        value = running.metrics[objective.metric]
        sign = 1.0 if objective.direction == "max" else -1.0
        if running.score is None or sign * value > sign * running.score:
            running.score, running.best_epoch = value, running.epochs

    def _finished(self, worker: int, running: _Running, report: Finished) -> None:
        if report.reason:
            state, reason = TrialState.FAILED, report.reason
        elif running.diverged:
            state, reason = TrialState.DIVERGED, running.diverged
        elif running.epochs < running.epochs_planned:
            return  # given up because the run ends: it stays RUNNING, and is requeued below
        else:
            state, reason = TrialState.COMPLETED, ""
        self._end(worker, running, state, reason, report)

    def _end(
        self,
        worker: int,
        running: _Running,
        state: TrialState,
        reason: str,
        report: Finished | None = None,
    ) -> None:
        score = running.score if state is TrialState.COMPLETED else None
        outcome = Outcome(
            state=state,
            score=score,
            best_epoch=running.best_epoch,
            metrics=running.metrics,
            train_seconds=report.train_seconds if report else None,
            compile_seconds=report.compile_seconds if report else None,
            reason=reason,
        )
        self._ledger.finish(running.number, outcome)
        self._queue.tell(running.trial, score, running.epochs)
        self._failed |= state is not TrialState.COMPLETED
        self._csv.refresh()
        self._tell(
            TrialEnded(
                number=running.number,
                worker=worker,
                state=state,
                score=score,
                reason=reason,
                values=running.trial.configuration.values,
                epochs=running.epochs,
            )
        )

    def _lost(self, worker: int, slot: _Slot, report: Lost) -> None:
        running = slot.running
        failed_starts = slot.failed_starts + (not slot.ready)
        if failed_starts >= MAX_ATTEMPTS:
            raise TunerError(f"worker {worker} cannot start: {report.reason}")
        self._slots[worker] = _Slot(failed_starts=failed_starts)
        self._tell(WorkerLost(worker, running.number if running else None, report.reason))
        self._ledger.event("worker lost", {"worker": worker, "reason": report.reason})
        if running and running.attempt >= MAX_ATTEMPTS:
            reason = f"its worker died {running.attempt} times: {report.reason}"
            self._end(worker, running, TrialState.FAILED, reason)
        elif running:
            self._ledger.requeue(running.number)
            self._numbers[running.trial.key] = running.number
            self._queue.put_back(running.trial)
        self._pool.start(worker)

    def _drain(self) -> None:
        """What has arrived already is not lost."""
        while reports := self._pool.receive(0):
            for worker, report in reports:
                if isinstance(report, Epoch | Finished):
                    self._handle(worker, report)
