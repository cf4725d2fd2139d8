"""Every search method over every kind of space that it takes: one line here per new method."""

from __future__ import annotations

from tuner.experiment import Experiment, parse_experiment

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


CASES = {
    "grid": Case("grid", FINITE, 32),
    "random over a finite space": Case("random", FINITE, 32),
    "random without end": Case("random", ENDLESS, None),
}
