"""Is the difference real: what may be claimed of one side against another, and when nothing may."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tuner.report import words
from tuner.report.stats.intervals import (
    ALPHA,
    Interval,
    bca_interval,
    mean_interval,
    welch_interval,
    widened_reach,
)
from tuner.report.stats.permutation import holm, sign_flip_p, split_p
from tuner.report.stats.samples import checked

__all__ = [
    "ALPHA",
    "Difference",
    "Interval",
    "Verdict",
    "holm",
    "judged",
    "mean_interval",
    "paired",
    "unpaired",
]


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
    is BCa for pairs and Welch's else. `p` is the permutation test's, `p_adjusted` Holm's over
    `num_comparisons`; `smallest_p` is the least that the test could give for so many values.
    """

    n: int
    mean: float
    interval: Interval
    p: float
    smallest_p: float
    is_paired: bool
    direction: str
    p_adjusted: float
    num_comparisons: int
    verdict: Verdict

    @property
    def is_claim(self) -> bool:
        """Whether a difference is claimed."""
        return self.verdict in (Verdict.BETTER, Verdict.WORSE)

    def told(self, unit: str = "seed") -> str:
        """The verdict in words; where nothing can be decided, with how few values and why."""
        if self.verdict is not Verdict.UNDECIDABLE:
            return self.verdict.value
        text = f"{self.verdict.value} with {words.counted(self.n, unit)}"
        if self.num_comparisons > 1 and self.n > 1 and self.smallest_p <= ALPHA:
            return f"{text} in {self.num_comparisons} comparisons"
        return text


def paired(
    one: Sequence[float], other: Sequence[float], *, direction: str = "max", seed: int = 0
) -> Difference:
    """What `one` is against `other`, value by value: under the same seeds, on the same settings.

    A difference is claimed only where the BCa interval of the differences, widened for few values,
    excludes zero and the sign-flip test gives p ≤ 0.05. The least p of n pairs is 2 / 2^n: nothing
    can be decided with fewer than six. `direction` says which way is better.

    Raises:
        ValueError: the sides differ in length, are empty, or a value is not finite.
    """
    first, second = checked(one), checked(other)
    if len(first) != len(second):
        raise ValueError(f"pairs need equal lengths, not {len(first)} and {len(second)}")
    differences = (first - second).tolist()
    n = len(differences)
    interval = bca_interval(differences, reach=widened_reach(n), seed=seed)
    p = sign_flip_p(differences, seed=seed)
    found = _difference(interval, p, 2.0 ** (1 - n), is_paired=True, direction=direction)
    return judged([found])[0]


def unpaired(
    one: Sequence[float], other: Sequence[float], *, direction: str = "max", seed: int = 0
) -> Difference:
    """What `one` is against `other` where no value of one belongs to a value of the other.

    A difference is claimed only where Welch's interval (variances may differ) excludes zero and
    the permutation test gives p ≤ 0.05; a side of one value decides nothing.

    Raises:
        ValueError: a side is empty, or a value is not finite.
    """
    first, second = checked(one), checked(other)
    n = min(len(first), len(second))
    ways = math.comb(len(first) + len(second), n)
    # Opposite splits are equally far apart where the sides are equally large.
    smallest = min(1.0, (2 if len(first) == len(second) else 1) / ways) if n > 1 else 1.0
    interval = welch_interval(one, other)
    p = split_p(one, other, seed=seed)
    found = _difference(interval, p, smallest, is_paired=False, direction=direction)
    return judged([found])[0]


def judged(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences, judged together: p adjusted by Holm over those that can be decided.

    One that is too small to give p ≤ 0.05 at all can give no false claim either, and so costs the
    others nothing (Tarone 1990).
    """
    places = [place for place, found in enumerate(differences) if found.smallest_p <= ALPHA]
    ps = holm([differences[place].p for place in places])
    least = holm([differences[place].smallest_p for place in places])
    by_place = dict(zip(places, zip(ps, least, strict=True), strict=True))
    together = []
    for place, found in enumerate(differences):
        p, attainable = by_place.get(place, (found.p, 1.0))
        changed = replace(found, p_adjusted=p, num_comparisons=max(1, len(places)))
        together.append(replace(changed, verdict=_verdict(changed, attainable)))
    return together


# ---------------------------------------------------------------------- inside


def _difference(
    interval: Interval, p: float, smallest_p: float, *, is_paired: bool, direction: str
) -> Difference:
    return Difference(
        n=interval.n,
        mean=interval.mean,
        interval=interval,
        p=p,
        smallest_p=smallest_p,
        is_paired=is_paired,
        direction=direction,
        p_adjusted=p,
        num_comparisons=1,
        verdict=Verdict.UNDECIDABLE,
    )


def _verdict(difference: Difference, attainable_p: float) -> Verdict:
    if attainable_p > ALPHA or not difference.interval.is_bounded:
        return Verdict.UNDECIDABLE
    if difference.p_adjusted > ALPHA or not difference.interval.excludes_zero:
        return Verdict.NOISE
    rises = difference.mean > 0
    return Verdict.BETTER if rises == (difference.direction == "max") else Verdict.WORSE
