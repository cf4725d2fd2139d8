"""Every search method over every kind of space that it takes: one line here per new method."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

from tuner.experiment import Configuration, Experiment, SearchSpace, parse_experiment
from tuner.experiment.trial import canonical
from tuner.search.coordinates import Point
from tuner.search.learning import Knowledge, Model
from tuner.search.method import Proposal, Result, SearchMethod

Score = Callable[[Configuration, int], float]

FINITE = """
model: {choice: [{family: resnet, depth: {choice: [20, 32]}, dropout: {choice: [0, 0.2]}},
                 {family: densenet, growth_rate: {choice: [12, 24, 36]}}]}
training: {l2: {choice: [0, 1e-4, 1e-3]}, batch_size: {choice: [32, 64]}}
search: {method: METHOD, max_trials: TRIALS, seed: SEED, constraints: ["depth * l2 < 0.03"]}
"""
ENDLESS = """
model: {family: resnet, depth: {choice: [20, 32]}}
training: {learning_rate: {min: 1e-4, max: 0.1, scale: log}, l2: {min: 0, max: 0.01}}
search: {method: METHOD, max_trials: TRIALS, seed: SEED, constraints: ["depth * l2 < 0.2"]}
"""
LISTED = """
model: {family: resnet, depth: {choice: [20, 32]}}
search:
  method: METHOD
  max_trials: TRIALS
  seed: SEED
  constraints: ["depth * l2 < 0.03"]
  configurations:
    depth:         [20, 44, 32, 20, 56, 20, 110, 20]
    learning_rate: [1e-2, 1e-3, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    l2:            [0, 1e-3, 0, 1e-4, 0, 0, 0, 1e-3]
"""


class Case:
    """A method over a space; `size` is the number of its points, None without end."""

    def __init__(self, method: str, text: str, size: int | None) -> None:
        self.method, self.text, self.size = method, text, size

    def source(self, trials: int | None = 20, seed: int = 0) -> str:
        """The experiment as text."""
        text = self.text.replace("METHOD", self.method).replace("SEED", str(seed))
        return text.replace("TRIALS", "null" if trials is None else str(trials))

    def experiment(self, trials: int | None = 20, seed: int = 0) -> Experiment:
        """The experiment."""
        return parse_experiment(self.source(trials, seed), "x.yaml")


PLANNED = {
    "grid": Case("grid", FINITE, 32),
    "random over a finite space": Case("random", FINITE, 32),
    "random without end": Case("random", ENDLESS, None),
    "sobol over a finite space": Case("sobol", FINITE, 32),
    "sobol without end": Case("sobol", ENDLESS, None),
    "list": Case("list", LISTED, 7),
}
ADAPTIVE: dict[str, Case] = {
    "hyperband over a finite space": Case("hyperband", FINITE, 32),
    "hyperband without end": Case("hyperband", ENDLESS, None),
    "bayesian over a finite space": Case("bayesian", FINITE, 32),
    "bayesian without end": Case("bayesian", ENDLESS, None),
    "tpe over a finite space": Case("tpe", FINITE, 32),
    "tpe without end": Case("tpe", ENDLESS, None),
}
CASES = {**PLANNED, **ADAPTIVE}

EPOCHS = 9


def made_up(configuration: Configuration, epoch: int) -> float:
    """A metric after some epochs that depends on the configuration alone."""
    flat = json.dumps(configuration.flat(), sort_keys=True)
    return (sum(flat.encode()) % 97) / 97 * (1 - 0.5**epoch)


def drive(method: SearchMethod, score: Score = made_up) -> list[Configuration]:
    """Every proposal in its order, each told at once; one that goes on comes again."""
    found = []
    while (proposal := method.ask()) is not None:
        found.append(proposal.configuration)
        epochs = range(1, (proposal.until or EPOCHS) + 1)
        curve = tuple(score(proposal.configuration, epoch) for epoch in epochs)
        ended = proposal.until is None
        method.tell(Result(proposal.configuration, max(curve), curve, ended))
        method.dropped()
    assert method.exhausted
    assert method.ask() is None
    return found


def proposals(method: SearchMethod, score: Score = made_up) -> list[str]:
    """What is proposed as text, each once."""
    flat = (json.dumps(one.flat(), sort_keys=True) for one in drive(method, score))
    return list(dict.fromkeys(flat))


def key(found: Proposal | Configuration | None) -> str:
    assert found is not None
    return canonical((found.configuration if isinstance(found, Proposal) else found).flat())


class Dice(Model):
    """Stands in for a model: proposes by a number that depends on everything that it is told."""

    told: list[Knowledge]

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self._space = space
        Dice.told = []

    def load(self) -> None:
        """Nothing is needed."""

    def proposals(self, known: Knowledge, seed: int) -> Iterator[Point]:
        """Two places somewhere."""
        Dice.told.append(known)
        ended = [(point.branch, point.values, value) for point, value in known.ended]
        waiting = [(point.branch, point.values) for point in known.waiting]
        rng = random.Random(canonical([seed, ended, waiting]))
        yield from (Point(*self._space.draw(rng)) for _ in range(2))
