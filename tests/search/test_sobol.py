"""Sobol: more even than chance on every scale, within the constraints, and to the last point."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from tests.search.cases import CASES
from tuner.errors import InputError
from tuner.experiment import SearchSpace, parse_experiment
from tuner.experiment.constraints import parse_constraint
from tuner.search import make_method
from tuner.search.planned import DrawnPlan, Planned
from tuner.search.sobol import SobolPlan

CUBE = """
training:
  optimizer: sgd
  l2: {min: 0, max: 1}
  momentum: {min: 0, max: 0.5}
  learning_rate: {min: 1e-4, max: 1, scale: log}
"""


def space_of(text: str) -> SearchSpace:
    search = "search: {method: sobol, max_trials: 5}\n"
    model = "" if "model:" in text else "model: {family: resnet}\n"
    return parse_experiment(model + search + text, "x.yaml").space


def coordinates(plan: Planned) -> np.ndarray:
    """Every point of CUBE in the unit cube."""
    training = [point.training for point in plan]
    columns = [
        [one["l2"] for one in training],
        [one["momentum"] / 0.5 for one in training],
        [1 + math.log10(one["learning_rate"]) / 4 for one in training],
    ]
    return np.clip(np.array(columns).T, 0, 1)


@pytest.mark.parametrize("count", [16, 64, 100])
def test_its_discrepancy_is_below_that_of_random_draws(count: int) -> None:
    space = space_of(CUBE)
    for seed in range(20):
        even = qmc.discrepancy(coordinates(SobolPlan(space, count, seed)))
        drawn = qmc.discrepancy(coordinates(DrawnPlan(space, count, seed)))
        assert even < drawn / 2


def test_values_are_even_on_their_own_scale() -> None:
    text = """
training:
  learning_rate: {min: 1e-5, max: 0.1, scale: log}
  beta_2: {min: 0.9, max: 0.9999, scale: reverse_log}
  l2: {min: 0, max: 0.01}
"""
    for seed in range(5):
        training = [point.training for point in SobolPlan(space_of(text), 256, seed)]
        rates = [(math.log10(one["learning_rate"]) + 5) / 4 for one in training]
        betas = [(-math.log10(1 - one["beta_2"]) - 1) / 3 for one in training]
        decays = [one["l2"] / 0.01 for one in training]
        for shares in (rates, betas, decays):
            # Each 1/256 of the scale holds one value, so the steps of the ECDF are that far off.
            assert stats.kstest(shares, "uniform").statistic < 1.01 / 256


def test_powers_of_two_share_the_options_of_choices_equally() -> None:
    text = """
model: {family: resnet, dropout: {choice: [0, 0.1, 0.2, 0.3]}}
training: {batch_size: {choice: [8, 16, 32, 64, 128, 256, 512, 1024]}, epochs: {min: 1, max: 4096}}
"""
    points = list(SobolPlan(space_of(text), 64, seed=3))
    assert set(Counter(point.model["dropout"] for point in points).values()) == {16}
    assert set(Counter(point.training["batch_size"] for point in points).values()) == {8}


def test_branches_come_by_their_weight() -> None:
    text = """
model: {choice: [{family: resnet, depth: {choice: [20, 32, 44, 56]}}, {family: densenet}]}
training: {learning_rate: {min: 1e-4, max: 0.1, scale: log}}
"""
    points = SobolPlan(space_of(text), 64, seed=0)
    families = Counter(point.model["family"] for point in points)
    assert families == {"resnet": 32, "densenet": 32}


@pytest.mark.parametrize("seed", range(3))
def test_a_finite_space_is_exhausted_exactly(seed: int) -> None:
    space = CASES["sobol over a finite space"].experiment(32).space
    plan = SobolPlan(space, 1_000, seed)
    numbers = [space.index(point.flat()) for point in plan]
    assert plan.total == len(plan) == 32
    assert sorted(numbers) == list(range(32))


def test_a_large_finite_space_that_constraints_thin_out_is_exhausted_too() -> None:
    text = """
training: {epochs: {min: 1, max: 60}, batch_size: {min: 1, max: 60}}
search: {method: sobol, max_trials: 9, constraints: ["epochs * batch_size == 720 or epochs < 5"]}
"""
    space = parse_experiment("model: {family: resnet}\n" + text, "x.yaml").space
    points = [tuple(point.values.values()) for point in SobolPlan(space, 10**9, seed=0)]
    pairs = itertools.product(range(1, 61), repeat=2)
    assert sorted(points) == [pair for pair in pairs if math.prod(pair) == 720 or pair[0] < 5]


def test_a_continuum_that_turns_out_small_ends_the_plan() -> None:
    text = "training: {batch_size: {min: 16, max: 20, scale: log}}"
    plan = SobolPlan(space_of(text), 50, seed=0)
    assert sorted(point.training["batch_size"] for point in plan) == [16, 17, 18, 19, 20]
    assert plan.total == 5
    with pytest.raises(IndexError):
        plan[5]


def test_what_is_never_admitted_is_said_and_not_looked_for_for_ever() -> None:
    branch = space_of("training: {l2: {min: 0, max: 1}}\n").branches[0]
    rare = parse_constraint("l2 < 0.01", ["training.l2"])
    space = SearchSpace((replace(branch, constraints=(rare,)),))
    assert max(point.training["l2"] for point in SobolPlan(space, 20, 0)) < 0.01
    never = parse_constraint("l2 < 0", ["training.l2"])
    space = SearchSpace((replace(branch, constraints=(never,)),))
    with pytest.raises(InputError, match="nothing was admitted"):
        SobolPlan(space, 5, 0)[0]


@pytest.mark.parametrize("plan", [SobolPlan, DrawnPlan])
def test_many_draws_keep_the_constraints(plan: type[SobolPlan]) -> None:
    space = CASES["sobol without end"].experiment(5).space
    made = plan(space, 10_000, 0)
    worst = max(one.model["depth"] * one.training["l2"] for one in made)
    assert made.total == 10_000
    assert 0.199 < worst < 0.2


def test_another_seed_scrambles_otherwise() -> None:
    space = space_of(CUBE)
    one, other = (coordinates(SobolPlan(space, 32, seed)) for seed in (0, 1))
    assert not np.isclose(one, other).any()


def test_scipy_is_loaded_when_a_point_is_asked_for() -> None:
    program = """
import sys
from tuner.experiment import parse_experiment
from tuner.experiment.constraints import parse_constraint
from tuner.search import make_method
method = make_method(parse_experiment(sys.argv[1], "x.yaml"))
total = method.total
print("scipy" in sys.modules)
method.ask()
print("scipy" in sys.modules)
"""
    source = CASES["sobol without end"].source()
    command = [sys.executable, "-c", program, source]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "True"]


def test_the_method_is_made_by_name() -> None:
    assert isinstance(make_method(CASES["sobol without end"].experiment(5)), SobolPlan)
