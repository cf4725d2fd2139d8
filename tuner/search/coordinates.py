"""The open values of a space as numbers of [0, 1], each evenly spaced on its own scale."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tuner.experiment.domain import Choice, Range
from tuner.experiment.space import Axis, SearchSpace

# Of a neighbour, on the scale of a value; what is nearer than the least would be the same trial.
_LEAST_STEP, _MEAN_STEP = 0.02, 0.15


@dataclass(frozen=True, eq=False)
class UnitAxis:
    """An open value; `name` is its dotted name, marked where branches open it differently.

    Where it has points, `points` are they: numbers in rising order, otherwise as written.
    """

    name: str
    axis: Axis

    @cached_property
    def points(self) -> Sequence[Any] | None:
        """The values of a finite axis."""
        if not self.axis.domain.is_finite:
            return None
        return sorted(self.axis.points) if self.is_sorted else self.axis.points

    @cached_property
    def is_ordered(self) -> bool:
        """Whether its values are numbers; other options have no order."""
        return isinstance(self.axis.domain, Range) or all(map(_is_number, self.axis.points))

    @property
    def is_sorted(self) -> bool:
        """Whether the order of its points is not that in which they are written."""
        return isinstance(self.axis.domain, Choice) and self.is_ordered

    def place(self, value: Any) -> float:
        """Where the value lies in [0, 1]; point i of n at (i + 0.5) / n."""
        if self.points is None:
            assert isinstance(self.axis.domain, Range)
            return self.axis.domain.place(value)
        return (self.index(value) + 0.5) / len(self.points)

    def index(self, value: Any) -> int:
        """Which point the value is."""
        digit = self.axis.digit(value)
        assert digit is not None, "only configurations of the space are known"
        return self._ranks[digit] if self.is_sorted else digit

    def value(self, place: float) -> Any:
        """The value at a place of [0, 1]."""
        if self.points is None:
            return self.axis.domain.sample(place)
        return self.points[min(int(place * len(self.points)), len(self.points) - 1)]

    def near(self, value: Any, rng: random.Random) -> Any:
        """Another value, close on the scale; of options without an order, any."""
        if not self.is_ordered:
            return self.value(rng.random())
        step = _LEAST_STEP + rng.expovariate(1 / (_MEAN_STEP - _LEAST_STEP))
        step *= rng.choice((-1, 1))
        if self.points is not None:  # the next point at least
            step += (0.5 if step > 0 else -0.5) / len(self.points)
        return self.value(min(max(self.place(value) + step, 0.0), 1.0))

    @cached_property
    def _ranks(self) -> dict[int, int]:
        order = sorted(range(len(self.axis.points)), key=lambda digit: self.axis.points[digit])
        return {digit: rank for rank, digit in enumerate(order)}


@dataclass(frozen=True)
class Point:
    """A configuration by the number of its branch and the value of each of that branch's axes."""

    branch: int
    values: Mapping[str, Any]


class Coordinates:
    """The dimensions of a space; what branches open alike is one and the same dimension."""

    def __init__(self, space: SearchSpace) -> None:
        self.branches: list[list[UnitAxis]] = []
        """The dimensions of each branch, in the order of its axes."""
        known: dict[str, list[UnitAxis]] = {}
        for branch in space.branches:
            self.branches.append([_dimension(axis, known) for axis in branch.axes])
        self.dimensions = [dimension for alike in known.values() for dimension in alike]

    def near(self, point: Point, rng: random.Random) -> Point:
        """The same but for one value or a few, which are others nearby."""
        values, dimensions = dict(point.values), self.branches[point.branch]
        chosen = rng.randrange(len(dimensions)) if dimensions else -1
        for number, dimension in enumerate(dimensions):
            if number == chosen or rng.random() < 1 / len(dimensions):
                values[dimension.axis.name] = dimension.near(values[dimension.axis.name], rng)
        return Point(point.branch, values)


def _dimension(axis: Axis, known: dict[str, list[UnitAxis]]) -> UnitAxis:
    """That of another branch with the same values, or a new one."""
    alike = known.setdefault(axis.name, [])
    same = (dimension for dimension in alike if repr(dimension.axis.domain) == repr(axis.domain))
    if (dimension := next(same, None)) is None:
        mark = f" ({len(alike) + 1})" if alike else ""
        dimension = UnitAxis(f"{axis.name}{mark}", axis)
        alike.append(dimension)
    return dimension


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
