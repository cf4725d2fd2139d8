"""The scheduler: one loop that gives trials to workers and acts on what they report."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass, field, replace
from threading import Event as StopEvent

from tuner.errors import InputError, TunerError, is_about_memory
from tuner.execution.events import Notice, TrialCompiled, TrialProgress, WorkerLost, WorkerReady
from tuner.execution.pools import Pool
from tuner.execution.protocol import (
    Compiled,
    Epoch,
    Finished,
    GoOn,
    Lost,
    Predicted,
    Programs,
    Progress,
    Ready,
    Remark,
    Report,
    Resumed,
    Saved,
    SetupFailed,
    Spent,
    StopTrial,
    TrainTrial,
    Waiting,
    Watched,
)
from tuner.execution.queue import Assignment, LearningCurve, TrialQueue
from tuner.execution.recorder import Recorder, RunningTrial
from tuner.experiment.trial import Trial, TrialState
from tuner.ledger.profile import SEARCH, WAIT
from tuner.search.stopping import StoppingRule

WAIT_SECONDS = 0.2
THOUGHT_SECONDS = 0.01  # where a worker is free and the search is working out what comes next
GRACE_SECONDS = 8.0  # for a checkpoint that is being written
MAX_DEATHS = 2  # of a trial's workers, one after the other, without getting further in between
MAX_MACHINES = 10  # that may go, one after the other, under a trial that gets no further
ROOM_SECONDS = 1.0  # how often a pool is asked for room
SILENCE_SECONDS = 1800.0  # after which a worker counts as hung; compiling takes minutes
LOOK_SECONDS = 1.0  # between two looks at who is silent


@dataclass
class Slot:
    """A worker as the scheduler sees it."""

    ready: bool = False
    threads: int | None = None  # that compute; None: a GPU does
    running: RunningTrial | None = None
    programs: Programs[None] = field(default_factory=Programs)
    failed_starts: int = 0
    leaving: bool = False  # its process ends by its own decision
    heard_at: float = 0.0


class Scheduler:
    """Runs what the queue gives on the workers of a pool.

    `rule` ends trials early, but for those in `exempt` (by number). `on_ready` receives the data
    hashes and the device that a worker reports. A worker that says nothing for `silence_seconds`
    is killed and replaced. The clock is in seconds.
    """

    def __init__(
        self,
        queue: TrialQueue,
        pool: Pool,
        recorder: Recorder,
        *,
        on_ready: Callable[[Ready], None],
        rule: StoppingRule | None = None,
        exempt: Collection[int] = (),
        silence_seconds: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._pool = pool
        self._recorder = recorder
        self._on_ready = on_ready
        self._rule = rule
        self._exempt = frozenset(exempt)
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._slots: dict[int, Slot] = {}
        self._maybe_idle: set[int] = set()  # workers that were heard since they were given work
        self._next_look = -math.inf
        self._attempts: Counter[str] = Counter()
        self._deaths: Counter[str] = Counter()  # since a trial last got further than before
        self._machines: Counter[str] = Counter()  # that went since then
        self._furthest: Counter[str] = Counter()  # epoch
        self._numbers: dict[str, int] = {}  # of trials that were put back, or wait
        self._failed = False
        self._asked_at = -math.inf  # for room
        self._said: set[str] = set()  # by workers
        self._epochs_left = math.inf
        self._stopwatch = recorder.ledger.stopwatch

    def run(
        self,
        workers: int | None,
        stop: StopEvent,
        *,
        budget_seconds: float | None,
        budget_epochs: int | None = None,
        fail_fast: bool,
    ) -> str:
        """Until nothing is left to run, `stop` is set, or (fail-fast) a trial fails.

        Without a number of `workers` there are as many as the pool has room for, at any time.
        No trial starts once a budget is used up: seconds, or epochs of all trials together. Those
        that had begun before the run go on, though, when it is the epochs.

        Returns how it ended: `done`, `interrupted`, `budget` or `failed`.
        """
        if stop.is_set():
            return "interrupted"
        if self._is_out_of_work():
            self._note_position()
            return "done"
        deadline = math.inf if budget_seconds is None else self._clock() + budget_seconds
        self._epochs_left = math.inf if budget_epochs is None else budget_epochs
        if self._is_spent:
            self._note_position()
            return "budget"
        try:
            ending = self._work(workers, stop, deadline, fail_fast=fail_fast)
            self._drain()
        finally:
            self._pool.close()
            self._recorder.ledger.interrupted()
            self._recorder.keep_workers()
        # Not after an error: then some of what was given out may not be written down.
        self._note_position()
        return ending or ("done" if self._is_out_of_work() else "budget")

    def _work(
        self, workers: int | None, stop: StopEvent, deadline: float, *, fail_fast: bool
    ) -> str:
        """Until something ends it: `interrupted`, `failed`, or nothing that may start or runs."""
        self._grow(workers or self._pool.room() or 1)
        while self._assign(late=self._clock() >= deadline):
            self._hear(self._receive())
            self._kill_silent()
            if workers is None:
                self._fill_room()
            if fail_fast and self._failed:
                return "failed"
            if stop.is_set():
                return "interrupted"
        return ""

    def _grow(self, workers: int) -> None:
        """More workers; those that are there stay."""
        for worker in range(len(self._slots) + 1, workers + 1):
            self._slots[worker] = Slot(heard_at=self._clock())
            self._start_worker(worker)

    def _start_worker(self, worker: int) -> None:
        self._recorder.note_start(worker)
        self._pool.start(worker)

    def _fill_room(self) -> None:
        """What has come since is used at once."""
        if self._clock() - self._asked_at >= ROOM_SECONDS:
            self._asked_at = self._clock()
            self._grow(self._pool.room() or 0)

    def _note_position(self) -> None:
        position = self._queue.position
        if position is not None:
            self._recorder.ledger.advance(position)

    # ------------------------------------------------------------ giving work

    def _assign(self, late: bool) -> bool:
        """Give every idle worker a trial; False when nothing runs and nothing may start.

        Looks at nobody else: there may be a thousand.
        """
        with self._recorder.together():
            for worker in () if late else sorted(self._maybe_idle):
                slot = self._slots[worker]
                if slot.ready and not slot.running and not self._give(worker, slot):
                    break  # there is nothing for the others, either
                self._maybe_idle.discard(worker)
            self._end_dropped()
        return self._anything_runs() or not (late or self._is_spent or self._is_out_of_work())

    @property
    def _is_spent(self) -> bool:
        """Whether the epochs are used up, and nobody is left who had begun before."""
        return self._epochs_left <= 0 and not self._queue.has_begun

    def _give(self, worker: int, slot: Slot) -> bool:
        """Whether there was a trial to train."""
        # A single worker takes all in order, which then is the same after an interruption.
        held = slot.programs if len(self._slots) > 1 else ()
        while not slot.running and (assignment := self._next(held)):
            self._start(worker, slot, assignment)
        return slot.running is not None

    def _next(self, held: Container[str]) -> Assignment | None:
        """A stopped trial that is among the best after all comes before any new one."""
        if self._epochs_left <= 0:
            return self._queue.next_begun()
        while (number := self._next_up()) is not None:
            assert self._rule is not None
            self._rule.take_up(number)
            row = self._recorder.ledger.row(number)
            if row is not None and (assignment := self._queue.take_up(row)):
                self._recorder.ledger.requeue(number)
                self._numbers[row.key], self._attempts[row.key] = number, row.attempt
                return assignment
        with self._stopwatch.phase(SEARCH):
            return self._queue.next(held)

    def _next_up(self) -> int | None:
        """The trial that a rule wants to go on after all."""
        if self._rule is None or self._queue.has_enough:
            return None
        return self._rule.next_up()

    def _is_out_of_work(self) -> bool:
        """Nothing to give out; what the search let go on the way to that is written down."""
        with self._stopwatch.phase(SEARCH):
            is_empty = self._queue.is_empty()
        self._end_dropped()
        return is_empty and self._next_up() is None

    def _anything_runs(self) -> bool:
        return any(slot.running for slot in self._slots.values())

    def _start(self, worker: int, slot: Slot, assignment: Assignment) -> None:
        trial = assignment.trial
        running = self._resumed(assignment)
        if reason := self._stops(running):  # said before, but not written down any more
            self._end(None, running, TrialState.STOPPED, reason)
            return
        if running.diverged or running.epochs >= running.until:
            self._arrived(None, running)  # only its end was not written down any more
            return
        structure = trial.structure.key
        slot.running = running
        is_first = structure not in slot.programs
        self._recorder.start(worker, running, first_of_structure=is_first, threads=slot.threads)
        slot.programs.use(structure, lambda: None)
        slot.heard_at = self._clock()
        may_end = self._may_end(running)
        self._pool.send(
            worker,
            TrainTrial(
                number=running.number,
                key=trial.key,
                attempt=running.attempt,
                model=trial.configuration.model,
                training=trial.configuration.training,
                switches=trial.configuration.switches,
                precision=trial.precision,
                seed=trial.seed,
                structure=structure,
                until=running.until,
                augment=tuple(trial.data.augment),
                checkpoints=tuple(self._recorder.ledger.checkpoints(running.number)),
                rungs=self._rule.rungs(running.until) if self._rule and may_end else (),
                may_end=may_end and not (self._rule and self._rule.has_rungs),
                macs=self._recorder.macs(trial),
                objective=running.objective,
            ),
        )

    def _resumed(self, assignment: Assignment) -> RunningTrial:
        trial = assignment.trial
        known = self._numbers.get(trial.key) or self._queue.number(trial)
        number = self._recorder.number(trial, known, self._queue.position)
        self._attempts[trial.key] += 1
        running = self._recorder.resume_state(number, assignment, self._attempts[trial.key])
        self._furthest[trial.key] = max(self._furthest[trial.key], running.epochs)
        return running

    def _end_dropped(self) -> None:
        """Trials that the search lets go wherever they stand."""
        for trial, reason in self._queue.dropped_trials():
            running = self._resumed(Assignment(trial))
            self._end(None, running, TrialState.STOPPED, reason, is_news=False)

    # ------------------------------------------------------------ hearing of it

    def _receive(self) -> list[tuple[int, Report]]:
        seconds = THOUGHT_SECONDS if self._queue.is_thinking else WAIT_SECONDS
        with self._stopwatch.phase(WAIT):
            return self._pool.receive(seconds)

    def _hear(self, reports: Sequence[tuple[int, Report]]) -> None:
        """What has arrived together is one commit, as each has to wait for the disk."""
        with self._recorder.together():
            for worker, report in reports:
                self._handle(worker, report)

    def _handle(self, worker: int, report: Report) -> None:
        slot = self._slots[worker]
        running = slot.running
        slot.heard_at = self._clock()
        self._maybe_idle.add(worker)
        if isinstance(report, Ready):
            self._ready(worker, slot, report)
        elif isinstance(report, SetupFailed):
            raise InputError(report.problems) if report.problems else TunerError(report.reason)
        elif isinstance(report, Lost):
            self._lost(worker, slot, report)
        elif isinstance(report, Waiting):
            self._say(report.notice)
        elif isinstance(report, Remark):
            self._say(report.text if report.text not in self._said else "")
            self._said.add(report.text)
        elif isinstance(report, Spent):
            self._recorder.note_spent(worker, report)
        elif isinstance(report, Saved):
            is_of_it = running is not None and report.number == running.number
            self._recorder.keep(report, running if is_of_it else None)
        elif running is None or _is_of_another(report, running):
            self._too_late(slot, report)
        elif isinstance(report, Compiled):
            running.compile_seconds = report.seconds
            self._recorder.tell(TrialCompiled(running.number, worker, report.seconds))
        elif isinstance(report, Resumed):
            slot.running = self._recorder.resume(running, report)
        elif isinstance(report, Progress):
            self._progress(worker, running, report)
        elif isinstance(report, Watched):
            self._recorder.watch(report)
        elif isinstance(report, Predicted):
            self._recorder.predict(report)
        elif isinstance(report, Epoch):
            self._epoch(worker, slot, running, report)
        else:
            slot.running = None
            self._leave_if_so(slot, report)
            self._finished(worker, running, report)

    def _ready(self, worker: int, slot: Slot, report: Ready) -> None:
        slot.ready, slot.failed_starts, slot.threads = True, 0, report.threads
        self._on_ready(report)
        node, threads = report.node, report.threads
        self._recorder.tell(WorkerReady(worker, report.device, report.seconds, node, threads))

    def _say(self, notice: str) -> None:
        if notice:
            self._recorder.tell(Notice(notice))

    def _too_late(self, slot: Slot, report: Report) -> None:
        """Of a trial that was stopped before its worker knew."""
        if isinstance(report, Epoch) and report.checkpoint is not None:
            self._recorder.remove([report.checkpoint.file])
        if isinstance(report, Finished):
            self._leave_if_so(slot, report)

    def _leave_if_so(self, slot: Slot, report: Finished) -> None:
        if report.leaves:
            slot.leaving, slot.ready = True, False

    def _progress(self, worker: int, running: RunningTrial, report: Progress) -> None:
        self._recorder.tell(
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

    def _epoch(self, worker: int, slot: Slot, running: RunningTrial, report: Epoch) -> None:
        self._recorder.epoch(worker, running, report)
        key = running.trial.key
        # What is done again, after a worker died or a checkpoint was damaged, is known already.
        is_new = report.epoch > self._furthest[key]
        if is_new:
            self._epochs_left -= 1
            self._furthest[key], self._deaths[key], self._machines[key] = report.epoch, 0, 0
        if running.diverged:
            return
        if is_new and self._rule is not None:
            self._rule.note(running.number, report.epoch, running.metrics)
        if is_new and (reason := self._stops(running)):
            slot.running = None
            self._pool.send(worker, StopTrial(running.number, running.attempt))
            self._end(worker, running, TrialState.STOPPED, reason)
        elif report.waits:
            self._pool.send(worker, GoOn(running.number, running.attempt, report.epoch))

    def _stops(self, running: RunningTrial) -> str:
        """Why the rule ends the trial where it stands; empty if it goes on."""
        if not self._may_end(running) or not 0 < running.epochs < running.epochs_planned:
            return ""
        assert self._rule is not None
        return self._rule.verdict(running.number, running.epochs)

    def _may_end(self, running: RunningTrial) -> bool:
        """Whether a rule may end the trial early."""
        return self._rule is not None and running.number not in self._exempt

    def _finished(self, worker: int, running: RunningTrial, report: Finished) -> None:
        if report.reason:
            reason = report.reason
            if report.out_of_memory:
                reason = self._recorder.out_of_memory(running.trial, reason)
            self._end(worker, running, TrialState.FAILED, reason)
        else:
            self._arrived(worker, running)

    def _arrived(self, worker: int | None, running: RunningTrial) -> None:
        """What follows from the trial's epochs."""
        if running.diverged:
            self._end(worker, running, TrialState.DIVERGED, running.diverged)
        elif running.epochs >= running.epochs_planned:
            self._end(worker, running, TrialState.COMPLETED)
        elif running.epochs >= running.until:
            self._wait(worker, running)
        # else given up because the run ends: it stays RUNNING, and is requeued after the loop

    def _wait(self, worker: int | None, running: RunningTrial) -> None:
        """The trial has come to a rung."""
        self._recorder.wait(worker, running)
        self._numbers[running.trial.key] = running.number
        curve = LearningCurve(running.score, tuple(running.curve), has_ended=False)
        self._tell_search(running.trial, curve)

    def _tell_search(self, trial: Trial, curve: LearningCurve) -> None:
        with self._stopwatch.phase(SEARCH):
            self._queue.tell(trial, curve)
        self._end_dropped()

    def _end(
        self,
        worker: int | None,
        running: RunningTrial,
        state: TrialState,
        reason: str = "",
        *,
        is_news: bool = True,
    ) -> None:
        """The trial's end; `is_news` if the search does not know it."""
        self._recorder.end(worker, running, state, reason)
        self._failed |= state in (TrialState.FAILED, TrialState.DIVERGED)
        self._forget(running.trial)
        if self._rule is not None and state is TrialState.STOPPED:
            self._rule.stop(running.number, reason)
        elif self._rule is not None:
            self._rule.end(running.number)
        if is_news:
            score = running.score if state in (TrialState.COMPLETED, TrialState.STOPPED) else None
            self._tell_search(running.trial, LearningCurve(score, tuple(running.curve)))

    def _forget(self, trial: Trial) -> None:
        """A search may have many trials."""
        for known in (
            self._attempts,
            self._deaths,
            self._machines,
            self._furthest,
            self._numbers,
        ):
            known.pop(trial.key, None)

    # ------------------------------------------------------------ workers that are lost

    def _lost(self, worker: int, slot: Slot, report: Lost) -> None:
        running = slot.running
        is_own_fault = not slot.leaving and not report.machine_went
        failed_starts = slot.failed_starts + (not slot.ready and is_own_fault)
        if failed_starts >= MAX_DEATHS:
            raise TunerError(f"worker {worker} cannot start: {report.reason}")
        self._slots[worker] = Slot(failed_starts=failed_starts, heard_at=self._clock())
        if not slot.leaving:
            number = running.number if running else None
            self._recorder.tell(WorkerLost(worker, number, report.reason))
            detail = {"worker": worker, "reason": report.reason}
            self._recorder.ledger.event("worker lost", detail)
        if running:
            key = running.trial.key
            self._deaths[key] += is_own_fault  # a worker that leaves had not begun this one
            self._machines[key] += report.machine_went
            self._recorder.clear_away(running.number)
            self._put_back(worker, running, report.reason)
        self._start_worker(worker)

    def _put_back(self, worker: int, running: RunningTrial, reason: str) -> None:
        """A trial whose worker died goes on elsewhere, unless it kills one after the other."""
        deaths, machines = self._deaths[running.trial.key], self._machines[running.trial.key]
        if deaths >= MAX_DEATHS or machines >= MAX_MACHINES:
            is_killer = deaths >= MAX_DEATHS
            who = f"its worker died {deaths}" if is_killer else f"its machine went {machines}"
            reason = f"{who} times without getting further: {reason}"
            if is_about_memory(reason):
                reason += self._recorder.memory_advice(running.trial)
            self._end(worker, running, TrialState.FAILED, reason)
            return
        self._recorder.ledger.requeue(running.number)
        self._numbers[running.trial.key] = running.number
        self._queue.put_back(replace(running.assignment, up_again=False))

    def _kill_silent(self) -> None:
        """A worker that has said nothing for too long is as good as dead."""
        limit, now = self._silence_seconds, self._clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        for worker, slot in self._slots.items():
            busy = slot.running or not slot.ready
            if busy and now - slot.heard_at > limit:
                self._pool.kill(worker, f"no message for {limit:.0f} s")
                slot.heard_at = now

    def _drain(self) -> None:
        """Let workers save what they have finished; nothing that has arrived is lost."""
        deadline = self._clock() + GRACE_SECONDS
        while self._pool.dismiss() and self._clock() < deadline:
            reports = self._receive()
            kept = Resumed | Watched | Predicted | Epoch | Saved | Spent | Finished
            self._hear([(n, report) for n, report in reports if isinstance(report, kept)])


def _is_of_another(report: Report, running: RunningTrial) -> bool:
    """Of another trial, or of an attempt at this one that was stopped."""
    if isinstance(report, Finished) and report.attempt not in (None, running.attempt):
        return True
    return getattr(report, "number", None) != running.number
