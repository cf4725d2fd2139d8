"""Searches that learn against random search at equal trials, on a smooth surface.

    python -m benchmarks.search_bayesian --seeds 20 --trials 30 60

Question: how much nearer to the best possible score do `bayesian` and `tpe` get than `random`?
Nothing is trained: the score is a formula of four open values with an optimum inside the space, a
ridge between two of the values, and noise as of a validation set of 5,000 images. All methods share
their first proposals, so that a difference is the model's. Two minutes on an idle core.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.common import environment, table
from tuner.experiment import Experiment, parse_experiment
from tuner.experiment.trial import Configuration, canonical
from tuner.search import make_method
from tuner.search.learning import LearningSearch
from tuner.search.method import Result, SearchMethod
from tuner.search.planned import DrawnPlan

METHODS = ("random", "bayesian", "tpe")
BEST = 0.7
NOISE = 0.0065  # standard deviation of a share of 0.7 among 5,000 images
EXPERIMENT = """
model: {family: resnet, depth: {choice: [8, 14, 20, 26, 32, 38, 44, 50, 56]}}
training:
  learning_rate: {min: 1e-5, max: 1, scale: log}
  beta_2: {min: 0.9, max: 0.9999, scale: reverse_log}
  l2: {min: 1e-6, max: 1e-2, scale: log}
search: {method: METHOD, max_trials: TRIALS, seed: SEED}
"""


def surface(configuration: Configuration) -> float:
    """Accuracy without noise: BEST at a rate of 10^-2.3, 1 - beta_2 of 10^-2.5, l2 of 10^-4, 38."""
    training = configuration.training
    rate = math.log10(training["learning_rate"]) + 2.3
    memory = math.log10(1 - training["beta_2"]) + 2.5
    decay = math.log10(training["l2"]) + 4
    depth = (configuration.model["depth"] - 38) / 24
    loss = 0.06 * rate**2 + 0.03 * memory**2 + 0.02 * (decay + 0.7 * rate) ** 2 + 0.03 * depth**2
    return BEST * math.exp(-loss / BEST)


def measured(configuration: Configuration, noise: float) -> float:
    """The surface with the noise that belongs to this configuration."""
    rng = random.Random(canonical(configuration.flat()))
    return surface(configuration) + noise * rng.gauss(0, 1)


def experiment(method: str, trials: int, seed: int) -> Experiment:
    """The search to be run."""
    text = EXPERIMENT.replace("METHOD", method)
    text = text.replace("TRIALS", str(trials)).replace("SEED", str(seed))
    return parse_experiment(text, "surface.yaml")


def regret(method: SearchMethod, noise: float) -> float:
    """What the true score of the configuration that looks best lacks to BEST."""
    scores: dict[float, float] = {}
    while (proposal := method.ask()) is not None:
        score = measured(proposal.configuration, noise)
        scores[score] = surface(proposal.configuration)
        method.tell(Result(proposal.configuration, score))
    return BEST - scores[max(scores)]


def interval(differences: Sequence[float], rounds: int = 10_000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean."""
    rng = random.Random(0)
    size = len(differences)
    means = sorted(statistics.fmean(rng.choices(differences, k=size)) for _ in range(rounds))
    return means[int(0.025 * rounds)], means[int(0.975 * rounds)]


def rows(trials: int, seeds: int, noise: float) -> list[list[Any]]:
    """All methods at so many trials, paired by seed with `random`."""
    regrets = {
        method: [
            regret(make_method(experiment(method, trials, seed)), noise) for seed in range(seeds)
        ]
        for method in METHODS
    }
    found = []
    for method, own in regrets.items():
        gains = [one - other for one, other in zip(regrets["random"], own, strict=True)]
        low, high = interval(gains)
        found.append([method, trials, noise, seeds, statistics.fmean(own)])
        gain = f"{statistics.fmean(gains):.4f} [{low:.4f}, {high:.4f}]"
        better = f"{sum(gain > 0 for gain in gains)} of {seeds}"
        found[-1] += ["", ""] if method == "random" else [gain, better]
    return found


def ask_milliseconds(method: str, results: int) -> list[Any]:
    """The processor time of one proposal after so many results, and what `ask` takes of a run."""
    times, waits = [], []
    for seed in range(6):
        given = experiment(method, results + 10, seed)
        search = make_method(given)
        drawn = DrawnPlan(given.space, results, seed)
        search.restore([Result(one, measured(one, NOISE)) for one in drawn])
        start = time.process_time()
        search.ask()
        times.append(1000 * (time.process_time() - start))
        assert isinstance(search, LearningSearch)
        search.think_aside()
        start = time.perf_counter()
        search.ask()
        waits.append(1000 * (time.perf_counter() - start))
    times = times[1:]  # the first imports what the model needs
    return [method, results, statistics.median(times), statistics.median(waits), max(waits)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, nargs="+", default=[30])
    parser.add_argument("--noise", type=float, nargs="+", default=[NOISE, 0.0])
    arguments = parser.parse_args()
    head = [
        "method",
        "trials",
        "noise",
        "seeds",
        "regret",
        "better than random by [95 %]",
        "better",
    ]
    each = [rows(n, arguments.seeds, noise) for n in arguments.trials for noise in arguments.noise]
    title = "True score of the configuration that looks best: what it lacks"
    print(table(title, head, [row for found in each for row in found]))
    counts = (12, 50, 200, 1000)
    times = [ask_milliseconds(method, n) for method in METHODS[1:] for n in counts]
    head = ["method", "results", "thinking, ms of a core", "ask, ms", "worst"]
    print(table("A proposal, in a thread of its own", head, times))
    print(environment())


if __name__ == "__main__":
    main()
