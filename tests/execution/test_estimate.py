"""How long a run takes: what is left, what this machine has shown, and what follows from both."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.execution.conftest import GRID, ScriptedPool, good, raising
from tests.execution.tiny import write_experiment
from tuner.actions.plan import make_plan
from tuner.data.images import check
from tuner.errors import TunerError
from tuner.execution.estimate import (
    MAX_SPEEDS,
    Here,
    NetworkCost,
    Remaining,
    Speed,
    SpeedRecord,
    estimate_text,
    networks_of,
    remaining_work,
    rough_text,
    structure_time,
)
from tuner.execution.events import EpochEnded, RunStarted
from tuner.execution.protocol import Compiled, Finished, Lost, Rehearse, SetupFailed
from tuner.execution.rehearsal import Rehearsals, choose, measure
from tuner.execution.run import run_experiment
from tuner.experiment.experiment import load_experiment, parse_experiment
from tuner.experiment.schema import Resources
from tuner.experiment.trial import TrialState
from tuner.ledger.environment import Gpu
from tuner.ledger.estimate import EVENT, Estimate, StructureTime, Trained, last_estimate
from tuner.ledger.ledger import Ledger
from tuner.search import Search

# ---------------------------------------------------------------------- what is left

EXPERIMENT = """
name: grid
model: {family: resnet, depth: {choice: [8, 14]}}
data: {dataset: synthetic}
"""
RATES = "training: {epochs: 3, learning_rate: {min: 1e-4, max: 1e-1, count: 5000}}"
OPEN = "training: {epochs: 9, learning_rate: {min: 1e-4, max: 1e-1}}\n"
MANY = """
name: many
model: {family: densenet, depth: 40, growth_rate: {min: 1, max: 500}}
data: {dataset: synthetic}
training: {epochs: 1, batch_size: {choice: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}
"""


def work_of(text, **options):
    return remaining_work(Search(parse_experiment(text, "x.yaml"), "data:1"), **options)


def each(work, name):
    return [getattr(remaining, name) for remaining in work.structures.values()]


def test_every_trial_of_a_small_grid_counts():
    work = work_of(GRID)
    assert each(work, "trials") == each(work, "configurations") == [3, 3]
    assert each(work, "epochs") == [6, 6]


def test_only_what_is_left_counts(bench):
    """One trial is done, and one has an epoch of two behind it."""

    def listener(event):
        if isinstance(event, EpochEnded) and event.number == 2:
            bench.stop.set()

    bench.run(lambda task: good(task)[: 3 if task.number == 1 else 1], listener=listener)
    with Ledger.create_or_open(bench.folder / "ledger.sqlite", "grid") as ledger:
        ledger.start(2, 1)
        ledger.record_epoch(2, 1, {"val_accuracy": 0.5}, 1.0)
        states = [(row.state, row.epochs) for row in ledger.rows()]
        left = work_of(GRID, ledger=ledger, done=1).epochs
    assert states == [(TrialState.COMPLETED, 2), (TrialState.RUNNING, 1)]
    assert left == 9


def test_what_has_failed_is_not_left(bench):
    bench.run(raising)
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        assert not work_of(GRID, ledger=ledger, done=6).structures


@pytest.mark.parametrize(
    ("text", "options", "epochs", "trials"),
    [
        (EXPERIMENT + "training: {epochs: {choice: [2, 6]}}", {}, 16, [2, 2]),
        (EXPERIMENT + RATES, {}, 30_000, [5_000, 5_000]),
        (EXPERIMENT + RATES, {"done": 2_500}, 22_500, [3_750, 3_750]),
        (EXPERIMENT + OPEN + "search: {method: bayesian, max_trials: 40}", {}, 360, [20, 20]),
        # Bracket of 9: 9 configurations for 1 epoch, 3 for 3, 1 for 9: 9 + 3·2 + 1·6 epochs.
        (EXPERIMENT + OPEN + "search: {method: hyperband, max_trials: 9}", {}, 21, [4.5, 4.5]),
    ],
)
def test_what_is_not_listed_is_shared_out_to_structures(text, options, epochs, trials):
    work = work_of(text, **options)
    assert work.epochs == pytest.approx(epochs)
    assert each(work, "trials") == pytest.approx(trials)


def test_of_thousands_of_structures_some_are_looked_at():
    search = Search(parse_experiment(MANY, "x.yaml"))
    work = remaining_work(search)
    assert not work.is_whole
    assert work.epochs == pytest.approx(5_000)
    assert (
        len(networks_of(search, work, check(search.experiment.data, None, backend="tensorflow")))
        == 200
    )


# ---------------------------------------------------------------------- what follows


NETWORK = NetworkCost("aa", "resnet", 50, 100, 1_000, 10, 3e6)
PLACE = "cpu, 2 cores"


def speed(**changed):
    return dataclasses.replace(Speed(PLACE, "resnet", "aa", 3e6, 10.0, 4.0), **changed)


def told(network, *speeds):
    time = structure_time(Remaining(None, 1, 1, 1), network, speeds)
    return time.epoch_seconds, time.compile_seconds, time.is_measured


def test_what_was_measured_is_taken_as_it_was():
    others = [speed(structure="bb", epoch_seconds=99.0), speed(multiply_adds=1e6), speed()]
    assert told(NETWORK, *others) == (10.0, 4.0, True)


def test_what_was_not_is_scaled_from_its_own_other_data_then_its_family_then_the_nearest():
    large = dataclasses.replace(NETWORK, multiply_adds=12e6)
    near = speed(structure="cc", multiply_adds=12e6, epoch_seconds=99.0)
    assert told(large, near, speed()) == (40.0, 4.0, False)
    other = dataclasses.replace(large, structure="dd")
    assert told(other, near, speed(compile_seconds=0.0)) == (99.0, 4.0, False)
    mlp = dataclasses.replace(other, family="mlp")
    assert told(mlp, speed(), speed(family="mlp", multiply_adds=1e6))[0] == 120.0
    assert told(mlp, speed(compile_seconds=0.0)) == (40.0, 0.0, False)


def test_an_estimate_is_shared_out_to_workers_but_one_trial_is_not():
    fast = StructureTime(4, 8, epoch_seconds=2.0, compile_seconds=3.0, is_measured=True)
    slow = StructureTime(1, 10, epoch_seconds=5.0)
    assert Estimate(1, {"f": fast}).seconds == 16 + 3
    assert Estimate(2, {"f": fast}).seconds == (16 + 2 * 3) / 2  # both workers compile it
    assert Estimate(4, {"s": slow}).seconds == 50
    both = Estimate(1, {"f": fast, "s": slow})
    assert both.basis == "1 of 2 structures ran here before; others by their size"
    assert both.summary()["seconds"] == 16 + 50 + 2 * 3


def test_an_estimate_is_unknown_where_nothing_was_measured_and_nothing_is_0():
    estimate = Estimate(1, {"s": StructureTime(1, 10, multiply_adds=5.0)})
    assert (estimate.seconds, estimate.summary(), estimate.basis) == (None, None, "")
    assert estimate.seconds_left({}, [], 1) is None
    assert Estimate().seconds is None


def test_what_is_left_follows_what_the_run_measures():
    """One structure was expected to take 1 second an epoch and takes 2; so does the other."""
    structures = {
        "a": StructureTime(2, 20, epoch_seconds=1.0),
        "b": StructureTime(1, 10, epoch_seconds=10.0, compile_seconds=7.0),
    }
    trained = {"a": Trained(epochs=4, seconds=8.0)}
    left = Estimate(1, structures).seconds_left(trained, [("a", 6)], 2)
    assert left == pytest.approx(6 * 2 + 10 * 2 + 10 * 20 + 7)
    assert Estimate(2, structures).seconds_left(trained, [("a", 6)], 2) == pytest.approx(left / 2)
    # The longest running trial takes its time.
    assert Estimate(2, structures).seconds_left(trained, [("a", 6), ("a", 1)], 0) == 12


def test_times_are_said_with_two_digits_at_most():
    seconds = (0.42, 29.6, 52, 754, 7_900, 187_000, 1e7)
    said = ["0.4s", "30s", "50s", "13m", "2h 10m", "2d 4h", "116d"]
    assert [rough_text(each) for each in seconds] == said


# ---------------------------------------------------------------------- the record


@pytest.fixture
def record(tmp_path: Path) -> SpeedRecord:
    return SpeedRecord(tmp_path / "cache" / "speeds.json")


def test_a_newer_measurement_replaces_the_same_one_and_knows_its_compile_time(record):
    others = [speed(place="gpu"), speed(structure="bb"), speed(multiply_adds=1.0)]
    assert record.read() == []
    assert record.add([speed(), *others])
    assert record.add([speed(epoch_seconds=20.0, compile_seconds=0.0)])
    assert record.read() == [*others, speed(epoch_seconds=20.0)]


@pytest.mark.parametrize(
    "content", ["", "{", '{"version": 2, "speeds": []}', "[" * 10_000, "\xff", "[3]", "-10.0"]
)
def test_a_damaged_file_is_ignored_and_written_again(record, content):
    record.add([speed()])
    sound = record.path.read_text()
    wrong = sound.replace("10.0", content) if content == "-10.0" else content
    record.path.write_text(wrong, "latin-1")
    assert record.read() == []
    assert record.add([speed()])
    assert record.read() == [speed()]


def test_the_oldest_are_forgotten(record):
    record.add([speed(structure=f"{n}") for n in range(MAX_SPEEDS)])
    record.add([speed(structure="newest")])
    names = [s.structure for s in record.read()]
    assert names == [*(f"{n}" for n in range(1, MAX_SPEEDS)), "newest"]


def test_a_folder_that_cannot_be_written_harms_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    record = SpeedRecord(tmp_path / "file" / "speeds.json")
    assert not record.add([speed()])
    assert record.read() == []


def test_writers_at_the_same_time_lose_nothing(record):
    code = (
        "import sys, pathlib\n"
        "path, name = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "from tests.execution.test_estimate import speed, SpeedRecord\n"
        "for n in range(10):\n"
        "    assert SpeedRecord(path).add([speed(structure=name * n)])\n"
    )
    command = [sys.executable, "-c", code, str(record.path)]
    writers = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(record.read()) == 19  # both write "" once


def test_the_record_is_in_the_persons_cache_or_in_the_folder_that_is_named():
    places = {
        "/a/speeds.json": {"TUNER_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"},
        "/b/tuner/speeds.json": {"XDG_CACHE_HOME": "/b"},
        f"{Path.home()}/.cache/tuner/speeds.json": {"XDG_CACHE_HOME": "relative"},
    }
    for path, environment in places.items():
        assert SpeedRecord.at_home(environment).path == Path(path)


def test_gpus_and_who_shares_them_make_another_machine(monkeypatch):
    monkeypatch.setattr("tuner.execution.estimate.installed_gpus", lambda: [Gpu(0, "H100", 1, "5")])
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    here = [Here(1, "", {}), Here(2, "0", {}), Here(2, "01", {}), Here(1, "", hidden)]
    alone, shared, apart, without = [h.machine for h in here]
    assert alone == apart
    assert len({alone, shared, without}) == 3
    assert Here(1, "", {}, Resources(gpu=0)).machine == without


def test_threads_make_another_machine_where_they_are_not_a_part_of_the_cores(monkeypatch):
    for module in ("estimate", "devices"):
        monkeypatch.setattr(f"tuner.execution.{module}.available_cores", lambda: 8)
    part, same, fewer = (Here(4, "", {}, Resources(cpu=cpu)).machine for cpu in (None, 2, 1))
    assert part == same
    assert fewer == f"{part}, 1 threads a worker"


def test_what_a_worker_of_a_cluster_takes_does_not_depend_on_who_asks(monkeypatch):
    for module in ("estimate", "devices"):
        monkeypatch.setattr(f"tuner.execution.{module}.available_cores", lambda: 8)
    one, two = (Here(n, (), {}, Resources(gpu=1.0), is_cluster=True) for n in (1, 2))
    assert one.machine == two.machine == "Ray, 1 GPU a worker"
    here = Here(32, (), {}, Resources(cpu=1, gpu=0.0), is_cluster=True)
    assert here.machine == "Ray, 1 threads a worker"
    (note,) = here.notes(parse_experiment(GRID, "x.yaml"), {4: 10})
    assert note.endswith("which alone moves scores a little: --cpus-per-worker 4 goes on alike")


# ---------------------------------------------------------------------- plan --measure


def test_structures_are_chosen_from_the_smallest_to_the_largest():
    networks = [dataclasses.replace(NETWORK, macs=n) for n in (50, 10, 40, 20, 30)]
    assert [each.macs for each in choose(networks, 3)] == [10, 30, 50]
    assert len(choose(networks, 9)) == 5


class Rehearsing(ScriptedPool):
    """Plays a list of reports for every rehearsal that is sent."""

    def __init__(self, *scripts):
        super().__init__(lambda task: [])
        self.scripts = list(scripts)

    def send(self, worker, task):
        self._reports += [(worker, report) for report in self.scripts.pop(0)]


WELL = Finished(1, epoch_seconds=0.1)


def rehearse(pool, times=1):
    rehearsals = Rehearsals(pool, 1)
    rehearsals.start()
    task = Rehearse(1, {}, {}, frozenset(), "float32", 0, "aa", 1.0)
    return [rehearsals.run(task) for _ in range(times)]


@pytest.mark.parametrize("report", [Lost("killed"), Finished(1, "killed", leaves=True)])
def test_a_worker_that_fails_costs_its_structure_alone(report):
    pool = Rehearsing([report], [Compiled(1, 2.0), WELL])
    assert rehearse(pool, times=2) == [(0.0, 0.0, "killed"), (2.0, 0.1, "")]
    assert pool.starts == [1, 1]


@pytest.mark.parametrize("report", [Lost("killed"), SetupFailed("no such device")])
def test_a_worker_that_cannot_start_is_an_error(report):
    pool = Rehearsing()
    pool._reports.append((1, report))
    pool.start = lambda worker: None
    with pytest.raises(TunerError, match=r"killed|no such device"):
        rehearse(pool)


TINY = """
name: tiny
data: {{dataset: {data}, validation: 24, augment: [crop, flip]}}
model: {{family: resnet, depth: {{choice: [8, 14]}}}}
training: {{epochs: 3, batch_size: 16, learning_rate: {{choice: [0.001, 0.002]}}}}
"""


def test_measured_planned_run_and_planned_again(tmp_path, monkeypatch, forked_workers):
    """On real workers, with a record of its own."""
    monkeypatch.setenv("TUNER_CACHE_DIR", str(tmp_path / "cache"))
    experiment = load_experiment(write_experiment(tmp_path, TINY))
    here, record = Here(1, (), dict(os.environ)), SpeedRecord.at_home(os.environ)
    where = {"results_dir": tmp_path / "results", "data_dir": None}

    measured = []
    measure(experiment, **where, here=here, tell=measured.append, seconds=0.2)
    assert [(m.place, m.total, m.reason) for m in measured] == [(0, 2, ""), (1, 2, ""), (2, 2, "")]
    assert all(m.compile_seconds > 0 < m.epoch_seconds for m in measured[1:])
    assert measured[1].network.macs < measured[2].network.macs
    assert not (tmp_path / "results").exists()

    estimate = make_plan(experiment, **where, here=here).time
    assert estimate.basis == "these structures ran here before"
    assert estimate.seconds > sum(m.compile_seconds for m in measured)

    events = []
    ended = run_experiment(experiment, results_dir=where["results_dir"], listener=events.append)
    begun = next(event for event in events if isinstance(event, RunStarted))
    assert begun.notes[-1] == f"it takes {estimate_text(estimate)} ({estimate.basis})"
    with Ledger.open_read_only(tmp_path / "results" / "tiny" / "ledger.sqlite") as ledger:
        assert len(ledger.events_of(EVENT)) == 1
        assert last_estimate(ledger) == ended.estimate
    # Starting is most of it; the machine may do anything else meanwhile.
    assert 1 / 10 < ended.estimate.seconds / ended.seconds < 5

    assert {s.epoch_seconds for s in record.read()}.isdisjoint(m.epoch_seconds for m in measured)
    assert make_plan(experiment, **where, here=here).time.seconds is None
