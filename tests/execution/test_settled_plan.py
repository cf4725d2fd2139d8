"""A plan that was settled is counted without looking at its trials, and exactly."""

from __future__ import annotations

import pytest

from tuner.execution import membership
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome

GRID = """
model: {family: resnet, depth: 8}
data: {dataset: synthetic}
training: {epochs: 2, learning_rate: {choice: [0.1, 0.01, 0.001]}}
search: {replicates: 2}
"""
EDITED = GRID.replace("0.001]", "0.0001]")


def experiment(text):
    return parse_experiment(text, "x.yaml")


def add(ledger, text, count):
    """Adds and completes the first trials that the ledger does not have yet."""
    known = ledger.by_key()
    trials = [t for t in membership.all_trials(experiment(text), "f") if t.key not in known][:count]
    new = [NewTrial(t.key, t.configuration.flat(), {}, t.replicate, t.seed, "s") for t in trials]
    for number in ledger.add(new):
        ledger.finish(number, Outcome(TrialState.COMPLETED, 0.5, 1))


@pytest.fixture
def ledger(tmp_path):
    with Ledger.create_or_open(tmp_path / "ledger.sqlite", "x") as opened:
        yield opened


def completed(ledger, text):
    return membership.count_planned(experiment(text), "f", ledger)[TrialState.COMPLETED]


def test_settled_counts_are_those_of_looking_at_every_trial(ledger):
    for text, count in ((GRID, 3), (EDITED, 1), (GRID, 2), (EDITED, 1)):
        settled = membership.settle_plan(experiment(text), "f", ledger)
        add(ledger, text, count)
        slow = membership._counted(experiment(text), "f", ledger, ledger.by_key())
        assert membership.count_planned(experiment(text), "f", ledger) == slow
        assert settled[TrialState.COMPLETED] == slow[TrialState.COMPLETED] - count
    # Four trials of the first file's six are of the second's, too.
    assert completed(ledger, GRID) + completed(ledger, EDITED) > sum(ledger.counts().values())


def test_a_settled_plan_makes_no_trial(ledger, monkeypatch):
    membership.settle_plan(experiment(GRID), "f", ledger)
    add(ledger, GRID, 4)
    monkeypatch.setattr(membership, "all_trials", None)
    assert completed(ledger, GRID) == 4
    assert membership.settle_plan(experiment(GRID), "f", ledger)[TrialState.COMPLETED] == 4


@pytest.mark.parametrize("change", [("0.1,", "0.2,"), ("replicates: 2", "replicates: 1")])
def test_another_experiment_has_another_plan(change):
    keys = {membership.plan_key(experiment(text), "f") for text in (GRID, GRID.replace(*change))}
    assert len(keys | {membership.plan_key(experiment(GRID), "other data")}) == 3
