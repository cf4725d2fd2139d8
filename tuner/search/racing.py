"""Racing: further replicates of a configuration only while it is not clearly losing.

A replicate costs as much as a new configuration. Where the mean of a configuration lies so far
below that of the best one that chance between seeds does not explain it, the rest is not run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuner.experiment.objective import Objective

ALPHA = 0.01
"""Error probability, one-sided, with which a configuration is called losing."""

MIN_DEGREES = 3
"""Degrees of freedom below which the spread between seeds counts as unknown."""


@dataclass
class _Scores:
    """What has been seen of one configuration; only sums are kept."""

    n: int = 0
    mean: float = 0.0
    squares: float = field(default=0.0)  # sum of squared deviations from the mean

    def add(self, score: float) -> None:
        """Welford's update."""
        self.n += 1
        step = score - self.mean
        self.mean += step / self.n
        self.squares += step * (score - self.mean)

    def remove(self, score: float) -> None:
        """The same backwards."""
        self.n -= 1
        step = score - self.mean
        self.mean = self.mean - step / self.n if self.n else 0.0
        self.squares = max(0.0, self.squares - step * (score - self.mean)) if self.n else 0.0


class Racing:
    """A one-sided t test of each configuration against the best one.

    The standard deviation between seeds is pooled over all configurations with two scores or more,
    so a single score of a configuration can decide once the spread is known. The best one is the
    one with the best mean.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._seen: dict[str, _Scores] = defaultdict(_Scores)
        self._squares = 0.0
        self._degrees = 0
        self._best: str | None = None

    def note(self, configuration: str, score: float, instead_of: float | None = None) -> None:
        """One more replicate of a configuration, known by any name of its own.

        Or that one of them which had ended with another score went on.
        """
        seen = self._seen[configuration]
        before = seen.squares, max(1, seen.n)
        if instead_of is not None:
            seen.remove(self._objective.gain(instead_of))
        seen.add(self._objective.gain(score))
        self._squares += seen.squares - before[0]
        self._degrees += max(1, seen.n) - before[1]
        if self._best == configuration:  # its mean may have sunk below another's
            self._best = max(self._seen, key=lambda name: self._seen[name].mean)
        elif self._best is None or seen.mean > self._seen[self._best].mean:
            self._best = configuration

    def verdict(self, configuration: str, scores: Sequence[float]) -> str:
        """Why no further replicate is worth its time; empty if one is.

        `scores` are those of the configuration so far, which were noted; none at all means that
        its replicates diverged or failed.
        """
        if not scores:
            return "racing: no replicate so far has a score"
        if self._best in (None, configuration) or self._degrees < MIN_DEGREES:
            return ""
        assert self._best is not None
        mine, best = self._seen[configuration], self._seen[self._best]
        error = math.sqrt(self._squares / self._degrees * (1 / mine.n + 1 / best.n))
        if best.mean - mine.mean <= _quantile(self._degrees) * error:
            return ""
        return (
            f"racing: mean {self._objective.shown(mine.mean)} of {mine.n} is clearly worse than "
            f"{self._objective.shown(best.mean)} of {best.n}"
        )


def _quantile(degrees: int) -> float:
    """Of Student's t distribution, at 1 - ALPHA."""
    from scipy import special  # late: only who races waits for it

    return float(special.stdtrit(degrees, 1 - ALPHA))
