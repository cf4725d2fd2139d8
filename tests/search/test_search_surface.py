"""Stopping early finds nearly the best at a fraction of the epochs: on a made-up surface."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import pytest
from scipy import stats

from tests.search.surface import Simulation, Surface, experiment_of

SEEDS = range(12)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, by Student's t."""

    mean: float
    low: float
    high: float


def interval(values: list[float]) -> Interval:
    mean, error = statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


@pytest.fixture(scope="module")
def surfaces() -> list[Surface]:
    """One for each seed; they keep the curves that were drawn."""
    return [Surface(seed) for seed in SEEDS]


@pytest.mark.parametrize(
    "search",
    [
        "{method: random, max_trials: 448, seed: SEED, stop: {rule: asha, min_epochs: 3}}",
        "{method: hyperband, max_trials: 448, seed: SEED}",
    ],
    ids=["asha", "hyperband"],
)
def test_it_comes_within_one_percent_of_the_grid_at_a_quarter_of_its_epochs(search, surfaces):
    points = list(experiment_of("{method: grid}").space)
    shares, values = [], []
    for seed, surface in enumerate(surfaces):
        experiment = experiment_of(search.replace("SEED", str(seed)))
        run = Simulation(experiment, surface).run()
        shares.append(run.trained_epochs / sum(len(surface.curve(point)) for point in points))
        values.append(surface.truth(run.best()) / max(map(surface.truth, points)))
    assert interval(values).low > 0.99
    assert sum(value > 0.99 for value in values) >= 10  # of 12
    assert interval(shares).high < 0.25
