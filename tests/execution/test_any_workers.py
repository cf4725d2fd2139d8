"""What a search proposes does not depend on how many workers there are, nor on who is faster.

docs/experiment.md says of which methods that is true.
"""

from __future__ import annotations

from functools import partial

import pytest

from tests.execution.conftest import Bench, ShuffledPool, dying, epochs_behind, metrics, raising
from tuner.execution.protocol import Epoch, Finished
from tuner.experiment.trial import TrialState
from tuner.ledger.checkpoint import SavedCheckpoint

SPACE = """
name: search
model: {family: resnet, depth: {choice: [8, 14, 20]}}
data: {dataset: synthetic}
training:
  epochs: 9
  learning_rate: {min: 0.001, max: 0.1, scale: log}
  l2: {choice: [0, 0.0001, 0.001]}
"""
GRID = SPACE.replace("scale: log", "scale: log, count: 5")
LISTED = """
name: search
model: {family: resnet}
data: {dataset: synthetic}
training: {epochs: 9}
search: {method: list, configurations: {depth: [20, 8, 14, 8], l2: [0, 0, 0.001, 0.0001],
  learning_rate: [0.100004, 0.010005, 0.02, 0.050009]}}
"""
START = "start: [{depth: 20, learning_rate: 0.03, l2: 0}]"
ALIKE = {
    "grid": GRID,
    "a part of a grid under two seeds": GRID + "search: {max_trials: 20, replicates: 2}",
    "list": LISTED,
    "random": SPACE + "search: {method: random, max_trials: 30}",
    "random over a grid": GRID + "search: {method: random, max_trials: 30}",
    "random with a start": SPACE + f"search: {{method: random, max_trials: 20, {START}}}",
    "sobol": SPACE + "search: {method: sobol, max_trials: 30}",
    "hyperband": SPACE + "search: {method: hyperband, max_trials: 40}",
    "hyperband under two seeds": SPACE
    + "search: {method: hyperband, max_trials: 22, replicates: 2}",
    "patience": SPACE
    + "search: {method: random, max_trials: 20, stop: {rule: patience, epochs: 2}}",
    "threshold": SPACE
    + "search: {method: sobol, max_trials: 20, stop: {rule: threshold, epochs: 3, value: 0.4}}",
}
PROPOSED = {
    "asha": SPACE + "search: {method: random, max_trials: 30, stop: {rule: asha}}",
    "median": GRID + "search: {method: grid, stop: {rule: median, min_trials: 3}}",
}
WORKERS = (1, 2, 7)


def fate(task):
    """Of a trial, by its configuration alone: some fail, and some first lose their worker."""
    luck = task.training["learning_rate"] * 1e6 % 10
    if luck < 1:
        return raising(task)
    if luck > 8.5 and task.attempt == 1:
        return dying(task)
    height = 0.9 - abs(task.training["learning_rate"] - 0.02) * 5 + task.seed / 100
    rise = task.model["depth"] / 2
    reports = [
        Epoch(
            task.number,
            epoch,
            metrics(height * min(1.0, epoch / rise)),
            0.1,
            checkpoint=SavedCheckpoint(f"{task.number}-{epoch}.npz", "0" * 64, 10),
        )
        for epoch in range(epochs_behind(task) + 1, task.until + 1)
    ]
    return [*reports, Finished(task.number)]


def runs(folder, text):
    for workers in WORKERS:
        bench = Bench(folder / str(workers), text, partial(ShuffledPool, seed=workers))
        bench.folder.mkdir()
        yield bench.run(fate, workers=workers)
        assert bench.ending == "done"


@pytest.mark.parametrize("text", ALIKE.values(), ids=ALIKE.keys())
def test_trials_and_their_outcomes_are_the_same(tmp_path, text):
    one, *others = (
        {row.key: (row.state, row.epochs, row.score, row.metrics) for row in rows}
        for rows in runs(tmp_path, text)
    )
    assert TrialState.COMPLETED in {state for state, *_ in one.values()}
    assert all(outcomes == one for outcomes in others)


@pytest.mark.parametrize("text", PROPOSED.values(), ids=PROPOSED.keys())
def test_a_rule_that_compares_leaves_the_proposals_as_they_are(tmp_path, text):
    one, *others = ({row.key for row in rows} for rows in runs(tmp_path, text))
    assert all(keys == one for keys in others)
