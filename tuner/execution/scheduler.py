"""The scheduler: one loop that gives trials to workers and writes what they report down."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
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
    Notice,
    Progress,
    Ready,
    Report,
    Resumed,
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
from tuner.experiment.schema import Objective
from tuner.experiment.trial import Trial, TrialState
from tuner.ledger import checkpoint
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost

WAIT_SECONDS = 0.2
GRACE_SECONDS = 8.0  # for a checkpoint that is being written
MAX_DEATHS = 2  # of a trial's workers, one after the other, without an epoch in between
SILENCE_SECONDS = 1800.0  # after which a worker counts as hung; compiling takes minutes
KEPT_BEST = 5  # finished trials whose best state is kept: to load, to export, to average


@dataclass
class _Running:
    """A trial on a worker, and what has been learnt of it."""

    number: int
    trial: Trial
    attempt: int
    objective: Objective
    epochs: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    score: float | None = None
    best_epoch: int | None = None
    diverged: str = ""

    @property
    def epochs_planned(self) -> int:
        return int(self.trial.configuration.training["epochs"])

    def note(self, epoch: int, metrics: Mapping[str, float], seconds: float) -> None:
        """One epoch more; the best one counts, the earliest in a tie."""
        self.epochs, self.metrics, self.seconds = epoch, dict(metrics), self.seconds + seconds
        if bad := not_finite(metrics):
            self.diverged = f"{bad} is {metrics[bad]} in epoch {epoch}"
            return
        value = metrics[self.objective.metric]
        sign = 1.0 if self.objective.direction == "max" else -1.0
        if self.score is None or sign * value > sign * self.score:
            self.score, self.best_epoch = value, epoch


@dataclass
class _Slot:
    """A worker as the scheduler sees it."""

    ready: bool = False
    running: _Running | None = None
    structures: list[str] = field(default_factory=list)  # of the programs it keeps, oldest first
    failed_starts: int = 0
    leaving: bool = False  # its process ends by its own decision
    heard_at: float = 0.0

    def use(self, structure: str) -> None:
        """As the worker does with its programs."""
        others = [held for held in self.structures if held != structure]
        self.structures = [*others, structure][-MAX_PROGRAMS:]


class Scheduler:
    """Runs what the queue gives on the workers of a pool; the only writer of the ledger.

    `cost` gives parameters and multiply-adds of a trial; `on_ready` receives the data hashes and
    the device that a worker reports; `checkpoints` is their folder. A worker that says nothing for
    `silence_seconds` is killed and replaced. The clock is in seconds.
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
        checkpoints: Path,
        silence_seconds: float = SILENCE_SECONDS,
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
        self._checkpoints = checkpoints
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._slots: dict[int, _Slot] = {}
        self._attempts: Counter[str] = Counter()
        self._deaths: Counter[str] = Counter()  # since a trial last got further than before
        self._furthest: Counter[str] = Counter()  # epoch
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
            self._slots[worker] = _Slot(heard_at=self._clock())
            self._pool.start(worker)
        try:
            while self._assign(late=self._clock() >= deadline):
                for worker, report in self._pool.receive(WAIT_SECONDS):
                    self._handle(worker, report)
                self._kill_silent()
                if stop.is_set() or (fail_fast and self._failed):
                    self._drain()
                    return "failed" if self._failed and fail_fast else "interrupted"
            self._drain()
        finally:
            self._pool.close()
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
        slot.running = self._taken_up(number, trial, attempt)
        self._tell(
            TrialStarted(
                number=number,
                worker=worker,
                values=trial.configuration.values,
                replicate=trial.replicate,
                epochs=slot.running.epochs_planned,
                structure=structure,
                first_of_structure=structure not in slot.structures,
                epochs_done=slot.running.epochs,
            )
        )
        slot.use(structure)
        slot.heard_at = self._clock()
        self._pool.send(
            worker,
            TrainTrial(
                number=number,
                key=trial.key,
                attempt=attempt,
                model=trial.configuration.model,
                training=trial.configuration.training,
                switches=trial.configuration.switches,
                precision=trial.precision,
                seed=trial.seed,
                structure=structure,
                checkpoints=tuple(self._ledger.checkpoints(number)),
            ),
        )

    def _taken_up(self, number: int, trial: Trial, attempt: int) -> _Running:
        """The trial with the epochs that it has."""
        running = _Running(number, trial, attempt, self._experiment.objective)
        for row in self._ledger.epochs(number):
            running.note(row.epoch, row.metrics, row.seconds)
        return running

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
        slot.heard_at = self._clock()
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
        elif isinstance(report, Resumed):
            self._resumed(slot, running, report)
        elif isinstance(report, Progress):
            self._progress(worker, running, report)
        elif isinstance(report, Epoch):
            self._epoch(worker, running, report)
        else:
            slot.running, slot.leaving = None, report.leaves
            slot.ready = not report.leaves
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

    def _resumed(self, slot: _Slot, running: _Running, report: Resumed) -> None:
        """Where a trial really goes on, if a checkpoint could not be read."""
        for what in report.damaged:
            self._ledger.event("checkpoint damaged", {"trial": running.number, "what": what})
            self._tell(Notice(f"trial {running.number} goes on from epoch {report.epoch}: {what}"))
        if report.epoch != running.epochs:
            self._ledger.go_back(running.number, report.epoch)
            slot.running = self._taken_up(running.number, running.trial, running.attempt)

    def _epoch(self, worker: int, running: _Running, report: Epoch) -> None:
        metrics = dict(report.metrics)
        running.note(report.epoch, metrics, report.seconds)
        key = running.trial.key
        if report.epoch > self._furthest[key]:
            self._furthest[key], self._deaths[key] = report.epoch, 0
        superseded = self._ledger.record_epoch(
            running.number,
            report.epoch,
            metrics,
            report.seconds,
            checkpoint=report.checkpoint,
            kept=[running.best_epoch] if running.best_epoch else [],
        )
        self._remove(superseded)
        if report.not_saved:
            self._tell(Notice(f"no checkpoint of trial {running.number}: {report.not_saved}"))
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

    def _finished(self, worker: int, running: _Running, report: Finished) -> None:
        if report.reason:
            state, reason = TrialState.FAILED, self._explained(running, report)
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
            train_seconds=running.seconds if running.epochs else None,
            compile_seconds=report.compile_seconds if report else None,
            reason=reason,
        )
        self._ledger.finish(running.number, outcome)
        self._remove(self._ledger.forget_spare_checkpoints(running.number, KEPT_BEST))
        self._queue.tell(running.trial, score, running.epochs)
        self._failed |= state is not TrialState.COMPLETED
        with suppress(OSError):  # the table follows from the ledger, and the end writes it again
            self._csv.refresh()
        for counter in (self._attempts, self._deaths, self._furthest, self._numbers):
            counter.pop(running.trial.key, None)  # a search may have many trials
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

    def _explained(self, running: _Running, report: Finished) -> str:
        """The reason of a failure, with what to try where memory ran out."""
        if not report.out_of_memory:
            return report.reason
        batch_size = running.trial.configuration.training["batch_size"]
        cost = self._cost(running.trial)
        reason = f"out of memory with batch_size {batch_size}: {report.reason}"
        # Activations grow with the batch; weights, gradients and optimizer slots do not.
        if cost and batch_size != 1 and (batch_size == "full" or _fits_smaller(cost, batch_size)):
            reason += " (a smaller batch_size may fit)"
        return reason

    def _lost(self, worker: int, slot: _Slot, report: Lost) -> None:
        running = slot.running
        failed_starts = slot.failed_starts + (not slot.ready and not slot.leaving)
        if failed_starts >= MAX_DEATHS:
            raise TunerError(f"worker {worker} cannot start: {report.reason}")
        self._slots[worker] = _Slot(failed_starts=failed_starts, heard_at=self._clock())
        if not slot.leaving:
            self._tell(WorkerLost(worker, running.number if running else None, report.reason))
            self._ledger.event("worker lost", {"worker": worker, "reason": report.reason})
        if running:
            self._deaths[running.trial.key] += 1
            self._clear_away(running.number)
            self._put_back(worker, running, report.reason)
        self._pool.start(worker)

    def _clear_away(self, number: int) -> None:
        """What a trial's dead worker was writing, or had written and not reported."""
        named = {row.file for row in self._ledger.checkpoints(number)}
        found = checkpoint.rubbish(self._checkpoints, named)
        self._remove([name for name in found if name.lstrip(".").startswith(f"{number}-")])

    def _put_back(self, worker: int, running: _Running, reason: str) -> None:
        """A trial whose worker died goes on elsewhere, unless it kills one after the other."""
        deaths = self._deaths[running.trial.key]
        if deaths >= MAX_DEATHS:
            reason = f"its worker died {deaths} times in the same epoch: {reason}"
            self._end(worker, running, TrialState.FAILED, reason)
            return
        self._ledger.requeue(running.number)
        self._numbers[running.trial.key] = running.number
        self._queue.put_back(running.trial)

    def _kill_silent(self) -> None:
        """A worker that has said nothing for too long is as good as dead."""
        limit = self._silence_seconds
        for worker, slot in self._slots.items():
            busy = slot.running or not slot.ready
            if busy and self._clock() - slot.heard_at > limit:
                self._pool.kill(worker, f"no message for {limit:.0f} s")
                slot.heard_at = self._clock()

    def _remove(self, files: Collection[str]) -> None:
        checkpoint.remove(self._checkpoints, files)

    def _drain(self) -> None:
        """Let workers save what they have finished; nothing that has arrived is lost."""
        deadline = self._clock() + GRACE_SECONDS
        while self._pool.dismiss() and self._clock() < deadline:
            for worker, report in self._pool.receive(WAIT_SECONDS):
                if isinstance(report, Resumed | Epoch | Finished):
                    self._handle(worker, report)


def _fits_smaller(cost: Cost, batch_size: int) -> bool:
    """Whether a batch's activations are the larger part of what a step needs."""
    return cost.activations * batch_size > cost.parameters * 4
