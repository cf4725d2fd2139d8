"""Values of the objective turned so that more is better, and how a rank is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tuner.experiment.schema import Objective


class Gains:
    """Turns values of the objective's metric into gains, of which the highest is best."""

    def __init__(self, objective: Objective) -> None:
        self._metric = objective.metric
        self._sign = 1.0 if objective.direction == "max" else -1.0

    def of(self, metrics: Mapping[str, float]) -> float:
        """The gain of an epoch."""
        return self._sign * metrics[self._metric]

    def best(self, values: Iterable[float]) -> float:
        """The highest gain of some values of the metric."""
        return max(self._sign * value for value in values)

    def from_value(self, value: float) -> float:
        """The gain of a value of the metric."""
        return self._sign * value

    def shown(self, gain: float) -> str:
        """The value of the metric behind a gain, as a person reads it."""
        return shown(self._sign * gain)


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
