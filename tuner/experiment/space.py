"""The search space: a disjoint union of products, which can be counted, numbered and drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.branch import Axis, Branch, Uniform
from tuner.experiment.trial import Configuration

__all__ = ["Axis", "Branch", "SearchSpace", "Uniform"]

_MAX_TRIES = 10_000


@dataclass(frozen=True)
class SearchSpace:
    """All configurations that an experiment leaves open.

    A finite space is an indexable sequence of its admitted points; none of its operations lists
    them. Axes vary in file order, the last one fastest, structural ones before all others.
    """

    branches: tuple[Branch, ...]

    @property
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
        return sum(branch.grid.size for branch in self.branches)

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
        for branch in self.branches:
            if rank < branch.grid.size:
                return branch.at(rank)
            rank -= branch.grid.size
        raise AssertionError("sizes do not add up")

    def index(self, flat: Mapping[str, Any]) -> int | None:
        """The number of the point with these dotted values; None if it is no admitted point."""
        before = 0
        for branch in self.branches:
            values = branch.find(flat)
            if values is not None and (rank := branch.rank(values)) is not None:
                return before + rank
            before += branch.grid.size
        return None

    def find(self, flat: Mapping[str, Any]) -> Configuration | None:
        """The configuration of the space with these dotted values, finite or not."""
        for branch in self.branches:
            values = branch.find(flat)
            if values is not None and branch.admits(values):
                return branch.close(values)
        return None

    def sample(self, rng: Uniform) -> Configuration:
        """A configuration at random: of a finite space, every point is equally likely; otherwise,
        every option of a choice, and every part of a range on its scale.

        Raises:
            InputError: the constraints admit nothing in many tries.
        """
        if self.is_finite:
            return self[int(rng.random() * self.size)]
        for _ in range(_MAX_TRIES):
            branch = self._branch(rng.random())
            values = branch.draw(rng)
            if values is not None:
                return branch.close(values)
        what = f"search.constraints: nothing was admitted in {_MAX_TRIES:,} tries"
        raise InputError(Problem(what, mend="loosen the constraints"))

    def structures(self) -> Iterator[tuple[Configuration, int | None]]:
        """A configuration of each structure, and how many points share it; see `Branch`."""
        for branch in self.branches:
            yield from branch.structures()

    def _branch(self, u: float) -> Branch:
        u *= sum(branch.weight for branch in self.branches)
        for branch in self.branches:
            if u < branch.weight:
                return branch
            u -= branch.weight
        return self.branches[-1]


def _endless(space: SearchSpace) -> Problem:
    endless = (a.name for b in space.branches for a in b.axes if not a.domain.is_finite)
    what = f"{next(endless)}: a range without count or step has no end of points"
    return Problem(what, mend="add count: 5")
