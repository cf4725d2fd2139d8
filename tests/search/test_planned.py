"""Methods that plan ahead, as sequences: grid, random without replacement, draws, Sobol."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from tests.search.cases import CASES
from tuner.errors import InputError
from tuner.experiment import SearchSpace, parse_experiment
from tuner.experiment.constraints import parse_constraint
from tuner.search import make_method
from tuner.search.planned import (
    DrawnPlan,
    GridPlan,
    Permutation,
    Planned,
    RandomPlan,
    SobolPlan,
    TopDownOrder,
)

FINITE = CASES["random over a finite space"]


def test_a_grid_is_the_space_in_its_order() -> None:
    experiment = CASES["grid"].experiment(None)
    assert list(GridPlan(experiment.space)) == list(experiment.space)
    assert list(make_method(CASES["grid"].experiment(5))) == list(experiment.space)[:5]  # type: ignore[call-overload]


def test_a_point_of_a_plan_needs_none_before_it() -> None:
    """Point `i` has its own generator: what others consumed does not matter."""
    drawn = DrawnPlan(CASES["random without end"].experiment(50).space, 50, seed=0)
    for plan in (RandomPlan(FINITE.experiment(32).space, None, seed=1), drawn):
        assert plan[30] == list(plan)[30]
        for index in (-1, 32 if plan is not drawn else 50):
            with pytest.raises(IndexError):
                plan[index]


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


def test_what_comes_first_is_drawn_from_the_top_down() -> None:
    """Families by halves, then every value alike; where a constraint excludes, one draws again."""
    space = FINITE.experiment(32).space
    assert not space.is_even
    firsts = Counter(space.index(RandomPlan(space, 1, seed)[0].flat()) for seed in range(3200))
    shares = np.repeat(np.divide([1, 1], [24, 18]), [branch.grid.size for branch in space.branches])
    expected = 3200 * shares / shares.sum()
    assert stats.chisquare([firsts[n] for n in range(32)], expected).pvalue > 1e-3


def test_where_all_points_are_alike_the_order_is_a_permutation_of_them() -> None:
    text = """
model: {choice: [{family: plain}, {family: lenet}]}
training: {batch_size: {choice: [8, 16]}, optimizer: {choice: [adam, sgd, adamw]}}
"""
    space = space_of(text)
    assert space.is_even
    order = Permutation(12, 4)
    assert [space.index(point.flat()) for point in RandomPlan(space, 12, 4)] == list(order)  # type: ignore[call-overload]


NESTED = """
model:
  choice:
    - {family: lenet}
    - {family: mlp, hidden_units: {min: 8, max: 993}}
    - {choice: [{family: resnet, depth: {choice: [20, 32]}}, {family: densenet, depth: 40}]}
"""


def test_every_option_has_its_share_until_all_of_it_was_drawn() -> None:
    space = space_of(NESTED)
    families = [[p.model["family"] for p in RandomPlan(space, 90, seed)] for seed in range(300)]
    for number in (0, 40):
        firsts = Counter(each[number] for each in families)
        assert (firsts["lenet"] > 0) == (number == 0)
    shares = Counter(each[0] for each in families)
    expected = {"lenet": 100, "mlp": 100, "resnet": 50, "densenet": 50}
    names = sorted(expected)
    pvalue = stats.chisquare([shares[n] for n in names], [expected[n] for n in names]).pvalue
    assert pvalue > 1e-3
    # What is left has all of the draws: 4 points are no mlp.
    assert {each.count("mlp") for each in families} == {86}


def test_many_draws_of_a_union_are_quick_and_all_different() -> None:
    text = NESTED + "training: {epochs: {min: 1, max: 1000000}}\n"
    space = space_of(text)
    plan, start = TopDownOrder(space, 0), time.perf_counter()
    plan[19_999]
    assert time.perf_counter() - start < 5
    assert len({plan[index] for index in range(20_000)}) == 20_000


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


@pytest.mark.parametrize("plan", [RandomPlan, SobolPlan])
@pytest.mark.parametrize("seed", range(3))
def test_a_finite_space_is_exhausted_exactly(plan: type[RandomPlan], seed: int) -> None:
    space = FINITE.experiment(32).space
    made = plan(space, 1_000, seed)
    numbers = [space.index(point.flat()) for point in made]
    assert made.total == len(made) == len(space)
    assert sorted(numbers) == list(range(32)) != numbers


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_a_continuum_that_turns_out_small_ends_the_plan(method: str) -> None:
    text = "training: {batch_size: {min: 16, max: 20, scale: log}}\n"
    search = f"search: {{method: {method}, max_trials: 50}}\n"
    plan = make_method(parse_experiment("model: {family: resnet}\n" + text + search, "x.yaml"))
    found = []
    while (point := plan.ask()) is not None:
        found.append(point.configuration.training["batch_size"])
    assert sorted(found) == [16, 17, 18, 19, 20]
    assert plan.exhausted
    assert plan.total == 5


# Sobol: more even than chance on every scale, within the constraints

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


def test_a_large_finite_space_that_constraints_thin_out_is_exhausted_too() -> None:
    text = """
training: {epochs: {min: 1, max: 60}, batch_size: {min: 1, max: 60}}
search: {method: sobol, max_trials: 9, constraints: ["epochs * batch_size == 720 or epochs < 5"]}
"""
    space = parse_experiment("model: {family: resnet}\n" + text, "x.yaml").space
    points = [tuple(point.values.values()) for point in SobolPlan(space, 10**9, seed=0)]
    pairs = itertools.product(range(1, 61), repeat=2)
    assert sorted(points) == [pair for pair in pairs if math.prod(pair) == 720 or pair[0] < 5]


def test_what_is_never_admitted_is_said_and_not_looked_for_for_ever() -> None:
    branch = space_of("training: {l2: {min: 0, max: 1}}\n").branches[0]
    rare = parse_constraint("l2 < 0.01", ["training.l2"])
    space = SearchSpace((replace(branch, constraints=(rare,)),))
    assert max(point.training["l2"] for point in SobolPlan(space, 20, 0)) < 0.01
    never = parse_constraint("l2 < 0", ["training.l2"])
    space = SearchSpace((replace(branch, constraints=(never,)),))
    with pytest.raises(InputError, match="nothing was allowed"):
        SobolPlan(space, 5, 0)[0]


@pytest.mark.parametrize("plan", [SobolPlan, DrawnPlan])
def test_many_draws_keep_the_constraints(plan: type[SobolPlan]) -> None:
    space = CASES["sobol without end"].experiment(5).space
    made = plan(space, 4_000, 0)
    worst = max(one.model["depth"] * one.training["l2"] for one in made)
    assert made.total == 4_000
    assert 0.198 < worst < 0.2


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


# a random order without a list


@given(st.integers(1, 3000), st.integers(0, 2**31 - 1))
def test_every_number_comes_exactly_once(size: int, seed: int) -> None:
    order = Permutation(size, seed)
    assert sorted(order[index] for index in range(size)) == list(range(size))


@pytest.mark.parametrize("size", [2, 5, 17])
def test_each_place_holds_each_number_equally_often_over_seeds(size: int) -> None:
    for place in {0, size // 2, size - 1}:
        counts = [0] * size
        for seed in range(400 * size):
            counts[Permutation(size, seed)[place]] += 1
        assert stats.chisquare(counts).pvalue > 1e-4


def test_neighbours_are_not_kept_together() -> None:
    size = 10_000
    order = [Permutation(size, 7)[index] for index in range(size)]
    assert abs(stats.spearmanr(range(size), order).statistic) < 0.04
    assert abs(stats.spearmanr(order[:-1], order[1:]).statistic) < 0.04


def test_a_known_order_stays_what_it_is() -> None:
    """Raising max_trials of an old study must keep what was done."""
    assert [Permutation(10, 0)[index] for index in range(10)] == [3, 2, 4, 6, 7, 9, 0, 8, 1, 5]
