"""Methods that know beforehand what they will propose: a lazy sequence, walked once."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator

from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration, canonical
from tuner.search.method import Proposal, SearchMethod
from tuner.search.permutation import Permutation

_MAX_DUPLICATES = 1_000


class Planned(SearchMethod):
    """A sequence of configurations that depends on the space and the seed alone.

    Point `i` is `plan[i]`, without those before it being listed. A higher `max_trials` only adds
    to the end, so that raising it keeps what was done.
    """

    def __init__(self) -> None:
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
    @abstractmethod
    def total(self) -> int:
        """Configurations in all; may be more than a `len` can hold."""

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
        return Proposal(configuration)


class GridPlan(Planned):
    """Every admitted point of a finite space in its order: what compiles together comes together.

    `max_trials` takes the first so many. Raises InputError for a space without end.
    """

    def __init__(self, space: SearchSpace, max_trials: int | None = None) -> None:
        super().__init__()
        self._space = space
        self._length = _least(space.size, max_trials)

    @property
    def total(self) -> int:
        """Configurations in all."""
        return self._length

    def __getitem__(self, index: int) -> Configuration:
        return self._space[_checked(index, self._length)]


class RandomPlan(Planned):
    """Points of a finite space in a random order: without replacement, and without a list."""

    def __init__(self, space: SearchSpace, max_trials: int | None, seed: int) -> None:
        super().__init__()
        self._space = space
        self._length = _least(space.size, max_trials)
        self._order = Permutation(space.size, seed)

    @property
    def total(self) -> int:
        """Configurations in all."""
        return self._length

    def __getitem__(self, index: int) -> Configuration:
        return self._space[self._order[_checked(index, self._length)]]


class DrawnPlan(Planned):
    """Independent draws from a space without end; an exact duplicate is drawn again.

    Draw `i` has a generator of its own. Where the space turns out to hold fewer configurations
    than `max_trials` (a range of a few integers on a log scale), the sequence ends early.
    """

    def __init__(self, space: SearchSpace, max_trials: int, seed: int) -> None:
        super().__init__()
        self._space = space
        self._length = max_trials
        self._seed = seed
        self._drawn: list[Configuration] = []
        self._known: set[str] = set()
        self._draws = 0

    @property
    def total(self) -> int:
        """Configurations in all."""
        return self._length

    def __getitem__(self, index: int) -> Configuration:
        _checked(index, self._length)
        while len(self._drawn) <= index:
            self._draw_new()
            _checked(index, self._length)
        return self._drawn[index]

    def _draw_new(self) -> None:
        for _ in range(_MAX_DUPLICATES):
            rng = random.Random(f"{self._seed}/random/{self._draws}")
            self._draws += 1
            configuration = self._space.sample(rng)
            key = canonical(configuration.values)
            if key not in self._known:
                self._known.add(key)
                self._drawn.append(configuration)
                return
        self._length = len(self._drawn)


def _least(size: int, max_trials: int | None) -> int:
    return size if max_trials is None else min(size, max_trials)


def _checked(index: int, length: int) -> int:
    if not 0 <= index < length:
        raise IndexError(f"configuration {index} of {length}")
    return index
