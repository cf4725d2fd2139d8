"""What models propose after some results: the Gaussian process, and Optuna's Parzen estimators."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.search.cases import key
from tests.search.test_learning import BRANCHES, ONE, experiment, step
from tuner.errors import InputError, TunerError
from tuner.experiment import Experiment
from tuner.experiment.trial import Configuration
from tuner.search import make_method
from tuner.search.bayesian import GaussianProcess
from tuner.search.learning import Knowledge, Model
from tuner.search.method import Result, SearchMethod
from tuner.search.planned import DrawnPlan
from tuner.search.tpe import ParzenEstimators

METHODS = ("bayesian", "tpe")
SURFACE = """
model: {family: resnet, depth: {choice: [8, 20, 32, 44, 56]}}
training: {learning_rate: {min: 1e-5, max: 1, scale: log},
           beta_2: {min: 0.9, max: 0.9999, scale: reverse_log},
           l2: {min: 1e-6, max: 1e-2, scale: log}}
search: {method: METHOD, max_trials: TRIALS, seed: SEED}
"""
WITH_TWO = SURFACE.replace("depth: {choice: [8, 20, 32, 44, 56]}", "depth: 38").replace(
    "{min: 1e-6, max: 1e-2, scale: log}", "1e-4"
)


def of(text: str, method: str, trials: int = 30, seed: int = 0, more: str = "") -> Experiment:
    return experiment(text.replace("METHOD", method), trials, seed, more)


def accuracy(configuration: Configuration) -> float:
    """Best at a learning rate of 10^-2.3; beta_2 and depth matter less."""
    training = configuration.training
    rate = math.log10(training["learning_rate"]) + 2.3
    memory = math.log10(1 - training["beta_2"]) + 2.5
    decay = math.log10(training["l2"]) + 4
    depth = (configuration.model["depth"] - 38) / 24
    return 0.7 - 0.08 * rate**2 - 0.03 * memory**2 - 0.02 * decay**2 - 0.03 * depth**2


def told(
    method: SearchMethod, rounds: int, measure: Callable[[Configuration], float]
) -> list[float]:
    scores = []
    for _ in range(rounds):
        proposal = method.ask()
        assert proposal is not None
        scores.append(measure(proposal.configuration))
        method.tell(Result(proposal.configuration, scores[-1]))
    return scores


@pytest.mark.parametrize(
    ("name", "text", "trials"), [("bayesian", WITH_TWO, 11), ("tpe", SURFACE, 40)]
)
def test_it_finds_better_configurations_than_random_at_equal_trials(name, text, trials) -> None:
    """At equal trials on a smooth surface; the first ones are shared."""
    gains = []
    for seed in range(5):
        given = of(text, name, trials, seed)
        method = make_method(given)
        drawn = [accuracy(one) for one in DrawnPlan(given.space, trials, seed)]
        found = told(method, trials, accuracy)
        assert found[: method.num_initial] == drawn[: method.num_initial]
        gains.append(max(found) - max(drawn))
    assert sum(gain > 0 for gain in gains) >= 4
    assert statistics.fmean(gains) > 0.005


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("direction", ["max", "min"])
def test_it_goes_where_the_objective_says(name, direction) -> None:
    more = f"objective: {{metric: val_loss, direction: {direction}}}\n"
    method = make_method(of(ONE, name, 20, more=more))

    def rising(configuration: Configuration) -> float:
        return math.log10(configuration.training["learning_rate"])

    scores = told(method, 14, rising)
    assert max(scores) > -1.1 if direction == "max" else min(scores) < -3.9


@pytest.mark.parametrize("name", METHODS)
def test_conditional_spaces_constants_and_mixed_options_work(name) -> None:
    given = of(BRANCHES, name)
    method = make_method(given)
    found = [proposal for _ in range(24) if (proposal := step(method))]
    waiting = [method.ask() for _ in range(3)]
    assert all(given.space.find(one.configuration.flat()) for one in [*found, *waiting])
    assert len({key(one) for one in [*found, *waiting]}) == 27


def models(space) -> list[Model]:
    return [GaussianProcess(space, 0), ParzenEstimators(space)]


def test_what_is_being_trained_is_not_wanted_again() -> None:
    given = of(SURFACE, "bayesian")
    ended = [one for one in DrawnPlan(given.space, 25, 0) if accuracy(one) > -1]
    values = sorted((accuracy(one), i) for i, one in enumerate(ended))
    known = [(point_of(given, ended[i]), rank / len(ended)) for rank, (_, i) in enumerate(values)]
    for model in models(given.space):
        first = next(model.proposals(Knowledge(known, []), seed=1))
        waiting = [first] * 4
        second = next(model.proposals(Knowledge(known, waiting), seed=1))
        assert distance(first.values, second.values) > 0.1


def point_of(given: Experiment, configuration: Configuration):
    from tuner.search.coordinates import Point

    located = given.space.locate(configuration.flat())
    assert located is not None
    return Point(*located)


def distance(one, other) -> float:
    names = "training.learning_rate", "training.l2"
    return sum(abs(math.log10(one[name]) - math.log10(other[name])) for name in names)


@pytest.mark.parametrize("name", METHODS)
def test_a_proposal_among_a_thousand_known_ones_keeps_nobody_waiting(name) -> None:
    given = of(SURFACE, name, 2_000)
    method = make_method(given)
    method.restore([Result(one, accuracy(one)) for one in DrawnPlan(given.space, 1_000, 1)])
    method.think_aside()
    seconds, proposal = [], None
    while proposal is None:
        start = time.perf_counter()
        proposal = method.ask()
        seconds.append(time.perf_counter() - start)
        assert method.is_thinking == (proposal is None)
        time.sleep(0.01)
    assert statistics.median(seconds) < 0.02
    again = make_method(given)
    again.restore([Result(one, accuracy(one)) for one in DrawnPlan(given.space, 1_000, 1)])
    assert again.ask() == proposal


def test_without_optuna_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'convtuner\[tpe\]'"):
        make_method(of(ONE, "tpe"))


def test_an_optuna_that_cannot_be_imported_ends_the_search_before_its_first_results(
    monkeypatch,
) -> None:
    monkeypatch.setitem(sys.modules, "optuna.samplers", None)
    method = make_method(of(ONE, "tpe"))
    method.think_aside()
    with pytest.raises(TunerError, match=r"cannot be imported\n.*ModuleNotFoundError"):
        for _ in range(1_000):
            method.ask()
            time.sleep(0.01)


@pytest.mark.parametrize("name", METHODS)
def test_a_fresh_process_proposes_the_same_and_never_loads_a_framework(name) -> None:
    program = f"""
import sys
for name in ("tensorflow", "jax", "keras", "keras_tuner"):
    sys.modules[name] = None  # an import raises
from tests.search import test_bayesian as t
method = t.make_method(t.of(t.ONE, "{name}", 5))
for _ in range(2):
    t.step(method)
assert method.total == 5 and not {{"sklearn", "scipy", "optuna"}} & set(sys.modules)
print(t.key(method.ask()))
"""
    code, environ = [sys.executable, "-c", program], os.environ | {"PYTHONHASHSEED": "4711"}
    done = subprocess.run(code, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    method = make_method(of(ONE, name, 5))
    for _ in range(2):
        step(method)
    assert done.stdout == key(method.ask()) + "\n"


def test_where_constraints_admit_no_point_that_was_drawn_neighbours_and_the_plan_go_on() -> None:
    given = experiment(
        """
model: {family: mlp, hidden_units: {min: 16, max: 512}}
training: {batch_size: {min: 8, max: 256}}
search: {method: METHOD, max_trials: TRIALS, seed: SEED,
         constraints: ["hidden_units * batch_size == 4096"]}
""",
        trials=6,
    )
    assert GaussianProcess(given.space, 0)._drawn[0] == []
    method = make_method(given)
    assert len({key(proposal) for _ in range(6) if (proposal := step(method))}) == 6
