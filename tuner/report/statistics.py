"""Numbers that carry their uncertainty: intervals, permutation tests, and what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tuner.experiment.objective import Objective
from tuner.report import format

Array = NDArray[np.float64]
Key = TypeVar("Key")

ALPHA = 0.05
NORMAL_QUANTILE = NormalDist().inv_cdf(1 - ALPHA / 2)
RESAMPLES = 9_999

_HIGHER = Objective()
TIED = 1e-12  # numbers that differ by less, relative to the data, are equal
_CHUNK = 2_000_000  # numbers in memory at a time
_MAX_EXACT_SIGNS = 16  # pairs; 2^15 sums take 5 ms
_MAX_EXACT_SPLITS = 50_000  # ways to split two groups; two of nine are 48,620


# ---------------------------------------------------------------------- intervals


@dataclass(frozen=True)
class Interval:
    """A mean of `n` values between the ends of its 95 % confidence interval.

    The ends are infinite where `n` is 1: one value says nothing about its spread.
    """

    mean: float
    low: float
    high: float
    n: int

    def says_nothing(self, metric: str) -> bool:
        """Whether it holds every value that such a score can have."""
        lowest, highest = _bounds(metric)
        return self.low <= lowest and self.high >= highest

    @property
    def is_bounded(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0

    @property
    def arms(self) -> tuple[float, float]:
        """How far it reaches above and below the mean; 0 where there is no interval."""
        return (self.high - self.mean, self.mean - self.low) if self.is_bounded else (0.0, 0.0)

    @property
    def signed_text(self) -> str:
        """Of a difference: `+0.0312 [+0.0101, +0.0523]`; alone where there is no interval."""
        mean, low, high = map(format.signed_text, (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]" if self.is_bounded else mean

    def __str__(self) -> str:
        """`0.5100 ± 0.0109`, `0.9990 [0.9931, 0.9999]` where the ends are not equally far, or the
        mean alone where there is no interval.
        """
        mean = format.score_text(self.mean)
        low, high = (format.beside_text(end, self.mean) for end in (self.low, self.high))
        if not self.is_bounded:
            return mean
        arms = {format.beside_text(arm, self.mean) for arm in self.arms}
        return f"{mean} [{low}, {high}]" if len(arms) > 1 else f"{mean} ± {arms.pop()}"


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and its t interval: x̄ ± t(n − 1) · s / √n.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    data = _checked(values)
    n = len(data)
    half = t_quantile(n - 1) * _standard_error(data) if n > 1 else math.inf
    return _around(float(np.mean(data)), half, n)


def score_interval(scores: Sequence[float], metric: str, images: int | None = None) -> Interval:
    """The 95 % interval of a mean score, as far as it is known from so many images.

    Equal scores under several seeds do not make an accuracy exact: all were measured on the same
    images. An accuracy's interval over seeds (`mean_interval`) is joined, as independent errors
    are, by Wilson's (1927) of a share of `images`; its ends never leave 0..1, nor a loss' 0.

    Raises:
        ValueError: there is no score, or one is not finite.
    """
    interval = mean_interval(scores)
    lowest, highest = _bounds(metric)
    if not interval.is_bounded or not lowest <= interval.mean <= highest:
        return interval
    mean, low, high = interval.mean, interval.low, interval.high
    if images and highest == 1:
        share_low, share_high = wilson_interval(mean, images)
        low = mean - math.hypot(mean - low, mean - share_low)
        high = mean + math.hypot(high - mean, share_high - mean)
    return replace(interval, low=max(low, lowest), high=min(high, highest))


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share that was counted among n (Wilson 1927, JASA 22).

    Within 0..1, and with a width also where all of n or none were counted.
    """
    z2 = NORMAL_QUANTILE**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * share * (1 - share) / n + (z2 / (2 * n)) ** 2) / (1 + z2 / n)
    return min(share, centre - half), max(share, centre + half)


def share_interval(shares: Sequence[float], images: int) -> Interval:
    """The 95 % interval of a mean share over seeds, each counted among the same images.

    As `score_interval` has it of an accuracy; under one seed Wilson's of the images alone.

    Raises:
        ValueError: there is no share, or one is not finite.
    """
    interval = score_interval(shares, "accuracy", images)
    if interval.is_bounded:
        return interval
    low, high = wilson_interval(interval.mean, images)
    return replace(interval, low=low, high=high)


def _bounds(metric: str) -> tuple[float, float]:
    """What values a metric can have."""
    if metric.endswith("accuracy"):
        return 0.0, 1.0
    return (0.0, math.inf) if metric.endswith("loss") else (-math.inf, math.inf)


def welch_interval(one: Sequence[float], other: Sequence[float]) -> Interval:
    """Difference of means with Welch's interval (variances may differ).

    Unbounded where a side has one value; `n` is the smaller side's.

    Raises:
        ValueError: a side has no value, or a value is not finite.
    """
    first, second = _checked(one), _checked(other)
    mean = float(np.mean(first) - np.mean(second))
    n = min(len(first), len(second))
    if n < 2:
        return _around(mean, math.inf, n)
    first_error, second_error = _standard_error(first), _standard_error(second)
    error = math.hypot(first_error, second_error)
    if error == 0:
        return _around(mean, 0.0, n)
    share = (first_error / error) ** 2
    degrees = 1 / (share**2 / (len(first) - 1) + (1 - share) ** 2 / (len(second) - 1))
    return _around(mean, t_quantile(degrees) * error, n)


def bca_interval(
    values: Sequence[float], *, quantile: float = NORMAL_QUANTILE, seed: int = 0
) -> Interval:
    """Mean and its BCa bootstrap interval (bias-corrected and accelerated; Efron 1987).

    Resamples under a fixed seed, so that the same values always give the same interval. Equal
    values give an interval without width. `quantile` says how far the ends are, in standard errors
    of a normal mean: 1.96 for 95 %; for few values use `widened_quantile`.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    data = _checked(values)
    n, mean = len(data), float(np.mean(data))
    if abs(mean) <= TIED * np.max(np.abs(data)):
        mean = 0.0  # what rounding leaves of values that cancel
    if n == 1:
        return _around(mean, math.inf, n)
    if np.ptp(data) <= TIED * abs(mean):
        return _around(mean, 0.0, n)
    generator = np.random.default_rng(seed)
    places = (generator.integers(0, n, (draws, n)) for draws in _chunks(n))
    means = np.concatenate([np.mean(data[chosen], axis=1) for chosen in places])
    # For a mean the jackknife's values are the deviations, scaled; the scale does not matter.
    deviations = (data - mean) / np.max(np.abs(data - mean))
    acceleration = float(np.sum(deviations**3)) / (6 * float(np.sum(deviations**2)) ** 1.5)
    bias = _bias(means, mean, TIED * float(np.max(np.abs(data))))
    shares = [_corrected(end, bias, acceleration) for end in (-quantile, quantile)]
    low, high = np.quantile(means, shares)
    return Interval(mean, float(low), float(high), n)


def widened_quantile(n: int) -> float:
    """The quantile with which a bootstrap interval of n values is as wide as a 95 % t interval.

    A bootstrap's spread is too small by √((n − 1) / n), and its tails are a normal's: of six normal
    values a plain 95 % BCa interval covers the mean in 86 %, a widened one in 94 % of all cases
    (Hesterberg 2015, The American Statistician 69, "expanded" intervals).
    """
    return math.inf if n < 2 else math.sqrt(n / (n - 1)) * t_quantile(n - 1)


@lru_cache(maxsize=256)
def t_quantile(degrees: float) -> float:
    """The end of the 95 % interval of Student's t, in standard errors.

    Newton's steps on P(|T| < t) = 2 ∫ cos^(ν − 1) θ dθ / B(1/2, ν/2), θ from 0 to atan(t / √ν),
    begin at the normal's, which is too short, and only ever come closer. Importing scipy for this
    one number would take longer than the rest of a report.
    """
    log_beta = math.lgamma(0.5) + math.lgamma(degrees / 2) - math.lgamma((degrees + 1) / 2)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    t = NORMAL_QUANTILE
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


def _around(mean: float, half: float, n: int) -> Interval:
    return Interval(mean, mean - half, mean + half, n)


def _standard_error(data: Array) -> float:
    size = float(np.max(np.abs(data)))  # squares of large and small numbers leave the range
    return size * float(np.std(data / size, ddof=1)) / math.sqrt(len(data)) if size else 0.0


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


# ---------------------------------------------------------------------- tests


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p of "the differences are as often negative as positive" (Fisher 1935, §21).

    The share of all 2^n ways to flip their signs whose sum is at least as far from zero: exact for
    up to 16 differences, beyond that estimated from 9,999 random flips, the observed one counted.

    Raises:
        ValueError: there is no difference, or one is not finite.
    """
    data = _checked(differences)
    n = len(data)
    least = abs(float(np.sum(data))) - TIED * float(np.sum(np.abs(data)))
    if n <= _MAX_EXACT_SIGNS:
        # The first sign can stay: all flips come in opposite pairs.
        flips = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
        return float(np.mean(np.abs((1 - 2 * flips) @ data) >= least))

    def draw(generator: np.random.Generator, draws: int) -> Array:
        signs = generator.integers(0, 2, (draws, n), dtype=np.int8) * 2 - 1
        return np.asarray(signs @ data)

    return _sampled_p(draw, least, n, seed)


def split_p(one: Sequence[float], other: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p of "both sides are drawn from one distribution", by permutation.

    The share of all ways to split the values into groups of these sizes whose means are at least
    as far apart: exact up to 50,000 ways, beyond that from 9,999 random splits.

    Raises:
        ValueError: a side has no value, or a value is not finite.
    """
    first, second = sorted((_checked(one), _checked(other)), key=len)
    data, size = np.concatenate([first, second]), len(first)
    centred = data - np.mean(data)  # so that the means' distance is the smaller side's sum alone
    least = abs(float(np.sum(centred[:size]))) - TIED * float(np.sum(np.abs(data)))
    if math.comb(len(data), size) <= _MAX_EXACT_SPLITS:
        sums = np.sum(centred[_splits(len(data), size)], axis=1)
        return float(np.mean(np.abs(sums) >= least))

    def draw(generator: np.random.Generator, draws: int) -> Array:
        keys = generator.random((draws, len(data)), dtype=np.float32)
        places = np.argpartition(keys, size - 1, axis=1)[:, :size]
        return np.asarray(np.sum(centred[places], axis=1))

    return _sampled_p(draw, least, len(data), seed)


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p values: the chance of any false claim among them stays below alpha (Holm 1979)."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def _sampled_p(
    draw: Callable[[np.random.Generator, int], Array], least: float, size: int, seed: int
) -> float:
    """The share of random sums at least so far from zero, the observed one counted."""
    generator = np.random.default_rng(seed)
    sums = (np.abs(draw(generator, draws)) for draws in _chunks(size))
    return (sum(int(np.sum(part >= least)) for part in sums) + 1) / (RESAMPLES + 1)


@lru_cache(maxsize=4)
def _splits(n: int, size: int) -> NDArray[np.intp]:
    """Every choice of `size` among n places."""
    return np.array(list(combinations(range(n), size)), dtype=np.intp)


def _chunks(size: int) -> list[int]:
    """How many resamples of so many values to draw at a time, `RESAMPLES` in all."""
    full, rest = divmod(RESAMPLES, most := max(1, _CHUNK // size))
    return [most] * full + ([rest] if rest else [])


def _checked(values: Sequence[float]) -> Array:
    """One or more finite numbers."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data) or not np.all(np.isfinite(data)):
        raise ValueError(f"statistics need one or more finite numbers, not {values!r:.200}")
    return data


# ---------------------------------------------------------------------- is the difference real?


class Verdict(StrEnum):
    """What may be claimed of one side against another."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "within noise"
    UNDECIDABLE = "not decidable"


@dataclass(frozen=True)
class Difference:
    """One side's mean minus the other's, and what that supports.

    `n` counts the pairs, or the values of the smaller side where `is_paired` is false; `interval`
    is BCa for pairs and Welch's else. `p` is the permutation test's, `smallest_p` the least that
    the test could give for so many values. The rest is set by `judged`: `p_adjusted` is Holm's over
    `num_comparisons`.
    """

    n: int
    interval: Interval
    p: float
    smallest_p: float
    is_paired: bool
    objective: Objective = _HIGHER
    p_adjusted: float = 1.0
    num_comparisons: int = 1
    verdict: Verdict = Verdict.UNDECIDABLE

    @property
    def mean(self) -> float:
        """The difference itself."""
        return self.interval.mean

    @property
    def is_claim(self) -> bool:
        """Whether a difference is claimed."""
        return self.verdict in (Verdict.BETTER, Verdict.WORSE)

    def told(self, unit: str = "seed") -> str:
        """The verdict in words; where nothing can be decided, with how few values and why."""
        if self.verdict is not Verdict.UNDECIDABLE:
            return self.verdict.value
        text = f"{self.verdict.value} with {format.counted(self.n, unit)}"
        if self.num_comparisons > 1 and self.n > 1 and self.smallest_p <= ALPHA:
            return f"{text} in {self.num_comparisons} comparisons"
        return text


def paired(
    one: Sequence[float],
    other: Sequence[float],
    *,
    objective: Objective = _HIGHER,
    seed: int = 0,
) -> Difference:
    """What `one` is against `other`, value by value: under the same seeds, on the same settings.

    A difference is claimed only where the BCa interval of the differences, widened for few values,
    excludes zero and the sign-flip test gives p ≤ 0.05. The least p of n pairs is 2 / 2^n: nothing
    can be decided with fewer than six. `objective` says which way is better.

    Raises:
        ValueError: the sides differ in length, are empty, or a value is not finite.
    """
    first, second = _checked(one), _checked(other)
    if len(first) != len(second):
        raise ValueError(f"pairs need equal lengths, not {len(first)} and {len(second)}")
    # What is drawn must not depend on which pair comes first, nor on which side is named first.
    sums, gaps = first + second, first - second
    differences = gaps[np.lexsort((gaps, np.abs(gaps), sums))].tolist()
    n = len(differences)
    interval = bca_interval(differences, quantile=widened_quantile(n), seed=seed)
    p = sign_flip_p(differences, seed=seed)
    return judged([Difference(n, interval, p, 2.0 ** (1 - n), True, objective)])[0]


def paired_by_key(
    one: Mapping[Key, float], other: Mapping[Key, float], *, objective: Objective
) -> Difference | None:
    """`paired` over what both sides have, such as seeds; None where they share nothing."""
    common = [key for key in one if key in other]
    if not common:
        return None
    pairs = [one[key] for key in common], [other[key] for key in common]
    return paired(*pairs, objective=objective)


def unpaired(
    one: Sequence[float],
    other: Sequence[float],
    *,
    objective: Objective = _HIGHER,
    seed: int = 0,
) -> Difference:
    """What `one` is against `other` where no value of one belongs to a value of the other.

    A difference is claimed only where Welch's interval (variances may differ) excludes zero and
    the permutation test gives p ≤ 0.05; a side of one value decides nothing.

    Raises:
        ValueError: a side is empty, or a value is not finite.
    """
    interval, p = welch_interval(one, other), split_p(one, other, seed=seed)
    n = interval.n
    # Opposite splits are equally far apart where the sides are equally large.
    as_far = 2 if len(one) == len(other) else 1
    smallest = min(1.0, as_far / math.comb(len(one) + len(other), n)) if n > 1 else 1.0
    return judged([Difference(n, interval, p, smallest, False, objective)])[0]


def judged(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences, judged together: p adjusted by Holm over those that can be decided.

    One that is too small to give p ≤ 0.05 at all can give no false claim either, and so costs the
    others nothing (Tarone 1990).
    """
    places = [i for i, difference in enumerate(differences) if difference.smallest_p <= ALPHA]
    ps = holm([differences[place].p for place in places])
    least = holm([differences[place].smallest_p for place in places])
    by_place = dict(zip(places, zip(ps, least, strict=True), strict=True))
    together = []
    for place, difference in enumerate(differences):
        p, attainable = by_place.get(place, (difference.p, 1.0))
        changed = replace(difference, p_adjusted=p, num_comparisons=max(1, len(places)))
        together.append(replace(changed, verdict=_verdict(changed, attainable)))
    return together


def judged_known(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """The same, where some are None because nothing could be tested."""
    known = iter(judged([difference for difference in differences if difference is not None]))
    return [None if difference is None else next(known) for difference in differences]


def _verdict(difference: Difference, attainable_p: float) -> Verdict:
    if attainable_p > ALPHA or not difference.interval.is_bounded:
        return Verdict.UNDECIDABLE
    if difference.p_adjusted > ALPHA or not difference.interval.excludes_zero:
        return Verdict.NOISE
    is_better = difference.objective.is_better(difference.mean, than=0.0)
    return Verdict.BETTER if is_better else Verdict.WORSE
