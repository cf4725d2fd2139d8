"""Grid and random as sequences."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from scipy import stats

from tests.search.cases import CASES
from tuner.experiment import parse_experiment
from tuner.search import make_method
from tuner.search.planned import DrawnPlan, GridPlan, RandomPlan

FINITE = CASES["random over a finite space"]


def test_a_grid_is_the_space_in_its_order() -> None:
    experiment = CASES["grid"].experiment(None)
    assert list(GridPlan(experiment.space)) == list(experiment.space)
    assert list(make_method(CASES["grid"].experiment(5))) == list(experiment.space)[:5]  # type: ignore[call-overload]


def test_random_exhausts_a_finite_space_exactly() -> None:
    space = FINITE.experiment(32).space
    plan = RandomPlan(space, 1_000, seed=3)
    assert plan.total == len(plan) == len(space)
    numbers = [space.index(point.flat()) for point in plan]
    assert sorted(numbers) == list(range(len(space)))
    assert numbers != sorted(numbers)


def test_a_point_of_a_plan_needs_none_before_it() -> None:
    space = FINITE.experiment(32).space
    assert RandomPlan(space, None, seed=1)[30] == list(RandomPlan(space, None, seed=1))[30]
    for index in (-1, 32):
        with pytest.raises(IndexError):
            RandomPlan(space, None, seed=1)[index]


def test_a_random_point_of_thousands_of_millions_is_found_at_once() -> None:
    space = parse_experiment(
        "model: {family: resnet}\n"
        "training: {epochs: {min: 1, max: 1000000000}, batch_size: {min: 1, max: 1000000}}\n"
        "search: {method: random, max_trials: 100}\n",
        "x.yaml",
    ).space
    start = time.perf_counter()
    plan = RandomPlan(space, None, seed=0)
    points = [plan[index] for index in (0, 10**12, 10**15 - 1)]
    assert time.perf_counter() - start < 0.1
    assert len({point.training["epochs"] for point in points}) == 3


def test_every_point_is_equally_likely_to_come_first() -> None:
    space = FINITE.experiment(32).space
    firsts = Counter(space.index(RandomPlan(space, 1, seed)[0].flat()) for seed in range(3200))
    assert stats.chisquare([firsts[number] for number in range(32)]).pvalue > 1e-3


def test_draws_ignore_a_range_that_was_closed_meanwhile() -> None:
    """Draw `i` has its own generator: what other draws consumed does not matter."""
    plan = DrawnPlan(CASES["random without end"].experiment(50).space, 50, seed=0)
    again = DrawnPlan(CASES["random without end"].experiment(50).space, 50, seed=0)
    assert plan[40] == list(again)[40]


def test_a_space_that_turns_out_small_is_exhausted_and_the_plan_ends() -> None:
    experiment = parse_experiment(
        "model: {family: resnet}\n"
        "training: {batch_size: {min: 16, max: 20, scale: log}}\n"
        "search: {method: random, max_trials: 50}\n",
        "x.yaml",
    )
    method = make_method(experiment)
    found = []
    while (point := method.ask()) is not None:
        found.append(point.configuration.training["batch_size"])
    assert sorted(found) == [16, 17, 18, 19, 20]
    assert method.exhausted
    assert method.total == 5


def test_a_grid_beyond_what_len_can_hold_still_has_a_total_and_points() -> None:
    experiment = parse_experiment(
        "model: {family: resnet}\n"
        "training: {epochs: {min: 1, max: 10000000000}, batch_size: {min: 1, max: 10000000000}}\n",
        "x.yaml",
    )
    method = make_method(experiment)
    assert method.total == 10**20
    proposal = method.ask()
    assert proposal is not None
    first = {"training.epochs": 1, "training.batch_size": 1}
    assert json.dumps(proposal.configuration.values) == json.dumps(first)
