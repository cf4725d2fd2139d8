"""Bayesian search: the laws with a stand-in for the model, then keras-tuner's own."""

from __future__ import annotations

import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.cases import ENDLESS, FINITE, Dice, key
from tuner.experiment import Experiment, parse_experiment
from tuner.experiment.trial import Configuration
from tuner.search.bayesian import Bayesian, Knowledge, Surrogate, make_bayesian
from tuner.search.method import Proposal, Result
from tuner.search.planned import DrawnPlan, RandomPlan

BRANCHES = """
model: {choice: [{family: resnet, depth: {choice: [20, 32]}, dropout: {min: 0, max: 0.5}},
                 {family: densenet, growth_rate: {min: 12, max: 40}}]}
training: {learning_rate: {min: 1e-4, max: 0.1, scale: log}, l2: {choice: [0, 1e-4]},
           optimizer: {choice: [adam]}, batch_size: {choice: [32, full]}}
search: {method: METHOD, max_trials: TRIALS, seed: SEED}
"""
ONE = """
model: {family: resnet}
training: {learning_rate: {min: 1e-4, max: 0.1, scale: log}}
search: {method: METHOD, max_trials: TRIALS, seed: SEED}
"""
CLOSED = """
model: {family: resnet}
search: {method: METHOD, max_trials: TRIALS, seed: SEED}
"""
SPACES = {"finite": FINITE, "endless": ENDLESS, "branches": BRANCHES, "one": ONE}


def experiment(text: str, trials: int = 30, seed: int = 0, more: str = "") -> Experiment:
    text = text.replace("METHOD", "bayesian").replace("SEED", str(seed))
    return parse_experiment(text.replace("TRIALS", str(trials)) + more, "x.yaml")


def score(configuration: Configuration) -> float | None:
    """Some number of a configuration; one in eight fails."""
    drawn = random.Random(key(configuration)).random()
    return None if drawn < 0.125 else drawn


def result(proposal: Proposal) -> Result:
    return Result(proposal.configuration, score(proposal.configuration), ended=True)


def searched(method: Bayesian, workers: int = 1) -> list[str]:
    """All proposals, when the results of so many workers come in as chance wants it."""
    found, running = [], []
    rng = random.Random(0)
    while not method.exhausted or running:
        if len(running) < workers and (proposal := method.ask()) is not None:
            found.append(key(proposal))
            running.append(proposal)
        else:
            method.tell(result(running.pop(rng.randrange(len(running)))))
    assert method.ask() is None
    return found


@pytest.mark.parametrize("text", SPACES.values(), ids=SPACES.keys())
@pytest.mark.parametrize("workers", [1, 4])
def test_it_proposes_as_many_as_it_says_and_none_twice(dice, text, workers) -> None:
    for trials in (1, 12, 40):
        given = experiment(text, trials)
        method = make_bayesian(given)
        expected = min(trials, given.space.size) if given.space.is_finite else trials
        assert method.total == expected
        found = searched(method, workers)
        assert len(found) == len(set(found)) == expected


def test_a_finite_space_is_exhausted_exactly(dice) -> None:
    given = experiment(FINITE, 1000)
    assert sorted(searched(make_bayesian(given), 3)) == sorted(key(one) for one in given.space)


def test_nothing_open_is_one_configuration() -> None:
    method = make_bayesian(experiment(CLOSED, 5))
    assert (method.total, len(searched(method))) == (1, 1)


def test_a_space_that_turns_out_small_ends(dice) -> None:
    text = ONE.replace("learning_rate: {min: 1e-4, max: 0.1", "batch_size: {min: 16, max: 20")
    method = make_bayesian(experiment(text, 50))
    found, running = [], method.ask()
    while running is not None:
        found.append(running.configuration.training["batch_size"])
        method.tell(result(running))
        running = method.ask()
    assert sorted(found) == [16, 17, 18, 19, 20]
    assert method.exhausted
    assert method.total == 5


@pytest.mark.parametrize(("text", "plan"), [(FINITE, RandomPlan), (ENDLESS, DrawnPlan)])
def test_the_first_ones_are_those_of_random(dice, text, plan) -> None:
    given = experiment(text, 30, seed=5)
    method = make_bayesian(given)
    first = [key(one) for one in plan(given.space, 30, 5)][: method.num_initial]
    assert searched(make_bayesian(given))[: method.num_initial] == first


def test_three_results_for_each_open_value_of_a_configuration_come_first() -> None:
    expected = {"finite": 15, "endless": 9, "branches": 18, "one": 3}
    found = {name: make_bayesian(experiment(text)).num_initial for name, text in SPACES.items()}
    assert found == expected


def test_more_trials_keep_the_first_ones(dice) -> None:
    few, many = (searched(make_bayesian(experiment(ENDLESS, trials))) for trials in (14, 40))
    assert many[:14] == few


@pytest.mark.parametrize("text", SPACES.values(), ids=SPACES.keys())
@settings(max_examples=10)
@given(cut=st.integers(0, 30), running=st.integers(0, 3), rng=st.randoms(use_true_random=False))
def test_a_search_cut_anywhere_goes_on_as_if_it_had_not_been(text, cut, running, rng) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.search.bayesian.Surrogate", Dice)
        given = experiment(text)
        method = make_bayesian(given)
        asked = [proposal for _ in range(cut) if (proposal := step(method)) is not None]
        waiting = [proposal for _ in range(running) if (proposal := method.ask()) is not None]
        again = make_bayesian(given)
        again.restore(
            [*map(result, asked), *(Result(w.configuration, None, (), False) for w in waiting)]
        )
        assert [again.ask() for _ in waiting] == waiting
        assert again.total == method.total
        late = rng.sample(waiting, len(waiting))
        for proposal in late:
            method.tell(result(proposal))
            again.tell(result(proposal))
        assert searched(again) == searched(method)


def step(method: Bayesian) -> Proposal | None:
    proposal = method.ask()
    if proposal is not None:
        method.tell(result(proposal))
    return proposal


def test_the_order_in_which_results_come_in_makes_no_difference(dice) -> None:
    found = []
    for order in (1, -1):
        method = make_bayesian(experiment(ENDLESS))
        asked = [method.ask() for _ in range(12)]
        for proposal in asked[::order]:
            method.tell(result(proposal))
        found.append(key(method.ask()))
    assert found[0] == found[1]


def test_a_failure_is_as_bad_as_the_worst_and_never_best(dice) -> None:
    for direction, worst in (("max", -0.25), ("min", 0.75)):
        more = f"objective: {{metric: val_accuracy, direction: {direction}}}\n"
        method = make_bayesian(experiment(ONE, 10, more=more))
        for value in (0.5, None, 0.25, 0.75):
            method.tell(Result(method.ask().configuration, value))
        method.ask()
        costs = [cost for _, cost in Dice.told[-1].cost]
        assert len(costs) == 4
        assert costs[1] == max(costs) == worst


def test_a_search_of_nothing_but_failures_goes_on_at_random(dice) -> None:
    method = make_bayesian(experiment(ONE, 10))
    found = set()
    while (proposal := method.ask()) is not None:
        found.add(key(proposal))
        method.tell(Result(proposal.configuration, None))
    assert len(found) == 10


def test_what_is_being_trained_is_known_to_the_model(dice) -> None:
    method = make_bayesian(experiment(ONE, 10))
    for _ in range(3):
        method.tell(Result(method.ask().configuration, 0.5))
    asked = [key(method.ask()) for _ in range(3)]
    assert [len(known.waiting) for known in Dice.told] == [0, 1, 2]
    assert [key(one) for one in Dice.told[-1].waiting] == asked[:2]


def test_results_of_others_are_knowledge_if_they_are_of_the_space(dice) -> None:
    given = experiment(ONE, 10)
    foreign = [given.space.sample(random.Random(i)) for i in range(5)]
    elsewhere = experiment(BRANCHES).space.sample(random.Random(0))
    method = make_bayesian(given)
    method.restore([Result(one, 0.5) for one in (*foreign[:3], elsewhere, *foreign[3:])])
    proposal = method.ask()
    assert [key(one) for one, _ in Dice.told[0].cost] == [key(one) for one in foreign]
    assert key(proposal) not in {key(one) for one in foreign}
    assert len(searched(method)) == 10 - 5 - 1


def test_what_was_interrupted_past_a_lowered_max_trials_is_left_alone(dice) -> None:
    given = experiment(ONE, 2)
    points = list(DrawnPlan(given.space, 4, 0))
    method = make_bayesian(given)
    method.restore([Result(one, 0.5, ended=i % 2 == 0) for i, one in enumerate(points)])
    assert key(method.ask()) == key(points[1])
    assert method.exhausted


# keras-tuner's Gaussian process


def told(method: Bayesian, rounds: int, measure: Callable[[Configuration], float]) -> list[float]:
    scores = []
    for _ in range(rounds):
        proposal = method.ask()
        assert proposal is not None
        scores.append(measure(proposal.configuration))
        method.tell(Result(proposal.configuration, scores[-1]))
    return scores


def accuracy(configuration: Configuration) -> float:
    """Best at a learning rate of 10^-2.3; beta_2 and depth matter less."""
    training = configuration.training
    rate = math.log10(training["learning_rate"]) + 2.3
    memory = math.log10(1 - training["beta_2"]) + 2.5
    decay = math.log10(training["l2"]) + 4
    depth = (configuration.model["depth"] - 38) / 24
    return 0.7 - 0.08 * rate**2 - 0.03 * memory**2 - 0.02 * decay**2 - 0.03 * depth**2


SURFACE = """
model: {family: resnet, depth: {choice: [8, 20, 32, 44, 56]}}
training: {learning_rate: {min: 1e-5, max: 1, scale: log},
           beta_2: {min: 0.9, max: 0.9999, scale: reverse_log},
           l2: {min: 1e-6, max: 1e-2, scale: log}}
search: {method: METHOD, max_trials: TRIALS, seed: SEED}
"""


def test_it_finds_better_configurations_than_random_at_equal_trials() -> None:
    """The short form of benchmarks/search_bayesian.py: after the shared six, five each."""
    text = SURFACE.replace("depth: {choice: [8, 20, 32, 44, 56]}", "depth: 38")
    text = text.replace("{min: 1e-6, max: 1e-2, scale: log}", "1e-4")
    gains = []
    for seed in range(5):
        given = experiment(text, 11, seed)
        drawn = [accuracy(one) for one in DrawnPlan(given.space, 11, seed)]
        found = told(make_bayesian(given), 11, accuracy)
        assert found[:6] == drawn[:6]
        gains.append(max(found) - max(drawn))
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    assert statistics.fmean(gains) - 2.132 * error > 0  # the 5 % bound of Student's t


@pytest.mark.parametrize("direction", ["max", "min"])
def test_it_goes_where_the_objective_says(direction) -> None:
    given = experiment(ONE, 10, more=f"objective: {{metric: val_loss, direction: {direction}}}\n")

    def rising(configuration: Configuration) -> float:
        return math.log10(configuration.training["learning_rate"])

    scores = told(make_bayesian(given), 8, rising)
    assert max(scores) == -1 if direction == "max" else min(scores) == -4


def test_conditional_spaces_constants_and_mixed_options_work() -> None:
    given = experiment(BRANCHES)
    method = make_bayesian(given)
    found = [proposal for _ in range(24) if (proposal := step(method))]
    waiting = [method.ask() for _ in range(3)]
    assert all(given.space.find(one.configuration.flat()) for one in [*found, *waiting])
    assert len({key(one) for one in [*found, *waiting]}) == 27


def test_a_proposal_that_will_not_do_is_replaced_by_the_best_unseen_point() -> None:
    given = experiment(SURFACE, 30)
    surrogate = Surrogate(given.space, "tensorflow")
    points = list(DrawnPlan(given.space, 25, 0))
    known = Knowledge([(one, -accuracy(one)) for one in points[:20]], [])
    surrogate.propose(known, seed=1)
    candidates = [given.space.sample(random.Random(f"other {i}")) for i in range(40)]
    best = accuracy(surrogate.best_of([*candidates, points[3]]))
    assert best > statistics.quantiles(map(accuracy, candidates), n=4)[2]


def test_a_waiting_configuration_is_not_wanted_again() -> None:
    given = experiment(SURFACE, 30)
    surrogate = Surrogate(given.space, "tensorflow")
    cost = [(one, -accuracy(one)) for one in DrawnPlan(given.space, 15, 0)]
    first = surrogate.propose(Knowledge(cost, []), seed=1)
    second = surrogate.propose(Knowledge(cost, [first]), seed=1)
    rates = [math.log10(one.training["learning_rate"]) for one in (first, second)]
    memories = [math.log10(1 - one.training["beta_2"]) for one in (first, second)]
    assert abs(rates[0] - rates[1]) + abs(memories[0] - memories[1]) > 0.1


def test_a_proposed_number_has_eight_digits() -> None:
    method = make_bayesian(experiment(ONE, 5))
    for value in (0.1, 0.3, 0.2):
        method.tell(Result(method.ask().configuration, value))
    rate = method.ask().configuration.training["learning_rate"]
    assert float(f"{rate:.7e}") == rate


def test_a_fresh_process_proposes_the_same_and_loads_no_more_than_it_must() -> None:
    """Frameworks late, TensorFlow not for JAX, and no device taken."""
    program = """
import os, sys
sys.modules["tensorflow"] = None  # an import raises
from tests.search import test_bayesian as t
from tuner.search import make_method
method = make_method(t.experiment("backend: jax" + t.ONE, 5))
for _ in range(3):
    t.step(method)
assert method.total == 5 and not {"keras", "keras_tuner", "sklearn"} & set(sys.modules)
print(t.key(method.ask()))
import keras
assert keras.backend.backend() == "jax"
assert "KERAS_BACKEND" not in os.environ
from jax._src import xla_bridge
assert not xla_bridge._backends
"""
    environ = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    code = [sys.executable, "-c", program]
    environ["PYTHONHASHSEED"] = "4711"
    done = subprocess.run(code, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    method = make_bayesian(experiment(ONE, 5))
    for _ in range(3):
        step(method)
    assert done.stdout == key(method.ask()) + "\n"
