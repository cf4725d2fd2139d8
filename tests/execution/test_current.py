"""After an edit nothing but the trials of the experiment as it stands counts, anywhere."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.execution.conftest import Bench, epochs_behind, metrics
from tuner.execution import current
from tuner.execution.estimate import remaining_work
from tuner.execution.protocol import Epoch, Finished
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import TrialState
from tuner.ledger.checkpoint import SavedCheckpoint
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES
from tuner.ledger.schema import seal, teach
from tuner.search import Search
from tuner.search.planned import RandomPlan

GRID = """
name: grid
model: {family: resnet, depth: 8}
data: {dataset: synthetic, validation: 100}
training: {epochs: 4, learning_rate: {choice: [0.1, 0.05, 0.02, 0.01, 0.005, 0.001]}}
search: {method: grid}
"""
EDITED = GRID.replace("validation: 100", "validation: 200")
ASHA = EDITED.replace("method: grid", "method: grid, stop: {rule: asha}")
MEDIAN = EDITED.replace("method: grid", "method: grid, stop: {rule: median, min_trials: 3}")


def search_of(text: str) -> Search:
    return Search(parse_experiment(text, "x.yaml"), "data:1")


def trained(level: float):
    """A script: curves at some level, a little better with a lower learning rate."""

    def script(task):
        height = level - task.training["learning_rate"]
        reports = [
            Epoch(
                *(task.number, epoch, metrics(height + epoch / 100), 0.1),
                checkpoint=SavedCheckpoint(f"{task.number}-{epoch}.npz", "0" * 64, 10),
            )
            for epoch in range(epochs_behind(task) + 1, task.until + 1)
        ]
        return [*reports, Finished(task.number)]

    return script


@pytest.fixture
def ledger(bench: Bench):
    """The ledger of a grid of six good trials and, after an edit, of six worse ones."""
    bench.run(trained(0.9), GRID)
    bench.run(trained(0.5), EDITED)
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as opened:
        yield opened


@pytest.mark.parametrize("text", [ASHA, MEDIAN])
def test_rules_judge_new_trials_by_current_ones_alone(bench: Bench, tmp_path: Path, text) -> None:
    """Superseded curves were twelve for twelve better: every new trial was stopped."""
    bench.run(trained(0.9), GRID)
    edited = [(row.state, row.epochs, row.reason) for row in bench.run(trained(0.5), text)]
    fresh = Bench(tmp_path / "fresh")
    fresh.folder.mkdir()
    alone = [(row.state, row.epochs, row.reason) for row in fresh.run(trained(0.5), text)]
    assert edited == alone
    assert {state for state, _, _ in edited} >= {TrialState.COMPLETED}


def test_readers_see_current_trials_unless_asked_for_all(ledger: Ledger) -> None:
    assert [row.number for row in ledger.rows()] == [7, 8, 9, 10, 11, 12]
    assert len(ledger.rows(all_versions=True)) == 12
    assert ledger.counts()[TrialState.COMPLETED] == 6
    assert ledger.counts(all_versions=True)[TrialState.COMPLETED] == 12
    assert ledger.num_superseded() == 6
    assert ledger.top(1)[0].number == 12  # 0.9 of the earlier version is better
    assert {epoch.number for epoch in ledger.epochs()} == set(range(7, 13))
    assert len(ledger.epochs(all_versions=True)) == 48
    assert ledger.trained_epochs() == ledger.epochs_here() == 24
    assert set(ledger.by_key()) == {row.key for row in ledger.rows()}
    assert [row.number for row in ledger.each_row()] == [row.number for row in ledger.rows()]


def test_what_differs_is_kept_with_the_trial(ledger: Ledger) -> None:
    before, after = ledger.row(1), ledger.row(7)
    assert before is not None and after is not None
    assert (before.is_current, after.is_current) == (False, True)
    assert before.context | {"data.validation": 200} == after.context
    assert after.context["data.fingerprint"] == "data:1"


def test_checkpoints_of_current_trials_are_kept_whatever_was_better_before(ledger: Ledger) -> None:
    kept = {row.number for row in ledger.checkpoints()}
    assert {8, 9, 10, 11, 12} <= kept  # the best five of six
    assert {2, 3, 4, 5, 6} <= kept  # those of the earlier version are left alone


def test_going_back_makes_the_earlier_trials_current_again(bench: Bench, ledger: Ledger) -> None:
    bench.run(trained(0.9), GRID)
    assert bench.pool is not None
    assert bench.pool.tasks == []
    assert [row.number for row in bench.rows()] == [1, 2, 3, 4, 5, 6]


def test_columns_are_named_by_current_trials_alone(bench: Bench) -> None:
    bench.run(trained(0.9), GRID)
    bench.run(trained(0.5), GRID.replace("epochs: 4", "epochs: 3"))
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        assert ledger.value_names == ("training.learning_rate",)


def test_a_retried_trial_is_current(bench: Bench) -> None:
    bench.run(lambda task: [Finished(task.number, "ValueError: no")], GRID)
    bench.run(trained(0.5), EDITED, retry=[TrialState.FAILED])
    assert bench.pool is not None
    assert [task.number for task in bench.pool.tasks] == [7, 8, 9, 10, 11, 12]


def test_a_budget_of_epochs_counts_current_trials_alone(bench: Bench) -> None:
    from tuner.execution.run import _epochs_left

    bench.run(trained(0.9), GRID)
    limited = GRID.replace("epochs: 4", "epochs: 2").replace("grid}", "grid, max_epochs: 12}")
    bench.run(trained(0.5), limited, budget_epochs=0)
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        assert _epochs_left(parse_experiment(limited, "x.yaml"), ledger) == 12


def test_an_upgrade_of_scipy_walks_a_sobol_plan_again(bench: Bench, monkeypatch) -> None:
    """Its scrambling may depend on the version: a stored position would skip points."""
    sobol = parse_experiment(GRID.replace("method: grid", "method: sobol, max_trials: 4"), "x.yaml")
    grid = parse_experiment(GRID, "x.yaml")
    before = [current.plan_key(Search(one, "f")) for one in (sobol, grid)]
    monkeypatch.setattr(current.metadata, "version", lambda name: "99")
    after = [current.plan_key(Search(one, "f")) for one in (sobol, grid)]
    assert before[0] != after[0]
    assert before[1] == after[1]


UNION = """
name: union
model: {choice: [{family: lenet}, {family: resnet, depth: {choice: [8, 14, 20, 26, 32, 38]}}]}
data: {dataset: synthetic, validation: 100}
training: {epochs: 2, learning_rate: {choice: [0.1, 0.05]}}
search: {method: random, max_trials: 12}
"""


@pytest.mark.parametrize("method", ["random", "hyperband"])
def test_an_older_ledger_goes_on_under_the_order_of_today(
    bench: Bench, monkeypatch, method: str
) -> None:
    """What both orders hold is not trained again, and what only the old one held counts no more."""
    text = UNION.replace("random", method).replace("epochs: 2", "epochs: 3")
    with monkeypatch.context() as older:
        older.setattr(SearchSpace, "is_even", True)
        older.setattr(current, "PLANS", 1)
        before = {row.key for row in bench.run(trained(0.9), text)}
    rows = {row.key: row for row in bench.run(trained(0.9), text)}
    assert all(row.state in FINISHED_STATES for row in rows.values())
    search = search_of(text)
    order = RandomPlan(search.experiment.space, 12, 0)
    plan = {search.replicates(configuration)[0].key for configuration in order}
    # A search that learns has a use for whatever is of its space.
    assert set(rows) == (plan if method == "random" else plan | before)
    assert {rows[key].number for key in plan & before} < set(range(1, 13))
    assert not plan <= before


def test_an_edit_that_was_not_run_is_counted_without_writing(ledger: Ledger) -> None:
    for text, completed in ((EDITED, 6), (GRID, 6), (GRID.replace("0.1, ", ""), 5)):
        counts = current.count_current(search_of(text), ledger)
        assert counts[TrialState.COMPLETED] == completed
    assert ledger.num_superseded() == 6


def test_hyperband_after_an_edit_that_was_not_run_has_all_its_epochs_to_train(bench: Bench) -> None:
    text = GRID.replace("method: grid", "method: hyperband, max_trials: 4")
    bench.run(trained(0.9), text)
    edited = search_of(text.replace("validation: 100", "validation: 200"))
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as opened:
        assert remaining_work(edited, opened).epochs == edited.planned_epochs
        assert remaining_work(search_of(text), opened).epochs == 0


def test_a_current_trial_of_an_older_ledger_gets_the_context_of_its_key(bench: Bench) -> None:
    """Without one, its scores were taken for those of the images that the last run had read."""
    bench.run(trained(0.9), GRID)
    path = bench.folder / "ledger.sqlite"
    connection = sqlite3.connect(path)
    teach(connection)
    connection.execute("UPDATE trials SET context = 0")
    seal(connection, "trials", "TRUE")
    connection.commit()
    connection.close()
    bench.run(trained(0.5), EDITED)
    with Ledger.open_read_only(path) as opened:
        assert [dict(row.context) for row in opened.rows(all_versions=True)][:6] == [{}] * 6
    bench.run(trained(0.9), GRID)
    with Ledger.open_read_only(path) as opened:
        assert {row.context["data.validation"] for row in opened.rows()} == {100}


def test_a_plan_that_was_marked_looks_at_no_trial(ledger: Ledger, monkeypatch) -> None:
    monkeypatch.setattr(current, "planned_among", None)
    counts = current.count_current(search_of(EDITED), ledger)
    assert counts[TrialState.COMPLETED] == 6


@pytest.mark.parametrize("change", [("0.1,", "0.2,"), ("method: grid", "replicates: 2")])
def test_another_experiment_or_other_data_have_another_plan(change: tuple[str, str]) -> None:
    one, other = (parse_experiment(text, "x.yaml") for text in (GRID, GRID.replace(*change)))
    keys = {current.plan_key(Search(*pair)) for pair in ((one, "f"), (other, "f"), (one, "g"))}
    assert len(keys) == 3


def test_other_workers_supersede_no_trial() -> None:
    texts = (GRID, f"{GRID}\nresources: {{cpu: 1, gpu: 0.5}}")
    keys = {current.plan_key(Search(parse_experiment(text, "x.yaml"), "f")) for text in texts}
    assert len(keys) == 1
