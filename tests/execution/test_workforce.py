"""What workers are seen doing, from a run's events alone."""

from __future__ import annotations

import pytest

from tests.execution.conftest import dying, good
from tuner.execution.events import (
    EpochEnded,
    TrialCompiled,
    TrialEnded,
    TrialStarted,
    WorkerLost,
    WorkerReady,
)
from tuner.execution.workforce import Workforce
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.workers import NodeRecord, WorkerRecord, is_told, nodes_of


class Day:
    """A workforce with a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.workforce = Workforce(lambda: self.now)

    def after(self, seconds: float, event) -> WorkerRecord:
        self.now += seconds
        self.workforce.take(event)
        return next(r for r in self.workforce.records() if r.worker == event.worker)


def started(number: int, worker: int = 1, done: int = 0) -> TrialStarted:
    return TrialStarted(number, worker, {}, 0, 4, "s", True, done)


def ended(number: int, state: TrialState, worker: int = 1) -> TrialEnded:
    return TrialEnded(number, worker, state, None, "", {}, 2)


def test_busy_is_what_was_reported_and_what_goes_on_and_idle_the_rest():
    day = Day()
    assert day.after(0, WorkerReady(1, "CPU", 3.0, "n1")).does == "idle"
    seen = day.after(2, started(5, done=1))
    assert (seen.does, seen.trial, seen.epoch, seen.epochs) == ("training", 5, 2, 4)
    assert (seen.ready_seconds, seen.busy_seconds) == (2, 0)
    seen = day.after(10, TrialCompiled(5, 1, 9.0))  # a second of it was the way to the worker
    assert (seen.busy_seconds, seen.idle_seconds) == (9, 3)
    seen = day.after(4, EpochEnded(5, 1, 2, 4, {}, 3.5))
    assert (seen.busy_seconds, seen.epoch) == (12.5, 3)
    day.now += 4
    assert day.workforce.records()[0].busy_seconds == 16.5
    seen = day.after(0, ended(5, TrialState.STOPPED))
    assert (seen.does, seen.busy_seconds, seen.epochs) == ("idle", 12.5, 0)
    assert seen.node == "n1"


def test_a_trial_that_failed_has_kept_its_worker_busy():
    day = Day()
    day.after(0, WorkerReady(1, "CPU", 0.0))
    day.after(1, started(1))
    assert day.after(9, ended(1, TrialState.FAILED)).busy_seconds == 9


def test_a_worker_that_was_lost_begins_anew_and_what_it_has_done_is_kept():
    day = Day()
    day.after(0, WorkerReady(1, "CPU", 0.0))
    day.after(0, started(1))
    seen = day.after(50, WorkerLost(1, 1, "killed"))
    assert (seen.does, seen.trial, seen.ready_seconds, seen.losses) == ("starting", None, 0, 1)
    seen = day.after(5, WorkerReady(1, "CPU", 0.0))
    assert (seen.ready_seconds, seen.busy_seconds, seen.trials, seen.losses) == (0, 0, 1, 1)


def test_a_clock_of_another_machine_makes_nobody_more_than_busy():
    day = Day()
    day.after(0, WorkerReady(1, "CPU", 0.0))
    day.after(0, started(1))
    assert day.after(1, EpochEnded(1, 1, 1, 4, {}, 1.5)).busy_seconds == 1


def test_nodes_add_up():
    workers = [
        WorkerRecord(1, "b", trial=4, ready_seconds=10, busy_seconds=9),
        WorkerRecord(2, "a", ready_seconds=10, busy_seconds=5),
        WorkerRecord(3, "b", is_ready=False),
    ]
    a, b = nodes_of(workers)
    assert (a.node, a.training, a.idle, a.starting, a.utilization) == ("a", 0, 1, 0, 0.5)
    assert (b.node, b.training, b.idle, b.starting, b.utilization) == ("b", 1, 0, 1, 0.9)
    everyone = NodeRecord("", workers)
    assert (everyone.utilization, everyone.idle_seconds) == (pytest.approx(0.7), 6)
    assert NodeRecord("", workers[2:]).utilization is None


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        ([], False),
        ([WorkerRecord(1)], False),
        ([WorkerRecord(1, "node")], True),
        ([WorkerRecord(1), WorkerRecord(2)], True),
    ],
)
def test_one_worker_of_this_machine_is_not_told(workers, told):
    assert is_told(workers) is told


def test_the_ledger_knows_the_workers_of_the_last_run(bench):
    deaths = iter([dying])
    bench.run(lambda task: next(deaths, good)(task), workers=2)
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        workers = ledger.workers
        assert [worker.worker for worker in workers] == [1, 2]
        assert sum(worker.trials for worker in workers) == 7
        assert sum(worker.losses for worker in workers) == 1
        assert {worker.does for worker in workers} == {"idle"}
    with Ledger.create_or_open(bench.folder / "ledger.sqlite", "grid") as ledger:
        ledger.begin_run(total=6, done=6, workers=1)
        assert ledger.workers == []
