"""Searches that learn: what became of earlier trials decides which configuration comes next."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from statistics import NormalDist

from tuner.experiment.experiment import Experiment
from tuner.experiment.objective import Objective
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration, canonical
from tuner.search.coordinates import Point
from tuner.search.method import Proposal, Result, SearchMethod
from tuner.search.planned import DrawnPlan, Planned, RandomPlan, started

_SPARE = 1_000  # points of the plan beyond max_trials, for proposals of the model that will not do
_MANY_SPARE = 10_000  # where many may turn out impossible to build
_NUM_WANTED = 100  # of which the first is taken that can be built
_NICE = 10  # of the thread that works out proposals: the cores belong to the training


@dataclass(frozen=True)
class Knowledge:
    """What is known when something is proposed, in order of proposal.

    `ended` holds what has come to its end, of whatever kind, each with how it did: more is
    better, and all together are spread like a standard normal variable. `waiting` is being trained.
    """

    ended: Sequence[tuple[Point, float]]
    waiting: Sequence[Point]


class Model(ABC):
    """What is learnt from trials. Proposes, and knows nothing but what it is told."""

    @abstractmethod
    def load(self) -> None:
        """Import what it needs; takes a second or two, and is done before the first proposal."""

    @abstractmethod
    def proposals(self, known: Knowledge, seed: int) -> Iterator[Point]:
        """What it wants, most of all first; some may be known, or break a constraint."""


@dataclass(frozen=True)
class _Known:
    """What was proposed, where it lies, and what is known of it."""

    point: Point
    result: Result


class LearningSearch(SearchMethod):
    """A search by a model, by ask and tell.

    The first proposals are those of a random search, one for each open value of a configuration and
    one more, those that a person has picked (`start`) before all others. Every later one is a
    function of the seed, of its number and of the results in order of proposal, not of the order in
    which they came in. A result is of use, and counts, whoever proposed it. `can_build` is asked
    before a configuration is proposed.
    """

    def __init__(
        self,
        space: SearchSpace,
        model: Model,
        *,
        max_trials: int,
        seed: int,
        objective: Objective,
        start: Sequence[Configuration] = (),
        can_build: Callable[[Configuration], bool] | None = None,
    ) -> None:
        self._space = space
        self._model = model
        self._can_build = can_build or (lambda configuration: True)
        self._num_wanted = 1 if can_build is None else _NUM_WANTED
        self._seed = seed
        self._objective = objective
        self._total = min(space.size, max_trials) if space.is_finite else max_trials
        spare = _SPARE if can_build is None else _MANY_SPARE
        self._plan = started(_random_plan(space, max_trials + spare, seed), start)
        self._start = start
        self._place = 0  # in the plan; everything before it is known
        self._known: dict[str, _Known] = {}  # in order of proposal
        self._interrupted: deque[Configuration] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._loaded: Future[None] | None = None
        self._thought: Future[list[Configuration]] | None = None

    @property
    def is_adaptive(self) -> bool:
        """Always."""
        return True

    @property
    def is_thinking(self) -> bool:
        """Whether the next proposal is being worked out."""
        return self._thought is not None

    @property
    def plan(self) -> Planned:
        """The random ones, of which the first come first."""
        return self._plan

    @property
    def total(self) -> int:
        """Configurations in all; fewer than max_trials if the space has no more."""
        return self._total

    @property
    def exhausted(self) -> bool:
        """Whether everything was proposed."""
        return not self._interrupted and len(self._known) >= self._total

    @property
    def num_initial(self) -> int:
        """How many results the model needs before it proposes."""
        most = max(len(branch.axes) for branch in self._space.branches)
        return 1 + max(1, most + (len(self._space.branches) > 1))

    def think_aside(self) -> None:
        """From now on in a thread: while it works, `ask` says None."""
        self._thread = ThreadPoolExecutor(1, "search", initializer=_step_back)
        if self._total > self.num_initial:
            self._loaded = self._thread.submit(self._model.load)

    def ask(self) -> Proposal | None:
        """An interrupted configuration, the next of the random ones, or what the model wants.

        Raises:
            TunerError: the model cannot be loaded; said before all random ones are trained.
        """
        if self._loaded is not None and self._loaded.done():
            self._loaded.result()
        if self._interrupted:
            return Proposal(self._interrupted.popleft())
        if self.exhausted:
            return None
        if self._thought is None:
            picked = (one for one in self._start if self._key_of(one) not in self._known)
            if (configuration := next(picked, None)) is not None:
                return self._given(configuration)
            if not self._knows_enough:
                return self._given(self._next_unseen())
            if self._thread is None:
                return self._given(self._first_of(self._wanted(self._known)))
            self._thought = self._thread.submit(self._wanted, dict(self._known))
        if not self._thought.done():
            return None
        thought, self._thought = self._thought, None
        return self._given(self._first_of(thought.result()))

    def tell(self, result: Result) -> None:
        """What became of a configuration; one that is not of the space is of no use."""
        located = self._space.locate(result.configuration.flat())
        if located is not None:
            self._note(Point(*located), result)

    def restore(self, results: Sequence[Result]) -> None:
        """Know what is known; what was interrupted is asked for first, as far as there is room."""
        for result in results:
            self.tell(result)
        first = islice(self._known.values(), self._total)
        self._interrupted.extend(self._at(one.point) for one in first if not one.result.ended)

    def _note(self, point: Point, result: Result) -> None:
        key = self._key(point)
        if result.ended or key not in self._known:
            self._known[key] = _Known(point, result)

    def _given(self, configuration: Configuration | None) -> Proposal | None:
        """The proposal, which is known from now on; without one the search is at its end."""
        if configuration is None:
            self._total = len(self._known)
            return None
        self.tell(Result(configuration, None, ended=False))
        return Proposal(configuration)

    @property
    def _knows_enough(self) -> bool:
        ended = [known.result for known in self._known.values() if known.result.ended]
        return len(ended) >= self.num_initial and any(r.score is not None for r in ended)

    def _wanted(self, known: Mapping[str, _Known]) -> list[Configuration]:
        """What the model wants most of what may be proposed; looks at nothing that changes."""
        ended = [one for one in known.values() if one.result.ended]
        values = standings([one.result for one in ended], self._objective)
        told = Knowledge(
            ended=[(one.point, value) for one, value in zip(ended, values, strict=True)],
            waiting=[one.point for one in known.values() if not one.result.ended],
        )
        points = self._model.proposals(told, derived_seed(f"{self._seed}/{len(known)}"))
        admitted = (p for p in points if self._space.branches[p.branch].admits(p.values))
        new = (self._at(point) for point in admitted if self._key(point) not in known)
        return list(islice(new, self._num_wanted))

    def _first_of(self, wanted: Sequence[Configuration]) -> Configuration | None:
        """The first that can be built; otherwise the next of the random plan."""
        return next(filter(self._can_build, wanted), None) or self._next_unseen()

    def _next_unseen(self) -> Configuration | None:
        """The next of the random plan that was never proposed."""
        for place in range(self._place, self._plan.total):
            try:
                configuration = self._plan[place]
            except IndexError:
                return None
            if self._key_of(configuration) in self._known:
                self._place += place == self._place
            elif self._can_build(configuration):
                return configuration
        return None

    def _at(self, point: Point) -> Configuration:
        return self._space.branches[point.branch].close(point.values)

    def _key_of(self, configuration: Configuration) -> str:
        located = self._space.locate(configuration.flat())
        assert located is not None, "it is of the space"
        return self._key(Point(*located))

    def _key(self, point: Point) -> str:
        if self._space.is_finite:
            return str(self._space.number(point.branch, point.values))
        return canonical([point.branch, point.values])


def learning_search(
    experiment: Experiment,
    model: Model,
    can_build: Callable[[Configuration], bool] | None = None,
) -> LearningSearch:
    """The search of an experiment by this model."""
    search = experiment.search
    assert search.max_trials is not None, "the schema requires it"
    return LearningSearch(
        experiment.space,
        model,
        max_trials=search.max_trials,
        seed=search.seed,
        objective=experiment.objective,
        start=experiment.start,
        can_build=can_build,
    )


def standings(results: Sequence[Result], objective: Objective) -> list[float]:
    """How each ended trial did, the best highest, as the quantiles of a standard normal variable.

    Trials are compared only after equally many epochs, as scores of trials that a rule has stopped
    early say nothing beside final ones: all are sorted by their best after the fewest epochs that
    one of them had, and then, for each next number of epochs, those who got there change places
    among themselves. So a stopped trial stands where its values put it, neither at the score of its
    few epochs nor below everyone who went on. Failed and diverged trials are all equally last.
    Ranks in place of scores: a model does not bend to a few that are far worse than all others.
    """
    failed = [place for place, result in enumerate(results) if result.score is None]
    order = [*failed, *_from_worst_to_best(results, objective)]
    values = [0.0] * len(results)
    for rank, place in enumerate(order):
        middle = len(failed) / 2 if rank < len(failed) else rank + 0.5
        values[place] = NormalDist().inv_cdf(middle / len(results))
    return values


def _from_worst_to_best(results: Sequence[Result], objective: Objective) -> list[int]:
    """The places of the results that have a score."""
    scored = [place for place, result in enumerate(results) if result.score is not None]
    epochs = {place: _num_epochs(results[place]) for place in scored}
    order = scored
    for count in sorted(set(epochs.values())):
        there = [place for place in order if epochs[place] >= count]
        there.sort(key=lambda place: _gain_after(count, results[place], objective))
        ranked = iter(there)
        order = [next(ranked) if epochs[place] >= count else place for place in order]
    return order


def _num_epochs(result: Result) -> int:
    """After which it was stopped; no end where it was not."""
    length = len(result.curve)
    return length if 0 < length < result.configuration.training["epochs"] else sys.maxsize


def _gain_after(count: int, result: Result, objective: Objective) -> float:
    """The best after so many epochs, or the score of one that had no more."""
    assert result.score is not None
    values = result.curve[:count] if count < sys.maxsize else ()
    return max(map(objective.gain, values), default=objective.gain(result.score))


def derived_seed(text: str) -> int:
    """A seed of 32 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def _random_plan(space: SearchSpace, most: int, seed: int) -> Planned:
    """The order of `method: random`, and more of it than is needed."""
    if space.is_finite:
        return RandomPlan(space, None, seed)
    return DrawnPlan(space, most, seed)


def _step_back() -> None:
    """On Linux a thread can be less urgent than the process that it belongs to."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
