"""Measuring on real workers, and estimating from what it and a run have found."""

from __future__ import annotations

import os

import pytest

from tests.execution.conftest import ScriptedPool
from tests.execution.test_stopwatch import task_of
from tests.execution.test_timing import network
from tests.execution.tiny import write_experiment
from tuner.errors import TunerError
from tuner.execution.estimate.estimating import EVENT, Here, estimate_text
from tuner.execution.estimate.measuring import _Rehearsals, choose, measure
from tuner.execution.estimate.speeds import SpeedRecord
from tuner.execution.messages import (
    Compiled,
    Finished,
    Lost,
    Rehearsal,
    Rehearse,
    RunStarted,
    SetupFailed,
)
from tuner.execution.plan import make_plan
from tuner.execution.run import run_experiment
from tuner.experiment.experiment import load_experiment
from tuner.ledger.ledger import Ledger

TEXT = """
name: tiny
data: {{dataset: {data}, validation: 24, augment: [crop, flip]}}
model: {{family: resnet, depth: {{choice: [8, 14]}}}}
training: {{epochs: 3, batch_size: 16, learning_rate: {{choice: [0.001, 0.002]}}}}
"""


def test_structures_are_chosen_from_the_smallest_to_the_largest():
    networks = [network(structure=f"{n}", macs=n) for n in (50, 10, 40, 20, 30)]
    assert [each.macs for each in choose(networks, 3)] == [10, 30, 50]
    assert [each.macs for each in choose(networks, 1)] == [30]
    assert len(choose(networks, 9)) == 5


class Rehearsing(ScriptedPool):
    """Plays a list of reports for every rehearsal that is sent."""

    def __init__(self, *scripts):
        super().__init__(lambda task: [])
        self.scripts = list(scripts)

    def send(self, worker, task):
        self._reports += [(worker, report) for report in self.scripts.pop(0)]


WELL = Finished(1, rehearsal=Rehearsal(0.1, 0.01, 0.1, 0.0))


def rehearse(pool, times=1):
    rehearsals = _Rehearsals(pool, 1)
    rehearsals.start()
    return [rehearsals.run(task_of(Rehearse, seconds=1.0)) for _ in range(times)]


def test_a_worker_that_dies_costs_its_structure_alone():
    pool = Rehearsing([Lost("killed")], [Compiled(1, 2.0), WELL])
    (died, well) = rehearse(pool, times=2)
    assert died == ([], [Finished(1, "killed")])
    assert well == ([2.0], [WELL])


def test_a_worker_that_leaves_after_an_error_is_replaced():
    raised = Finished(1, "ValueError: no", leaves=True)
    gone = [Lost("exit status 0")]  # only now, so that what it was sent is sent again
    pool = Rehearsing([raised], gone, [WELL])
    (failed, well) = rehearse(pool, times=2)
    assert failed[1] == [raised]
    assert well[1] == [WELL]
    assert pool.starts == [1, 1]


@pytest.mark.parametrize("report", [Lost("killed"), SetupFailed("no such device")])
def test_a_worker_that_cannot_start_is_an_error(report):
    pool = Rehearsing()
    pool._reports.append((1, report))
    pool.start = lambda worker: None
    with pytest.raises(TunerError, match=r"killed|no such device"):
        rehearse(pool)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Measured, planned, run and planned again, with a record of their own."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNER_CACHE_DIR", str(folder / "cache"))
        experiment = load_experiment(write_experiment(folder, TEXT))
        here = Here(1, 0, dict(os.environ))
        where = {"results_dir": folder / "results", "data_dir": None}
        told, events = [], []
        measure(experiment, **where, here=here, tell=told.append, seconds=0.2)
        is_clean = not (folder / "results").exists()
        plan = make_plan(experiment, **where, here=here)
        measured = SpeedRecord.at_home(here.environment).read()
        ended = run_experiment(experiment, results_dir=where["results_dir"], listener=events.append)
        after = SpeedRecord.at_home(here.environment).read()
        done = make_plan(experiment, **where, here=here)
    return {**locals()}


def test_measuring_tells_each_structure_and_leaves_no_results(seen):
    start, *each = seen["told"]
    assert (start.network, start.total) == (None, 2)
    assert [m.place for m in each] == [1, 2]
    assert all(m.compile_seconds > 0 < m.step_seconds and not m.reason for m in each)
    assert each[0].network.macs < each[1].network.macs
    assert seen["is_clean"]
    assert [speed.epochs for speed in seen["measured"].speeds] == [0, 0]


def test_the_plan_knows_the_time_from_then_on(seen):
    found = seen["plan"].time
    assert found.basis == "measured: all 2 structures"
    compiling = sum(speed.compile_seconds for speed in seen["measured"].speeds)
    assert found.seconds > compiling + seen["measured"].starts[0].seconds
    assert seen["done"].time is None


def test_the_run_says_its_estimate_and_keeps_it(seen):
    (begun,) = [e for e in seen["events"] if isinstance(e, RunStarted)]
    assert begun.notes[-1].startswith(f"it takes {estimate_text(seen['ended'].estimate)}; ")
    assert seen["ended"].estimate.measured == 2
    with Ledger.open_read_only(seen["folder"] / "results" / "tiny" / "ledger.sqlite") as ledger:
        (kept,) = [event.detail for event in ledger.events() if event.kind == EVENT]
    assert kept["seconds"] == seen["ended"].estimate.seconds
    # Compiling and starting are most of it; the machine may do anything else meanwhile.
    assert 1 / 5 < kept["seconds"] / seen["ended"].seconds < 5


def test_the_run_replaces_what_was_measured_by_its_epochs(seen):
    assert [speed.epochs for speed in seen["after"].speeds] == [5, 5]
    assert all(speed.compile_seconds and speed.image_seconds for speed in seen["after"].speeds)
