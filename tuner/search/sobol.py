"""Low-discrepancy search: the points of a scrambled Sobol sequence, as values of the space."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.domain import identity
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration
from tuner.search.permutation import Permutation
from tuner.search.planned import Planned

# The sequence is drawn in blocks of a power of two, which its balance asks for, and whose content
# depends on the seed alone.
_BLOCK = 1_024
# As many points in a row that constraints exclude or that are known, and no more are looked at.
_MAX_KNOWN = 1_000
_MAX_EXCLUDED = 10_000

Place = tuple[int, dict[str, Any]]
"""Number of a branch, and the values of its axes."""


class SobolPlan(Planned):
    """Points that fill the space more evenly than independent draws do.

    One dimension stands for the branch (where there are several), with the branches' weights, and
    one for each axis in its branch's order; each axis takes its coordinate on its own scale. What
    constraints exclude, and what is known already, is passed over. A finite space is exhausted:
    when points keep coming up known, the others follow in a random order.

    Source: Owen 1998, Scrambling Sobol' and Niederreiter-Xing points; `scipy.stats.qmc.Sobol`,
    whose scrambling belongs to its version.
    """

    def __init__(self, space: SearchSpace, max_trials: int, seed: int) -> None:
        super().__init__()
        self._space = space
        self._length = min(space.size, max_trials) if space.is_finite else max_trials
        self._points = _points(space, seed)
        self._others = iter(_order(space, seed))
        self._drawn: list[int | Place] = []  # numbers of points; without end, places
        self._known: set[Any] = set()

    @property
    def total(self) -> int:
        """Configurations in all."""
        return self._length

    def __getitem__(self, index: int) -> Configuration:
        self._check(index)
        while len(self._drawn) <= index:
            self._draw_new()
            self._check(index)
        drawn = self._drawn[index]
        if isinstance(drawn, int):
            return self._space[drawn]
        position, values = drawn
        return self._space.branches[position].close(values)

    def _check(self, index: int) -> None:
        if not 0 <= index < self._length:
            raise IndexError(f"configuration {index} of {self._length}")

    def _draw_new(self) -> None:
        found = self._new_number() if self._space.is_finite else self._new_place()
        if found is None:
            self._length = len(self._drawn)
        else:
            self._drawn.append(found)

    def _new_number(self) -> int | None:
        """The next point of a finite space."""
        for point in islice(self._points, _MAX_KNOWN):
            number = self._space.number(*self._space.draw(point))
            if number is not None and self._is_new(number):
                return number
        self._points = iter(())
        return next(filter(self._is_new, self._others), None)

    def _is_new(self, key: Any) -> bool:
        """Notes it, too."""
        before = len(self._known)
        self._known.add(key)
        return len(self._known) > before

    def _new_place(self) -> Place | None:
        """The next point of a space without end; None if it turns out to hold no others.

        Raises:
            InputError: the constraints admit nothing in many tries.
        """
        known = excluded = 0
        for point in self._points:
            position, values = place = self._space.draw(point)
            if not self._space.branches[position].admits(values):
                excluded += 1
            elif self._is_new((position, *map(identity, values.values()))):
                return place
            else:
                known += 1
            if known == _MAX_KNOWN or excluded == _MAX_EXCLUDED:
                break
        if not self._drawn and not known:
            what = f"search.constraints: nothing was admitted in {_MAX_EXCLUDED:,} tries"
            raise InputError(Problem(what, mend="loosen the constraints"))
        return None


class _Point:
    """Gives the coordinates of one point in turn, as what a space draws from."""

    def __init__(self, coordinates: Sequence[float]) -> None:
        self._coordinates = iter(coordinates)

    def random(self) -> float:
        """The next coordinate."""
        return next(self._coordinates)


def _points(space: SearchSpace, seed: int) -> Iterator[_Point]:
    """The sequence from its start, one point after the other."""
    import numpy as np
    from scipy.stats import qmc

    several = len(space.branches) > 1
    axes = max(len(branch.axes) for branch in space.branches)
    rng = np.random.default_rng(random.Random(f"{seed}/sobol").getrandbits(64))
    sequence = qmc.Sobol(max(1, axes + several), rng=rng)
    while True:
        for row in sequence.random(_BLOCK).tolist():
            yield _Point(row if several else [0.0, *row])


def _order(space: SearchSpace, seed: int) -> Iterator[int]:
    """Every point of a finite space in a random order."""
    if space.is_finite:
        yield from Permutation(space.size, seed)  # type: ignore[misc]
