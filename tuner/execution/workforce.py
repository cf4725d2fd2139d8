"""The workers of a run, kept up by its events: where each is, what it does, how well it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tuner.execution.events import (
    EpochEnded,
    Event,
    TrialCompiled,
    TrialEnded,
    TrialStarted,
    TrialWaits,
    WorkerLost,
    WorkerReady,
)
from tuner.experiment.trial import TrialState
from tuner.ledger.workers import WorkerRecord


@dataclass
class _Member:
    node: str
    device: str
    ready_at: float
    is_ready: bool = True
    trial: int | None = None
    epoch: int = 0
    epochs: int = 0
    since: float = 0.0  # when it began what it does now
    busy_seconds: float = 0.0  # of what is done: epochs, programs
    trials: int = 0
    losses: int = 0


class Workforce:
    """Feed it every event of a run, in order. The clock is in seconds.

    Busy is what workers report of epochs and of compiling, and what they do since their last
    report; what lies in between (a trial on its way, a checkpoint that is read) counts as idle.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._members: dict[int, _Member] = {}

    def take(self, event: Event) -> None:
        """Takes an event into account."""
        match event:
            case WorkerReady():
                self._start(event)
            case TrialStarted():
                member = self._member(event.worker)
                member.trial, member.since = event.number, self._clock()
                member.epoch, member.epochs = event.epochs_done + 1, event.epochs
                member.trials += 1
            case TrialCompiled() | EpochEnded():
                member = self._member(event.worker)
                member.busy_seconds += event.seconds
                member.since = self._clock()
                if isinstance(event, EpochEnded):
                    member.epoch = min(event.epoch + 1, event.epochs)
            case TrialEnded() | TrialWaits():
                self._end(event)
            case WorkerLost():
                member = self._member(event.worker)
                member.is_ready, member.trial = False, None
                member.losses += 1

    def records(self) -> list[WorkerRecord]:
        """Every worker as of now."""
        return [self._record(number) for number in sorted(self._members)]

    def is_many(self) -> bool:
        """Whether it matters which worker does something."""
        return len(self._members) > 1

    def node(self, worker: int) -> str:
        """Where a worker is; empty for this machine."""
        return self._members[worker].node if worker in self._members else ""

    def _member(self, worker: int) -> _Member:
        return self._members.setdefault(worker, _Member("", "", self._clock()))

    def _start(self, event: WorkerReady) -> None:
        before = self._members.get(event.worker)
        member = _Member(event.node, event.device, self._clock())
        if before is not None:
            member.trials, member.losses = before.trials, before.losses
        self._members[event.worker] = member

    def _end(self, event: TrialEnded | TrialWaits) -> None:
        if event.worker is None:
            return
        member = self._member(event.worker)
        if isinstance(event, TrialEnded) and event.state is TrialState.FAILED:
            member.busy_seconds += self._clock() - member.since  # nobody reports an epoch's half
        member.trial = None

    def _record(self, number: int) -> WorkerRecord:
        member, now = self._members[number], self._clock()
        ready = now - member.ready_at if member.is_ready else 0.0
        busy = member.busy_seconds + (now - member.since if member.trial is not None else 0.0)
        return WorkerRecord(
            worker=number,
            node=member.node,
            device=member.device,
            is_ready=member.is_ready,
            trial=member.trial,
            epoch=0 if member.trial is None else member.epoch,
            epochs=0 if member.trial is None else member.epochs,
            ready_seconds=ready,
            busy_seconds=min(busy, ready),
            trials=member.trials,
            losses=member.losses,
        )
