"""Profiles of runs on workers that play a script, under a clock that is turned by hand."""

from __future__ import annotations

import pytest

from tests.execution.conftest import Bench, ScriptedPool, good
from tuner.execution.profiler import Profiler
from tuner.execution.protocol import Lost, Spent
from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import Stopwatch
from tuner.ledger.workers import WorkerRecord


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_workers_phases_add_up_to_its_time_also_before_it_can_tell(clock):
    profiler = Profiler("float32", Stopwatch("preparing", clock), clock)
    profiler.start(1)
    clock.now += 5
    profiler.note(1, Spent({"import": 3.0}))  # its process had taken 2 seconds to start
    clock.now += 10
    spent = Spent({"import": 3.0, "train": 9.0}, 2, 18.0, 4.0)
    profiler.note(1, spent)
    clock.now += 50
    profile = profiler.record([WorkerRecord(1, "node-a", "CPU")])
    (worker,) = profile.workers
    assert worker.seconds == {"start": 2.0, "import": 3.0, "train": 9.0, "other": 1.0}
    assert worker.whole_seconds == 15  # to what it said last
    assert (worker.node, worker.device, worker.programs) == ("node-a", "CPU", 2)
    assert (worker.training_flops, worker.matrix_flops) == (2.0, 4.0)
    assert profile.whole_seconds == 65


def test_what_a_lost_worker_did_counts_and_what_it_had_not_told_is_other(clock):
    profiler = Profiler("float32", Stopwatch("preparing", clock), clock)
    profiler.start(1)
    clock.now += 4
    profiler.note(1, Spent({"train": 4.0}, 1, 8.0, 4.0))
    clock.now += 6  # lost behind that
    profiler.start(1)
    clock.now += 3
    profiler.note(1, Spent({"import": 1.0}, 1, 2.0))
    (worker,) = profiler.record([]).workers
    assert worker.seconds == {"start": 2.0, "train": 4.0, "import": 1.0, "other": 6.0}
    assert worker.whole_seconds == 13
    assert (worker.programs, worker.training_flop) == (2, 10.0)


def test_a_worker_that_has_said_nothing_yet_is_being_started(clock):
    profiler = Profiler("float32", Stopwatch("preparing", clock), clock)
    profiler.start(1)
    (worker,) = profiler.record([]).workers
    assert worker.seconds == {"start": 0.0, "other": 0.0}


class TellingPool(ScriptedPool):
    """Its workers say where their time went before they are ready and behind their last trial."""

    def dismiss(self) -> bool:
        if not self.closed:
            self._reports += [(worker, Spent({"train": 9.0, "wait": 1.0})) for worker in (1, 2)]
            self.closed = True
        return bool(self._reports)


def test_the_last_words_of_every_worker_are_in_the_profile(tmp_path):
    bench = Bench(tmp_path, make_pool=TellingPool)
    bench.run(workers=2, profile=True)
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        profile = ledger.profile
    assert [worker.seconds["train"] for worker in profile.workers] == [9.0, 9.0]
    assert profile.precision == "float32"
    bench.run(profile=True)  # nothing is left to do, and nothing to tell
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.profile == profile


def test_a_worker_is_told_what_its_trial_costs(tmp_path):
    bench = Bench(tmp_path)
    bench.run(profile=True)
    assert {task.macs for task in bench.pool.tasks} == {2}


def test_without_a_profile_nothing_is_kept_of_it(tmp_path):
    scripts = iter([lambda task: [Spent({"train": 1.0}), Lost("killed by SIGKILL")]])
    bench = Bench(tmp_path)
    bench.run(lambda task: next(scripts, good)(task))
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.profile is None
