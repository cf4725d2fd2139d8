"""What is optimized, and so what "better" means: the one owner of sign, best and rank."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Objective:
    """A metric of an epoch and the direction in which it is good.

    A trial's score is the metric's best value over its epochs, the earliest one in a tie. NaN is
    never best. Where values are compared or averaged, gains are easier: values turned so that more
    is better.
    """

    metric: str = "val_accuracy"
    direction: Literal["max", "min"] = "max"

    @property
    def sign(self) -> float:
        """1.0 where more is better, otherwise -1.0: a gain is `sign * value`, and back."""
        return 1.0 if self.direction == "max" else -1.0

    def gain(self, value: float) -> float:
        """The value turned so that more is better; of a gain, the value again."""
        return self.sign * value

    def gain_of(self, metrics: Mapping[str, float]) -> float:
        """The gain of an epoch."""
        return self.sign * metrics[self.metric]

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether a value beats another; a tie does not, nor does NaN; anything beats None."""
        if math.isnan(value):
            return False
        return than is None or math.isnan(than) or self.gain(value) > self.gain(than)

    def best(self, values: Iterable[float]) -> float | None:
        """The best of some values; None if none is a number."""
        return max((v for v in values if not math.isnan(v)), key=self.gain, default=None)

    def best_epoch(self, epochs: Iterable[tuple[int, float]]) -> tuple[int | None, float | None]:
        """Epoch and value of the best of (epoch, value); the earliest in a tie."""
        numbers = [(epoch, value) for epoch, value in epochs if not math.isnan(value)]
        if not numbers:
            return None, None
        return max(numbers, key=lambda entry: (self.gain(entry[1]), -entry[0]))

    def rank_key(self, score: float, number: int) -> tuple[float, int]:
        """Sorts the best score to the front, ties to the earlier trial."""
        return -self.gain(score), number

    def shown(self, gain: float) -> str:
        """The value behind a gain in four digits."""
        return shown(self.sign * gain)

    @property
    def better(self) -> str:
        """`higher` or `lower`: what a reader must know of the scores."""
        return "higher" if self.direction == "max" else "lower"


def shown(value: float) -> str:
    """Four digits; zero has no sign."""
    return f"{value + 0.0:.4g}"


def standing(rank: int, among: str, kept: int) -> str:
    """A rank and how many go on: `7th of 12, the best 4 go on`."""
    going = "the best goes on" if kept == 1 else f"the best {kept} go on"
    return f"{ordinal(rank)} of {among}, {going}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ..., 11th, ..., 21st."""
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
