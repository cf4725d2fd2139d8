"""Permutation tests: exact where every rearrangement can be counted, else by a seeded sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tuner.report.stats.samples import RESAMPLES, TIED, checked, chunks

_MAX_EXACT_SIGNS = 16  # pairs; 2^15 sums take 5 ms
_MAX_EXACT_SPLITS = 50_000  # ways to split two groups; two of nine are 48,620


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p of "the differences are as often negative as positive" (Fisher 1935, §21).

    The share of all 2^n ways to flip their signs whose sum is at least as far from zero: exact for
    up to 16 differences, beyond that estimated from 9,999 random flips, the observed one counted.

    Raises:
        ValueError: there is no difference, or one is not finite.
    """
    data = checked(differences)
    least = abs(float(np.sum(data))) - TIED * float(np.sum(np.abs(data)))
    if len(data) <= _MAX_EXACT_SIGNS:
        # The first sign can stay: all flips come in opposite pairs.
        flips = np.arange(2 ** (len(data) - 1))[:, None] >> np.arange(len(data)) & 1
        return float(np.mean(np.abs((1 - 2 * flips) @ data) >= least))
    generator = np.random.default_rng(seed)
    extreme = 0
    for draws in chunks(len(data)):
        signs = generator.integers(0, 2, (draws, len(data)), dtype=np.int8) * 2 - 1
        extreme += int(np.sum(np.abs(signs @ data) >= least))
    return (extreme + 1) / (RESAMPLES + 1)


def split_p(one: Sequence[float], other: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p of "both sides are drawn from one distribution", by permutation.

    The share of all ways to split the values into groups of these sizes whose means are at least
    as far apart: exact up to 50,000 ways, beyond that from 9,999 random splits.

    Raises:
        ValueError: a side has no value, or a value is not finite.
    """
    first, second = checked(one), checked(other)
    if len(first) > len(second):
        first, second = second, first
    data = np.concatenate([first, second])
    centred = data - np.mean(data)  # so that the means' distance is the smaller side's sum alone
    size = len(first)
    least = abs(float(np.sum(centred[:size]))) - TIED * float(np.sum(np.abs(data)))
    if math.comb(len(data), size) <= _MAX_EXACT_SPLITS:
        sums = np.sum(centred[_splits(len(data), size)], axis=1)
        return float(np.mean(np.abs(sums) >= least))
    generator = np.random.default_rng(seed)
    extreme = 0
    for draws in chunks(len(data)):
        keys = generator.random((draws, len(data)), dtype=np.float32)
        places = np.argpartition(keys, size - 1, axis=1)[:, :size]
        extreme += int(np.sum(np.abs(np.sum(centred[places], axis=1)) >= least))
    return (extreme + 1) / (RESAMPLES + 1)


@lru_cache(maxsize=4)
def _splits(n: int, size: int) -> NDArray[np.intp]:
    """Every choice of `size` among n places."""
    return np.array(list(combinations(range(n), size)), dtype=np.intp)


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p values: the chance of any false claim among them stays below alpha (Holm 1979)."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted
