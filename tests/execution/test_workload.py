"""What is left to train, trial by trial or structure by structure."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.execution.conftest import GRID, good, raising
from tuner.data.images import check
from tuner.execution.estimate.estimating import networks_of
from tuner.execution.estimate.workload import Past, past_of, workload_of
from tuner.execution.membership import all_trials
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import KnownTrial

EXPERIMENT = """
name: grid
model: {family: resnet, depth: {choice: [8, 14]}}
data: {dataset: synthetic}
"""


def work_of(text, past=None):
    return workload_of(parse_experiment(text, "x.yaml"), "data:1", past or Past())


def trials_by_epochs(work):
    counts = Counter()
    for job in work.jobs:
        counts[job.epochs] += job.count
    return dict(counts)


def test_every_trial_of_a_small_grid_is_a_job_those_of_a_structure_together():
    work = work_of(GRID)
    assert [job.epochs for job in work.jobs] == [2] * 6
    structures = [job.structure for job in work.jobs]
    assert structures == sorted(structures, key=structures.index)
    assert len(set(structures)) == 2
    assert work.epochs == 12


def test_a_random_plan_is_sorted_block_by_block_as_the_queue_does():
    open_text = "training: {learning_rate: {min: 1e-4, max: 1e-1}, epochs: 1}\n"
    work = work_of(EXPERIMENT + open_text + "search: {method: random, max_trials: 128}")
    changes = [a.structure != b.structure for a, b in zip(work.jobs, work.jobs[1:], strict=False)]
    assert len(work.jobs) == 128
    assert sum(changes[:63]) == sum(changes[64:]) == 1


def test_epochs_may_be_open():
    work = work_of(EXPERIMENT + "training: {epochs: {choice: [2, 6]}}")
    assert trials_by_epochs(work) == {2: 2, 6: 2}


def test_only_what_is_left_counts():
    """One trial is done, and one has an epoch of two behind it."""
    experiment = parse_experiment(GRID, "grid.yaml")
    first, second, *_ = all_trials(experiment, "data:1")
    past = Past({first.key: KnownTrial(1, TrialState.COMPLETED)}, {second.key: 1}, done=1)
    work = work_of(GRID, past)
    assert sorted(job.epochs for job in work.jobs) == [1, 2, 2, 2, 2]
    assert work.epochs == 9


def test_the_ledger_knows_what_is_behind(bench):
    bench.run(lambda task: good(task) if task.number == 1 else raising(task))
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        past = past_of(ledger, 6)
    assert (past.done, past.trained, past.mean_seconds) == (6, 2, pytest.approx(0.2))
    assert not work_of(GRID, past).jobs


def test_a_large_grid_is_counted_and_not_listed():
    opened = "training: {epochs: 3, learning_rate: {min: 1e-4, max: 1e-1, count: 5000}}"
    work = work_of(EXPERIMENT + opened)
    assert [(job.epochs, job.count) for job in work.jobs] == [(3, 5000), (3, 5000)]
    assert work.epochs == 30_000
    cut = work_of(EXPERIMENT + opened + "\nsearch: {max_trials: 6000, replicates: 2}")
    assert [job.count for job in cut.jobs] == [10_000, 2_000]


def test_of_a_large_grid_what_is_done_is_taken_off_evenly():
    opened = "training: {epochs: 3, learning_rate: {min: 1e-4, max: 1e-1, count: 5000}}"
    assert work_of(EXPERIMENT + opened, Past(done=2_500)).epochs == pytest.approx(22_500)


def test_a_search_that_learns_is_a_sample_of_its_space():
    opened = "training: {epochs: 3, learning_rate: {min: 1e-4, max: 1e-1}}\n"
    work = work_of(EXPERIMENT + opened + "search: {method: bayesian, max_trials: 40}")
    assert (len(work.jobs), work.scale, work.epochs) == (40, 1.0, 120)
    assert not work.is_listed


def test_hyperband_trains_what_its_brackets_plan():
    opened = "training: {epochs: 9, learning_rate: {min: 1e-4, max: 1e-1}}\n"
    text = EXPERIMENT + opened + "search: {method: hyperband, max_trials: 9}"
    # Bracket of 9: 9 configurations for 1 epoch, 3 for 3, 1 for 9: 9 + 3·2 + 1·6 epochs.
    assert work_of(text).epochs == pytest.approx(21)
    assert work_of(text, Past(trained=5)).epochs == pytest.approx(16)


def test_thousands_of_structures_are_sampled():
    text = """
name: many
model: {family: densenet, depth: 40, growth_rate: {min: 1, max: 500}}
data: {dataset: synthetic}
training: {epochs: 1, batch_size: {choice: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}
"""
    experiment = parse_experiment(text, "x.yaml")
    work = workload_of(experiment, "data:1", Past())
    assert not work.is_whole
    assert work.epochs == pytest.approx(5000)
    networks = networks_of(experiment, work, check(experiment.data, None))
    assert len(networks) == 200
