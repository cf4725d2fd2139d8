"""Racing compares configurations by their scores as they are, also where a trial went on."""

from __future__ import annotations

import random

import pytest

from tuner.experiment.objective import Objective
from tuner.search.racing import Racing


def test_a_score_that_takes_the_place_of_another_counts_as_if_it_had_been_the_first() -> None:
    rng, objective = random.Random(0), Objective("val_accuracy", "max")
    scores = {f"{name}": [0.1 * name + rng.gauss(0, 0.02) for _ in range(4)] for name in range(4)}
    plain, changed = Racing(objective), Racing(objective)
    for name, values in scores.items():
        for value in values:
            plain.note(name, value)
            early = rng.random()
            changed.note(name, early)
            changed.note(name, value, instead_of=early)
    said = [plain.verdict(name, values[:2]) for name, values in scores.items()]
    assert [changed.verdict(name, values[:2]) for name, values in scores.items()] == said
    assert [bool(reason) for reason in said] == [True, True, True, False]
    assert changed._squares == pytest.approx(plain._squares)
    assert changed._degrees == plain._degrees == 12
