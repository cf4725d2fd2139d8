"""Finished trials of other experiments count where they are the same trials."""

from __future__ import annotations

import pytest

from tests.execution.conftest import GRID, Bench, diverging, good, raising
from tuner.errors import InputError
from tuner.execution.reuse import take_over
from tuner.execution.run import run_experiment
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.search import Search

WIDER = GRID.replace("[8, 14]", "[8, 14, 20]").replace("name: grid", "name: wider")


@pytest.fixture
def other(tmp_path):
    folder = tmp_path / "grid"
    folder.mkdir()
    return Bench(folder)


@pytest.fixture
def wider(tmp_path):
    folder = tmp_path / "wider"
    folder.mkdir()
    return Bench(folder, WIDER)


def reuse(bench, other, text=None):
    experiment = parse_experiment(text or bench.text, "x.yaml")
    with Ledger.create_or_open(bench.folder / "ledger.sqlite", "wider") as ledger:
        ledger.set_objective(experiment.objective)
        folder = RunFolder(other.folder.parent, other.folder.name)
        return take_over(Search(experiment, "data:1"), ledger, folder)


def test_trials_of_both_are_not_run_again_and_keep_score_and_curve(other, wider):
    theirs = other.run()
    assert reuse(wider, other) == 6
    rows = wider.run()
    assert len(rows) == 9
    assert len(wider.pool.tasks) == 3
    ours = {row.key: row for row in rows}
    for row in theirs:
        same = ours[row.key]
        assert (same.score, same.metrics, same.best_epoch) == (
            row.score,
            row.metrics,
            row.best_epoch,
        )
    assert len(wider.epochs()) == 18


def test_what_is_there_already_is_not_taken_twice(other, wider):
    other.run()
    reuse(wider, other)
    assert reuse(wider, other) == 0
    rows = wider.run()
    assert len(rows) == 9


def test_only_what_the_experiment_would_run_is_taken(other, wider):
    other.run()
    only = WIDER.replace("[8, 14, 20]", "[14]")
    assert reuse(wider, other, only) == 3


def test_divergence_is_knowledge_and_failure_is_not(other, wider):
    other.run(lambda task: diverging(task) if task.number == 1 else raising(task))
    assert reuse(wider, other) == 1
    assert [row.state for row in wider.rows()] == [TrialState.DIVERGED]
    assert wider.rows()[0].reason == "loss is nan in epoch 1"


def test_scores_are_those_of_the_new_objective(other, wider):
    other.run()
    text = WIDER + "objective: {metric: val_loss}"
    assert reuse(wider, other, text) == 6
    assert {row.score for row in wider.rows()} == {1.0}


def test_other_data_seeds_or_precision_are_other_trials(other, wider):
    other.run()
    for change in ("search: {seed: 1}", "precision: mixed_bfloat16"):
        assert reuse(wider, other, WIDER + change) == 0


def test_a_search_that_learns_starts_from_what_others_know(other, wider, dice):
    other.run(good)
    text = WIDER + "search: {method: bayesian, max_trials: 8}"
    assert reuse(wider, other, text) == 6
    rows = wider.run(text=text)
    assert len(wider.pool.tasks) == len(rows) - 6 <= 3


def test_a_refused_experiment_to_reuse_leaves_a_folder_that_belongs_together(other, tmp_path):
    """The edited experiment was kept already, and old trials would count as its own."""
    other.run()
    with Ledger.create_or_open(other.folder / "ledger.sqlite", "grid") as ledger:
        ledger.keep_data_record({})
    broken = RunFolder(tmp_path, "broken")
    broken.path.mkdir()
    broken.ledger.write_bytes(b"")
    edited = parse_experiment(GRID.replace("epochs: 2", "epochs: 3"), "grid.yaml")
    with pytest.raises(InputError, match="damaged"):
        run_experiment(edited, results_dir=tmp_path, reuse=[broken])
    with Ledger.open_read_only(other.folder / "ledger.sqlite") as ledger:
        assert (ledger.rows(), ledger.num_superseded()) == ([], 6)


def test_threads_are_taken_over_with_a_trial(other, wider):
    other.run()
    with Ledger.create_or_open(other.folder / "ledger.sqlite", "grid") as ledger:
        for row in ledger.rows():
            ledger._update(row.number, threads=2)
    reuse(wider, other)
    with Ledger.open_read_only(wider.folder / "ledger.sqlite") as ledger:
        assert ledger.threads() == {2: 6}
