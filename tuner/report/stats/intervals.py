"""Confidence intervals of a mean and of a difference of means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from tuner.report.stats.samples import TIED, Array, checked, chunks

ALPHA = 0.05
REACH = NormalDist().inv_cdf(1 - ALPHA / 2)


@dataclass(frozen=True)
class Interval:
    """A mean of `n` values between the ends of its 95 % confidence interval.

    The ends are infinite where `n` is 1: one value says nothing about its spread.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def is_bounded(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and its t interval: x̄ ± t(n − 1) · s / √n.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    data = checked(values)
    n, mean = len(data), float(np.mean(data))
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    half = t_quantile(n - 1) * _standard_error(data)
    return Interval(mean, mean - half, mean + half, n)


def bca_interval(values: Sequence[float], *, reach: float = REACH, seed: int = 0) -> Interval:
    """Mean and its BCa bootstrap interval (bias-corrected and accelerated; Efron 1987).

    Resamples under a fixed seed, so that the same values always give the same interval. Equal
    values give an interval without width. `reach` is in standard errors of a normal mean: 1.96 for
    95 %; for few values use `widened_reach`.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    data = checked(values)
    n, mean = len(data), float(np.mean(data))
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    if np.ptp(data) <= TIED * abs(mean):
        return Interval(mean, mean, mean, n)
    means = _resampled_means(data, seed)
    # For a mean the jackknife's values are the deviations, scaled; the scale does not matter.
    deviations = (data - mean) / np.max(np.abs(data - mean))
    acceleration = float(np.sum(deviations**3)) / (6 * float(np.sum(deviations**2)) ** 1.5)
    bias = _bias(means, mean, TIED * float(np.max(np.abs(data))))
    shares = [_corrected(end, bias, acceleration) for end in (-reach, reach)]
    low, high = np.quantile(means, shares)
    return Interval(mean, float(low), float(high), n)


def widened_reach(n: int) -> float:
    """The reach with which a bootstrap interval of n values is as wide as a 95 % t interval.

    A bootstrap's spread is too small by √((n − 1) / n), and its tails are a normal's: of six normal
    values a plain 95 % BCa interval covers the mean in 86 %, a widened one in 94 % of all cases
    (Hesterberg 2015, The American Statistician 69, "expanded" intervals).
    """
    if n < 2:
        return math.inf
    return math.sqrt(n / (n - 1)) * t_quantile(n - 1)


def welch_interval(one: Sequence[float], other: Sequence[float]) -> Interval:
    """Difference of means with Welch's interval (variances may differ).

    Unbounded where a side has one value; `n` is the smaller side's.

    Raises:
        ValueError: a side has no value, or a value is not finite.
    """
    first, second = checked(one), checked(other)
    mean = float(np.mean(first) - np.mean(second))
    n = min(len(first), len(second))
    if n < 2:
        return Interval(mean, -math.inf, math.inf, n)
    first_error, second_error = _standard_error(first), _standard_error(second)
    error = math.hypot(first_error, second_error)
    if error == 0:
        return Interval(mean, mean, mean, n)
    share = (first_error / error) ** 2
    degrees = 1 / (share**2 / (len(first) - 1) + (1 - share) ** 2 / (len(second) - 1))
    half = t_quantile(degrees) * error
    return Interval(mean, mean - half, mean + half, n)


def _standard_error(data: Array) -> float:
    size = float(np.max(np.abs(data)))
    if size == 0:
        return 0.0
    return size * float(np.std(data / size, ddof=1)) / math.sqrt(len(data))


@lru_cache(maxsize=256)
def t_quantile(degrees: float) -> float:
    """The end of the 95 % interval of Student's t, in standard errors.

    Newton's steps on P(|T| < t) = 2 ∫ cos^(ν − 1) θ dθ / B(1/2, ν/2), θ from 0 to atan(t / √ν),
    begin at the normal's, which is too short, and only ever come closer. Importing scipy for this
    one number would take longer than the rest of a report.
    """
    log_beta = math.lgamma(0.5) + math.lgamma(degrees / 2) - math.lgamma((degrees + 1) / 2)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    t = REACH
    for _ in range(100):
        end = math.atan(t / math.sqrt(degrees))
        inner = np.log(np.cos(end * (nodes + 1) / 2)) * (degrees - 1)
        inside = end * float(np.sum(weights * np.exp(inner - log_beta)))
        density = (1 + t * t / degrees) ** (-(degrees + 1) / 2)
        slope = 2 * math.exp(-log_beta) / math.sqrt(degrees) * density
        step = (1 - ALPHA - inside) / slope
        t += step
        if abs(step) < 1e-12 * t:
            break
    return t


def _resampled_means(data: Array, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    places = (generator.integers(0, len(data), (draws, len(data))) for draws in chunks(len(data)))
    return np.concatenate([np.mean(data[chosen], axis=1) for chosen in places])


def _bias(means: Array, mean: float, tied: float) -> float:
    """The normal quantile of the share of resampled means below the mean; ties count half."""
    below = float(np.mean(means < mean - tied))
    above = float(np.mean(means > mean + tied))
    return NormalDist().inv_cdf((1 + below - above) / 2)


def _corrected(quantile: float, bias: float, acceleration: float) -> float:
    """The share of resampled means at which an end of the interval lies."""
    shifted = bias + quantile
    scale = 1 - acceleration * shifted
    if scale <= 0:  # so far out that the correction has no end: the outermost mean
        return 1.0 if shifted > 0 else 0.0
    return NormalDist().cdf(bias + shifted / scale)
