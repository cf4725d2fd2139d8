"""Bayesian optimization: what is known of the surface decides which point comes next."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from tuner.experiment.experiment import Experiment
from tuner.experiment.objective import Objective
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration, canonical
from tuner.search.method import Proposal, Result, SearchMethod
from tuner.search.planned import DrawnPlan, Planned, RandomPlan

if TYPE_CHECKING:
    from tuner.search.surrogate import Knowledge, Surrogate

# Unseen points of the random plan among which the model chooses where its own proposal will not do.
_CANDIDATES = 500
_INITIAL_PER_VALUE = 3


@dataclass(frozen=True)
class _Known:
    """A configuration that was proposed, and what became of it."""

    configuration: Configuration
    score: float | None = None
    ended: bool = False


class Bayesian(SearchMethod):
    """keras-tuner's Bayesian oracle, by ask and tell.

    The first proposals are those of a random search: as many as keras-tuner takes, three for each
    open value of a configuration. Every later one is a function of the seed, of its number and of
    the results in order of proposal, not of the order in which they came in. Configurations being
    trained are taken for pessimistic results; failed and diverged ones are as bad as the worst
    that was seen. A result is of use, and counts, whoever proposed it.

    keras-tuner, and with it Keras, is imported when the first proposal needs it.
    """

    def __init__(
        self, space: SearchSpace, *, max_trials: int, seed: int, objective: Objective, backend: str
    ) -> None:
        self._space = space
        self._seed = seed
        self._objective = objective
        self._backend = backend
        self._total = min(space.size, max_trials) if space.is_finite else max_trials
        self._plan = _random_plan(space, max_trials, seed)
        self._place = 0  # in the plan; everything before it is known
        self._known: dict[str, _Known] = {}  # in order of proposal
        self._interrupted: deque[Configuration] = deque()
        self._surrogate: Surrogate | None = None

    @property
    def is_adaptive(self) -> bool:
        """Always."""
        return True

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
        return _INITIAL_PER_VALUE * max(1, most + (len(self._space.branches) > 1))

    def ask(self) -> Proposal | None:
        """An interrupted configuration, the next of the random ones, or what the model wants."""
        if self._interrupted:
            return Proposal(self._interrupted.popleft())
        if self.exhausted:
            return None
        configuration = self._next()
        if configuration is None:
            self._total = len(self._known)
            return None
        self._known[self._key(configuration)] = _Known(configuration)
        return Proposal(configuration)

    def tell(self, result: Result) -> None:
        """What became of a configuration; one that is not of the space is of no use."""
        configuration = self._space.find(result.configuration.flat())
        if configuration is None:
            return
        key = self._key(configuration)
        known = self._known.setdefault(key, _Known(configuration))
        if result.ended:
            self._known[key] = replace(known, score=result.score, ended=True)

    def restore(self, results: Sequence[Result]) -> None:
        """Know what is known; what was interrupted is asked for first, as far as there is room."""
        for result in results:
            self.tell(result)
        first = islice(self._known.values(), self._total)
        self._interrupted.extend(known.configuration for known in first if not known.ended)

    def _next(self) -> Configuration | None:
        known = self._knowledge()
        if known is None:
            return next(self._unseen(), None)
        proposed = self._model().propose(known, self._derived_seed())
        found = self._space.find(proposed.flat())
        if found is not None and self._key(found) not in self._known:
            return found
        candidates = list(islice(self._unseen(), _CANDIDATES))
        return self._model().best_of(candidates) if candidates else None

    def _knowledge(self) -> Knowledge | None:
        """What the model is told; None while it is too little."""
        ended = [known for known in self._known.values() if known.ended]
        scores = [-self._objective.gain(known.score) for known in ended if known.score is not None]
        if len(ended) < self.num_initial or not scores:
            return None
        from tuner.search.surrogate import Knowledge

        worst = max(scores)
        costs = (worst if one.score is None else -self._objective.gain(one.score) for one in ended)
        waiting = [known.configuration for known in self._known.values() if not known.ended]
        configurations = (known.configuration for known in ended)
        return Knowledge(list(zip(configurations, costs, strict=True)), waiting)

    def _model(self) -> Surrogate:
        if self._surrogate is None:
            from tuner.search.surrogate import Surrogate

            self._surrogate = Surrogate(self._space, self._backend)
        return self._surrogate

    def _unseen(self) -> Iterator[Configuration]:
        """Points of the random plan that were never proposed."""
        for index in range(self._place, self._plan.total):
            try:
                configuration = self._plan[index]
            except IndexError:
                return
            if self._key(configuration) not in self._known:
                yield configuration
            elif index == self._place:
                self._place += 1

    def _key(self, configuration: Configuration) -> str:
        flat = configuration.flat()
        return str(self._space.index(flat)) if self._space.is_finite else canonical(flat)

    def _derived_seed(self) -> int:
        """Of this proposal; never 0, which is no seed to keras-tuner."""
        text = f"{self._seed}/bayesian/{len(self._known)}".encode()
        return 1 + int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") % (2**31)


def make_bayesian(experiment: Experiment) -> Bayesian:
    """The search of an experiment."""
    search = experiment.search
    assert search.max_trials is not None, "the schema requires it"
    return Bayesian(
        experiment.space,
        max_trials=search.max_trials,
        seed=search.seed,
        objective=experiment.objective,
        backend=experiment.backend,
    )


def _random_plan(space: SearchSpace, max_trials: int, seed: int) -> Planned:
    """The order of `method: random`, and more of it than is needed."""
    if space.is_finite:
        return RandomPlan(space, None, seed)
    return DrawnPlan(space, max_trials + _CANDIDATES, seed)
