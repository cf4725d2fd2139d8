"""What `--profile` knows of the workers of a run, from what they report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tuner.execution.protocol import Spent
from tuner.ledger.profile import OTHER, START, RunProfile, Stopwatch, WorkerProfile
from tuner.ledger.workers import WorkerRecord


@dataclass
class _Account:
    """A worker by number, over all processes that it has had one after the other.

    `start_seconds` of the present process passed before it began to count by itself; `before` are
    the processes that are gone.
    """

    begun_at: float
    heard_at: float
    start_seconds: float | None = None
    spent: Spent = field(default_factory=lambda: Spent({}))
    before: Spent = field(default_factory=lambda: Spent({}))

    def note(self, spent: Spent, now: float) -> None:
        """What the present process has spent so far."""
        self.spent, self.heard_at = spent, now
        if self.start_seconds is None:
            self.start_seconds = max(0.0, now - self.begun_at - sum(spent.seconds.values()))

    def restart(self, now: float) -> None:
        """The present process is lost, and with it what it had not reported."""
        self.heard_at = now
        self.before, self.spent = self.total(), Spent({})
        self.begun_at, self.start_seconds = now, None

    def total(self) -> Spent:
        """Of all processes, up to what was heard last."""
        whole = self.heard_at - self.begun_at
        start = whole if self.start_seconds is None else self.start_seconds
        other = max(0.0, whole - start - sum(self.spent.seconds.values()))
        seconds = defaultdict(float, self.before.seconds)
        for name, more in (*self.spent.seconds.items(), (START, start), (OTHER, other)):
            seconds[name] += more
        return Spent(
            dict(seconds),
            self.before.programs + self.spent.programs,
            self.before.training_flop + self.spent.training_flop,
            self.spent.matrix_flops or self.before.matrix_flops,
        )


class Profiler:
    """Told when workers start and what they report; `record` says where all the time went.

    The run's own time is the `stopwatch`'s, which the ledger has.
    """

    def __init__(self, precision: str, stopwatch: Stopwatch, clock: Callable[[], float]) -> None:
        self._precision = precision
        self._stopwatch = stopwatch
        self._clock = clock
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._accounts: dict[int, _Account] = {}

    def start(self, worker: int) -> None:
        """A process of this worker is being started, the first one or another."""
        now = self._clock()
        if worker in self._accounts:
            self._accounts[worker].restart(now)
        else:
            self._accounts[worker] = _Account(now, now)

    def note(self, worker: int, spent: Spent) -> None:
        """Takes a report into account."""
        self._accounts[worker].note(spent, self._clock())

    def record(self, workers: Sequence[WorkerRecord]) -> RunProfile:
        """All so far; `workers` say where each is."""
        places = {worker.worker: worker for worker in workers}
        profiles = []
        for number, account in sorted(self._accounts.items()):
            place = places.get(number, WorkerRecord(number))
            total = vars(account.total())
            profiles.append(
                WorkerProfile(worker=number, node=place.node, device=place.device, **total)
            )
        scheduler = self._stopwatch.seconds()
        return RunProfile(self._started_at, self._precision, scheduler, tuple(profiles))
