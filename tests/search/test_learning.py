"""Searches that learn: their laws, with a stand-in for the model."""

from __future__ import annotations

import random
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.cases import ENDLESS, FINITE, Dice, key
from tuner.experiment import Experiment, parse_experiment
from tuner.experiment.trial import Configuration
from tuner.search import make_method
from tuner.search.learning import LearningSearch, standings
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


def searched(method: LearningSearch, workers: int = 1) -> list[str]:
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
        method = make_method(given)
        expected = min(trials, given.space.size) if given.space.is_finite else trials
        assert method.total == expected
        found = searched(method, workers)
        assert len(found) == len(set(found)) == expected


def test_a_finite_space_is_exhausted_exactly(dice) -> None:
    given = experiment(FINITE, 1000)
    assert sorted(searched(make_method(given), 3)) == sorted(key(one) for one in given.space)


def test_nothing_open_is_one_configuration() -> None:
    method = make_method(experiment(CLOSED, 5))
    assert (method.total, len(searched(method))) == (1, 1)


def test_a_space_that_turns_out_small_ends(dice) -> None:
    text = ONE.replace("learning_rate: {min: 1e-4, max: 0.1", "batch_size: {min: 16, max: 20")
    method = make_method(experiment(text, 50))
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
    method = make_method(given)
    first = [key(one) for one in plan(given.space, 30, 5)][: method.num_initial]
    assert searched(make_method(given))[: method.num_initial] == first


def test_a_result_for_each_open_value_of_a_configuration_and_one_come_first() -> None:
    expected = {"finite": 6, "endless": 4, "branches": 7, "one": 2}
    found = {name: make_method(experiment(text)).num_initial for name, text in SPACES.items()}
    assert found == expected


def test_more_trials_keep_the_first_ones(dice) -> None:
    few, many = (searched(make_method(experiment(ENDLESS, trials))) for trials in (14, 40))
    assert many[:14] == few


@pytest.mark.parametrize("text", SPACES.values(), ids=SPACES.keys())
@settings(max_examples=10)
@given(cut=st.integers(0, 30), running=st.integers(0, 3), rng=st.randoms(use_true_random=False))
def test_a_search_cut_anywhere_goes_on_as_if_it_had_not_been(text, cut, running, rng) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.search.bayesian.GaussianProcess", Dice)
        given = experiment(text)
        method = make_method(given)
        asked = [proposal for _ in range(cut) if (proposal := step(method)) is not None]
        waiting = [proposal for _ in range(running) if (proposal := method.ask()) is not None]
        again = make_method(given)
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


def step(method: LearningSearch) -> Proposal | None:
    proposal = method.ask()
    if proposal is not None:
        method.tell(result(proposal))
    return proposal


def test_the_order_in_which_results_come_in_makes_no_difference(dice) -> None:
    found = []
    for order in (1, -1):
        method = make_method(experiment(ENDLESS))
        asked = [method.ask() for _ in range(12)]
        for proposal in asked[::order]:
            method.tell(result(proposal))
        found.append(key(method.ask()))
    assert found[0] == found[1]


def test_a_failure_is_the_worst(dice) -> None:
    for direction, order in (("max", [1, 2, 0, 3]), ("min", [1, 3, 0, 2])):
        more = f"objective: {{metric: val_accuracy, direction: {direction}}}\n"
        method = make_method(experiment(ONE, 10, more=more))
        for value in (0.5, None, 0.25, 0.75):
            method.tell(Result(method.ask().configuration, value))
        method.ask()
        values = [value for _, value in Dice.told[-1].ended]
        assert sorted(range(4), key=values.__getitem__) == order


def test_a_search_of_nothing_but_failures_goes_on_at_random(dice) -> None:
    method = make_method(experiment(ONE, 10))
    found = set()
    while (proposal := method.ask()) is not None:
        found.add(key(proposal))
        method.tell(Result(proposal.configuration, None))
    assert len(found) == 10


def test_what_is_being_trained_is_known_to_the_model(dice) -> None:
    given = experiment(ONE, 10)
    method = make_method(given)
    for _ in range(2):
        method.tell(Result(method.ask().configuration, 0.5))
    asked = [key(method.ask()) for _ in range(3)]
    assert [len(known.waiting) for known in Dice.told] == [0, 1, 2]
    assert [key(given.space.branches[0].close(p.values)) for p in Dice.told[-1].waiting] == asked[
        :2
    ]


def test_results_of_others_are_knowledge_if_they_are_of_the_space(dice) -> None:
    given = experiment(ONE, 10)
    foreign = [given.space.sample(random.Random(i)) for i in range(5)]
    elsewhere = experiment(BRANCHES).space.sample(random.Random(0))
    method = make_method(given)
    method.restore([Result(one, 0.5) for one in (*foreign[:3], elsewhere, *foreign[3:])])
    proposal = method.ask()
    assert [point.values for point, _ in Dice.told[0].ended] == [one.values for one in foreign]
    assert key(proposal) not in {key(one) for one in foreign}
    assert len(searched(method)) == 10 - 5 - 1


def test_what_was_interrupted_past_a_lowered_max_trials_is_left_alone(dice) -> None:
    given = experiment(ONE, 2)
    points = list(DrawnPlan(given.space, 4, 0))
    method = make_method(given)
    method.restore([Result(one, 0.5, ended=i % 2 == 0) for i, one in enumerate(points)])
    assert key(method.ask()) == key(points[1])
    assert method.exhausted


# what is learnt from trials that were stopped


def ordered(*curves: tuple[float, ...] | None, direction: str = "max") -> list[str]:
    """Letters from the worst to the best, of trials of four epochs at most."""
    text = ONE.replace("learning_rate", "epochs: 4, learning_rate")
    more = f"objective: {{metric: val_accuracy, direction: {direction}}}\n"
    given = experiment(text, more=more)
    best = max if direction == "max" else min
    results = [
        Result(given.space.sample(random.Random(i)), best(curve) if curve else None, curve or ())
        for i, curve in enumerate(curves)
    ]
    values = standings(results, given.objective)
    return ["ABCDEFGH"[i] for i in sorted(range(len(curves)), key=values.__getitem__)]


def test_trials_are_compared_after_equally_many_epochs() -> None:
    # A and B were trained to the end, C and D stopped after one epoch, E after two.
    curves = ((0.1, 0.2, 0.3, 0.4), (0.3, 0.4, 0.6, 0.7), (0.2,), (0.05,), (0.25, 0.3))
    # After one: D A C E B. Of A, E and B, who had two, A is still the worst.
    assert ordered(*curves) == ["D", "A", "C", "E", "B"]
    # It overtakes E, and takes its place, when it has learnt more in the second epoch.
    assert ordered((0.1, 0.35, 0.4, 0.4), *curves[1:]) == ["D", "E", "C", "A", "B"]
    losses = [tuple(-value for value in curve) for curve in curves]
    assert ordered(*losses, direction="min") == ["D", "A", "C", "E", "B"]


def test_without_stopped_trials_scores_alone_count_and_failures_are_equally_last() -> None:
    given = experiment(ONE)
    scores = [0.3, None, 0.1, 0.9, None, 0.2]
    results = [Result(given.space.sample(random.Random(i)), s) for i, s in enumerate(scores)]
    values = standings(results, given.objective)
    assert values[1] == values[4] == min(values) < 0
    assert sorted(range(6), key=values.__getitem__)[2:] == [2, 5, 0, 3]
    assert max(values) == pytest.approx(-NormalDist().inv_cdf(1 / 12))


def test_a_stopped_trial_that_went_on_after_all_counts_once_as_what_it_came_to(dice) -> None:
    text = ONE.replace("learning_rate", "epochs: 4, learning_rate")
    method = make_method(experiment(text, 10))
    asked = [method.ask().configuration for _ in range(3)]
    method.tell(Result(asked[0], 0.1, (0.1,)))
    method.tell(Result(asked[1], 0.3, (0.2, 0.2, 0.3, 0.3)))
    method.tell(Result(asked[2], 0.2, (0.05, 0.2, 0.2, 0.2)))
    method.tell(Result(asked[0], 0.4, (0.1, 0.2, 0.3, 0.4)))
    method.ask()
    values = [value for _, value in Dice.told[-1].ended]
    assert sorted(range(3), key=values.__getitem__) == [2, 1, 0]
