"""How often a number of seeds decides a difference, and how many decide it often enough."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from tuner.report.statistics import ALPHA, TIED, Array, widened_quantile

POWER = 0.8
"""How often a difference that is there shall be found, where nothing else is said."""

FEWEST_SEEDS = 6  # see `statistics.paired`
MOST_SEEDS = 200
_POWER_RUNS = 4_000
_MOST_FLIPPED = 12  # pairs; beyond, the sign-flip test agrees with Student's


def power_of(difference: float, spread: float, n: int) -> float:
    """How often `statistics.paired` claims a difference of means, of n seeds for both sides.

    The scores of a side differ between seeds by the standard deviation `spread`, independently on
    both sides, so that differences of pairs do by √2 times that. Found by playing the rule on
    4,000 normal samples under a fixed seed: the end of the BCa interval comes from an expansion
    and not from resampling, and of more than twelve pairs it decides alone, as it then nearly does.
    """
    if n < FEWEST_SEEDS or not difference:
        return 0.0
    if not spread:
        return 1.0
    return _power(round(abs(difference) / (math.sqrt(2) * spread), 6), n)


@lru_cache(maxsize=1024)
def _power(effect: float, n: int) -> float:
    """Of a mean of `effect` standard deviations."""
    samples = _normal_samples(n) + effect
    samples = samples[_bca_lows(samples) > 0]
    if n <= _MOST_FLIPPED:
        flips = 1.0 - 2 * (np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1)
        least = np.abs(samples).sum(axis=1) * -TIED + np.abs(samples.sum(axis=1))
        p = np.mean(np.abs(flips @ samples.T) >= least, axis=0)
        return float(np.sum(p <= ALPHA)) / _POWER_RUNS
    return len(samples) / _POWER_RUNS


def _bca_lows(samples: Array) -> Array:
    """The lower end of `bca_interval` of each row, widened, without resampling.

    The quantiles of a bootstrapped mean by Cornish and Fisher's expansion, from the row's skewness
    and kurtosis (DiCiccio & Efron 1996, Statistical Science 11, have it for intervals).
    """
    n = samples.shape[1]
    means = np.mean(samples, axis=1)
    away = samples - means[:, None]
    spread = np.sqrt(np.mean(away**2, axis=1))
    skew = np.mean(away**3, axis=1) / spread**3 / math.sqrt(n)  # of the mean
    tails = (np.mean(away**4, axis=1) / spread**4 - 3) / n
    bias = acceleration = skew / 6
    shifted = bias - widened_quantile(n)
    z = bias + shifted / (1 - acceleration * shifted)
    end = z + skew * (z**2 - 1) / 6 + tails * (z**3 - 3 * z) / 24
    end -= skew**2 * (2 * z**3 - 5 * z) / 36
    return np.asarray(means + spread / math.sqrt(n) * end)


@lru_cache(maxsize=32)
def _normal_samples(n: int) -> Array:
    return np.random.default_rng(n).standard_normal((_POWER_RUNS, n))


def seeds_to_decide(difference: float, spread: float, power: float = POWER) -> int | None:
    """With how many seeds each a difference is claimed so often; None: more than 200, or never."""

    def is_enough(n: int) -> bool:
        return power_of(difference, spread, n) >= power

    if not is_enough(MOST_SEEDS):
        return None
    low, high = FEWEST_SEEDS - 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def least_difference(spread: float, n: int, power: float = POWER) -> float | None:
    """The least difference that n seeds each decide so often; None for fewer than six."""
    if n < FEWEST_SEEDS:
        return None
    low, high = 0.0, 10.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(middle, 1.0, n) >= power else (middle, high)
    return high * spread
