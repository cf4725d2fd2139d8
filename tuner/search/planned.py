"""Methods that know beforehand what they will propose: a lazy sequence, walked once."""

from __future__ import annotations

import hashlib
import itertools
import random
from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.domain import identity
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration, canonical
from tuner.search.method import Proposal, SearchMethod

_MAX_DUPLICATES = 1_000
# The Sobol sequence is drawn in blocks of a power of two, which its balance asks for, and whose
# content depends on the seed alone.
_SOBOL_BLOCK = 1_024
# As many points in a row that constraints exclude or that are known, and no more are looked at.
_MAX_KNOWN = 1_000
_MAX_EXCLUDED = 10_000
_MAX_IMPOSSIBLE = 2_000
_FEISTEL_ROUNDS = 8

BranchPoint = tuple[int, dict[str, Any]]
"""Number of a branch, and the values of its axes."""


class Planned(SearchMethod):
    """A sequence of configurations that depends on the space and the seed alone.

    Point `i` is `plan[i]`, without those before it being listed. A higher `max_trials` only adds
    to the end, so that raising it keeps what was done.
    """

    def __init__(self, space: SearchSpace, length: int) -> None:
        self._space = space
        self._length = length  # shrinks where a space without end turns out to have one
        self._asked = 0

    @abstractmethod
    def __getitem__(self, index: int) -> Configuration:
        """Configuration number `index`; IndexError past the end."""

    def __iter__(self) -> Iterator[Configuration]:
        for index in range(self.total):
            try:
                yield self[index]
            except IndexError:
                return

    def __len__(self) -> int:
        return self.total

    @property
    def plan(self) -> Planned:
        """Itself."""
        return self

    @property
    def total(self) -> int:
        """Configurations in all; may be more than a `len` can hold."""
        return self._length

    @property
    def exhausted(self) -> bool:
        """Whether the whole sequence was proposed."""
        return self._asked >= self.total

    @property
    def position(self) -> int:
        """How many were proposed: the place of the next one."""
        return self._asked

    def go_to(self, position: int) -> None:
        """Propose from this place on; those before it were proposed by an earlier run."""
        self._asked = min(position, self.total)

    def ask(self) -> Proposal | None:
        """The next of the sequence."""
        if self.exhausted:
            return None
        try:
            configuration = self[self._asked]
        except IndexError:
            return None
        self._asked += 1
        return Proposal(configuration, place=self._asked - 1)


class PossiblePlan(Planned):
    """Another plan without what cannot be built, each asked for when its turn comes.

    It ends early where so many in a row cannot be that nothing else is to be expected.
    """

    def __init__(
        self, plan: Planned, max_trials: int | None, can_build: Callable[[Configuration], bool]
    ) -> None:
        super().__init__(plan._space, _least(plan.total, max_trials))
        self._plan = plan
        self._can_build = can_build
        self._places: list[int] = []  # of those that can be built, in the other plan
        self._looked_at = 0

    def __getitem__(self, index: int) -> Configuration:
        _checked(index, self._length)
        while len(self._places) <= index:
            self._look_for_next()
            _checked(index, self._length)
        return self._plan[self._places[index]]

    def _look_for_next(self) -> None:
        for _ in range(_MAX_IMPOSSIBLE):
            try:
                configuration = self._plan[self._looked_at]
            except IndexError:
                break
            self._looked_at += 1
            if self._can_build(configuration):
                self._places.append(self._looked_at - 1)
                return
        self._length = len(self._places)


class StartedPlan(Planned):
    """Another plan behind some configurations of its space, which it then leaves out.

    `ranks` are their places in the other plan, where those are known. Otherwise the plan is walked
    up to the place that is asked for, until all of them were met.
    """

    def __init__(
        self,
        plan: Planned,
        start: Sequence[Configuration],
        ranks: Sequence[int] | None = None,
    ) -> None:
        super().__init__(plan._space, plan.total)
        self._plan = plan
        self._start = start
        self._keys = {canonical(configuration.flat()) for configuration in start}
        self._met = sorted(ranks or ())
        self._looked_at = 0

    def __getitem__(self, index: int) -> Configuration:
        _checked(index, self._length)
        if index < len(self._start):
            return self._start[index]
        try:
            return self._plan[self._place(index - len(self._start))]
        except IndexError:  # A space without end turned out to have one.
            self._length = len(self._start) + self._plan.total - len(self._met)
            raise

    def has_rank(self, rank: int) -> bool:
        """Whether it proposes what has this place in the other plan; only of a grid."""
        before = bisect_right(self._met, rank)
        is_picked = before > 0 and self._met[before - 1] == rank
        return is_picked or len(self._start) + rank - before < self._length

    def _place(self, number: int) -> int:
        """Of configuration `number` (from 0) of the other plan that is not of the start."""
        while len(self._met) < len(self._start) and self._looked_at <= number + len(self._met):
            if canonical(self._plan[self._looked_at].flat()) in self._keys:
                self._met.append(self._looked_at)
            self._looked_at += 1
        place = number
        for met in self._met:
            place += met <= place
        return place


class GridPlan(Planned):
    """Every admitted point of a finite space in its order: what compiles together comes together.

    `max_trials` takes the first so many. Raises InputError for a space without end.
    """

    def __init__(self, space: SearchSpace, max_trials: int | None = None) -> None:
        super().__init__(space, _least(space.size, max_trials))

    def __getitem__(self, index: int) -> Configuration:
        return self._space[_checked(index, self._length)]


class RandomPlan(Planned):
    """Points of a finite space in a random order, none twice: drawn from the top down.

    Every option of a choice is equally likely, and under it every value.
    """

    def __init__(self, space: SearchSpace, max_trials: int | None, seed: int) -> None:
        super().__init__(space, _least(space.size, max_trials))
        self._order: Permutation | TopDownOrder = Permutation(space.size, seed)
        if not space.is_even:
            self._order = TopDownOrder(space, seed)

    def __getitem__(self, index: int) -> Configuration:
        return self._space[self._order[_checked(index, self._length)]]


class DrawnPlan(Planned):
    """Independent draws from a space without end; an exact duplicate is drawn again.

    Draw `i` has a generator of its own, so that its number is all that is kept of it. Where the
    space turns out to hold fewer configurations than `max_trials` (a range of a few integers on a
    log scale), the sequence ends early.
    """

    def __init__(self, space: SearchSpace, max_trials: int, seed: int) -> None:
        super().__init__(space, max_trials)
        self._seed = seed
        self._drawn = array("q")  # numbers of draws
        self._known: set[bytes] = set()  # digests of eight bytes
        self._draws = 0
        self._newest: Configuration | None = None  # of the last number in `_drawn`

    def __getitem__(self, index: int) -> Configuration:
        _checked(index, self._length)
        while len(self._drawn) <= index:
            self._draw_new()
            _checked(index, self._length)
        if index == len(self._drawn) - 1 and self._newest is not None:
            return self._newest
        return self._draw(self._drawn[index])

    def _draw(self, number: int) -> Configuration:
        return self._space.sample(random.Random(f"{self._seed}/random/{number}"))

    def _draw_new(self) -> None:
        for number in range(self._draws, self._draws + _MAX_DUPLICATES):
            configuration = self._draw(number)
            text = canonical(configuration.values).encode()
            key = hashlib.blake2b(text, digest_size=8).digest()
            if key not in self._known:
                self._known.add(key)
                self._drawn.append(number)
                self._draws, self._newest = number + 1, configuration
                return
        self._draws += _MAX_DUPLICATES
        self._length = len(self._drawn)


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
        super().__init__(space, min(space.size, max_trials) if space.is_finite else max_trials)
        self._points = _sobol_points(space, seed)
        self._others = iter(_in_random_order(space, seed))
        self._drawn: list[int | BranchPoint] = []  # numbers of points, if they have any
        self._known: set[Any] = set()

    def __getitem__(self, index: int) -> Configuration:
        _checked(index, self._length)
        while len(self._drawn) <= index:
            self._draw_new()
            _checked(index, self._length)
        drawn = self._drawn[index]
        if isinstance(drawn, int):
            return self._space[drawn]
        position, values = drawn
        return self._space.branches[position].close(values)

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

    def _new_place(self) -> BranchPoint | None:
        """The next point of a space without end; None if it turns out to hold no others.

        Raises:
            InputError: the constraints admit nothing in many tries.
        """
        known = excluded = 0
        for coordinates in self._points:
            position, values = point = self._space.draw(coordinates)
            if not self._space.branches[position].admits(values):
                excluded += 1
            elif self._is_new((position, *map(identity, values.values()))):
                return point
            else:
                known += 1
            if known == _MAX_KNOWN or excluded == _MAX_EXCLUDED:
                break
        if not self._drawn and not known:
            what = f"search.constraints: nothing was allowed in {_MAX_EXCLUDED:,} tries"
            raise InputError(Problem(what, mend="loosen the constraints"))
        return None


class _Coordinates:
    """Gives the coordinates of one point in turn, as what a space draws from."""

    def __init__(self, coordinates: Sequence[float]) -> None:
        self._coordinates = iter(coordinates)

    def random(self) -> float:
        """The next coordinate."""
        return next(self._coordinates)


def _sobol_points(space: SearchSpace, seed: int) -> Iterator[_Coordinates]:
    """The sequence from its start, one point after the other."""
    import numpy as np
    from scipy.stats import qmc

    several = len(space.branches) > 1
    axes = max(len(branch.axes) for branch in space.branches)
    rng = np.random.default_rng(random.Random(f"{seed}/sobol").getrandbits(64))
    sequence = qmc.Sobol(max(1, axes + several), rng=rng)
    while True:
        for row in sequence.random(_SOBOL_BLOCK).tolist():
            yield _Coordinates(row if several else [0.0, *row])


def _in_random_order(space: SearchSpace, seed: int) -> Iterator[int]:
    """Every point of a finite space in a random order."""
    if space.is_finite:
        yield from Permutation(space.size, seed)  # type: ignore[misc]


class Permutation:
    """A random order of `range(size)` that needs no list: position `i` is computed when asked for.

    A seeded permutation by a balanced Feistel network with cycle walking. The network permutes
    4^k ≥ size numbers; what falls outside is sent through again, which takes fewer than 4 passes
    on average. Source: Black & Rogaway 2002, section 3 (cycle walking) and 4.
    """

    def __init__(self, size: int, seed: int | str) -> None:
        self.size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._key = f"{seed}/permutation".encode()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"position {index} of {self.size}")
        index = self._network(index)
        while index >= self.size:
            index = self._network(index)
        return index

    def _network(self, value: int) -> int:
        mask = (1 << self._half) - 1
        left, right = value >> self._half, value & mask
        for number in range(_FEISTEL_ROUNDS):
            left, right = right, left ^ (self._mix(number, right) & mask)
        return left << self._half | right

    def _mix(self, number: int, value: int) -> int:
        text = b"%s/%d/%d" % (self._key, number, value)
        digest = hashlib.blake2b(text, digest_size=(self._half + 7) // 8).digest()
        return int.from_bytes(digest, "big")


class TopDownOrder:
    """The numbers of all points of a finite space: each draws a branch, then one of its points.

    A branch comes with its mass until all of its points have come. Inside, a permutation says
    which is next, so that nothing is drawn in vain; only the numbers that were drawn are kept.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._rng = random.Random(f"{seed}/branches")
        sizes = [branch.grid.size for branch in space.branches]
        self._orders = [Permutation(size, f"{seed}/{b}") for b, size in enumerate(sizes)]
        self._taken = [0] * len(sizes)
        self._drawn: list[int] = []
        self._note_open()

    def __getitem__(self, index: int) -> int:
        while len(self._drawn) <= index:
            self._drawn.append(self._draw())
        return self._drawn[index]

    def _draw(self) -> int:
        u = self._rng.random() * self._ends[-1]
        branch = self._open[min(bisect_right(self._ends, u), len(self._open) - 1)]
        number = self._orders[branch][self._taken[branch]]
        self._taken[branch] += 1
        if self._taken[branch] == self._orders[branch].size:
            self._note_open()
        return self._space.start(branch) + number

    def _note_open(self) -> None:
        """The branches that have points left, and where their masses end, one after the other."""
        orders = enumerate(self._orders)
        self._open = [branch for branch, order in orders if self._taken[branch] < order.size]
        masses = self._space.masses
        self._ends = list(itertools.accumulate(masses[branch] for branch in self._open))


def started(plan: Planned, start: Sequence[Configuration]) -> Planned:
    """The plan behind these configurations of its space; of a grid, their places are known."""
    if not start:
        return plan
    start, ranks = start[: plan.total], None
    if isinstance(plan, GridPlan):
        found = (plan._space.index(configuration.flat()) for configuration in start)
        ranks = [rank for rank in found if rank is not None]
    return StartedPlan(plan, start, ranks)


def _least(size: int, max_trials: int | None) -> int:
    return size if max_trials is None else min(size, max_trials)


def _checked(index: int, length: int) -> int:
    if not 0 <= index < length:
        raise IndexError(f"configuration {index} of {length}")
    return index
