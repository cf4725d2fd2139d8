"""The search space: a disjoint union of products, which can be counted, numbered and drawn from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.branch import Axis, Branch, Uniform
from tuner.experiment.domain import identity
from tuner.experiment.trial import Configuration

__all__ = ["Axis", "Branch", "SearchSpace", "Uniform"]

_MAX_TRIES = 10_000


@dataclass(frozen=True)
class SearchSpace:
    """All configurations that an experiment leaves open.

    A finite space is an indexable sequence of its admitted points; none of its operations lists
    them. Axes vary in file order, the last one fastest, structural ones before all others. A list
    of thousands of closed branches is searched by bisection and by hash.
    """

    branches: tuple[Branch, ...]

    @cached_property
    def is_finite(self) -> bool:
        """Whether every open value has points: choices, integers, ranges with count or step."""
        return all(branch.is_finite for branch in self.branches)

    @cached_property
    def size(self) -> int:
        """Number of admitted points.

        Raises:
            InputError: there is a continuum among the open values.
        """
        if not self.is_finite:
            raise InputError(_endless(self))
        return self._ends[-1] if self._ends else 0

    @cached_property
    def excluded(self) -> int:
        """Number of points that constraints exclude; of a space without end, of its finite part."""
        finite = [branch for branch in self.branches if branch.is_finite]
        return sum(branch.grid.total - branch.grid.size for branch in finite)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The open dotted names in file order."""
        names = (name for branch in self.branches for name in branch.names)
        return tuple(dict.fromkeys(names))

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Configuration]:
        return (self[rank] for rank in range(self.size))

    def __getitem__(self, rank: int) -> Configuration:
        if not 0 <= rank < self.size:
            raise IndexError(f"point {rank} of a space of {self.size}")
        position = bisect_right(self._ends, rank)
        return self.branches[position].at(rank - self._start(position))

    def index(self, flat: Mapping[str, Any]) -> int | None:
        """The number of the point with these dotted values; None if it is no admitted point."""
        for position in self._candidates(flat):
            values = self.branches[position].find(flat)
            if values is not None and (rank := self.number(position, values)) is not None:
                return rank
        return None

    def find(self, flat: Mapping[str, Any]) -> Configuration | None:
        """The configuration of the space with these dotted values, finite or not."""
        for position in self._candidates(flat):
            branch = self.branches[position]
            values = branch.find(flat)
            if values is not None and branch.admits(values):
                return branch.close(values)
        return None

    def number(self, position: int, values: Mapping[str, Any]) -> int | None:
        """The number of the point of branch number `position` with these axis values.

        None if it is no admitted point; only for a finite space.
        """
        rank = self.branches[position].rank(values)
        return None if rank is None else self._start(position) + rank

    def draw(self, rng: Uniform) -> tuple[int, dict[str, Any]]:
        """Number of a branch, and a value for each of its axes; constraints may exclude them.

        `rng` is asked once for the branch, then once for each axis in turn: whoever gives it the
        coordinates of a point gets the values at that point.
        """
        position = self._position(rng.random())
        branch = self.branches[position]
        return position, {a.name: a.domain.sample(rng.random()) for a in branch.axes}

    def sample(self, rng: Uniform) -> Configuration:
        """A configuration at random: of a finite space, every point is equally likely; otherwise,
        every option of a choice, and every part of a range on its scale.

        Raises:
            InputError: the constraints admit nothing in many tries.
        """
        if self.is_finite:
            return self[int(rng.random() * self.size)]
        for _ in range(_MAX_TRIES):
            branch = self.branches[self._position(rng.random())]
            values = branch.draw(rng)
            if values is not None:
                return branch.close(values)
        what = f"search.constraints: nothing was admitted in {_MAX_TRIES:,} tries"
        raise InputError(Problem(what, mend="loosen the constraints"))

    def structures(self) -> Iterator[tuple[Configuration, int | None]]:
        """A configuration of each structure, and how many points share it; see `Branch`."""
        for branch in self.branches:
            yield from branch.structures()

    def _position(self, u: float) -> int:
        """The branch at `u` of [0, 1), by weight."""
        u *= self._weights[-1]
        return min(bisect_right(self._weights, u), len(self.branches) - 1)

    def _start(self, position: int) -> int:
        """How many points lie in the branches before this one."""
        return self._ends[position - 1] if position else 0

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(branch.grid.size for branch in self.branches))

    @cached_property
    def _weights(self) -> list[float]:
        return list(accumulate(branch.weight for branch in self.branches))

    def _candidates(self, flat: Mapping[str, Any]) -> Iterable[int]:
        """The branches that may hold a flat configuration, in order.

        Of closed branches with exactly its names, only the one with its values.
        """
        if frozenset(flat) not in self._closed_names:
            return range(len(self.branches))
        return sorted([*self._open, *self._closed.get(_values_of(flat), ())])

    @cached_property
    def _open(self) -> list[int]:
        return [position for position, branch in enumerate(self.branches) if branch.axes]

    @cached_property
    def _closed(self) -> dict[Any, list[int]]:
        """Closed branches by their values."""
        found: dict[Any, list[int]] = {}
        for position, branch in enumerate(self.branches):
            if not branch.axes:
                found.setdefault(_values_of(branch.close({}).flat()), []).append(position)
        return found

    @cached_property
    def _closed_names(self) -> frozenset[frozenset[str]]:
        return frozenset(frozenset(name for name, _ in values) for values in self._closed)


def _values_of(flat: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """What can be hashed, and is equal for flat configurations that are the same."""
    return frozenset((name, identity(value)) for name, value in flat.items())


def _endless(space: SearchSpace) -> Problem:
    endless = (a.name for b in space.branches for a in b.axes if not a.domain.is_finite)
    what = f"{next(endless)}: a range without count or step has no end of points"
    return Problem(what, mend="add count: 5")
