"""Bayesian optimization: what is known of the surface decides which point comes next."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from tuner.experiment.experiment import Experiment
from tuner.experiment.hyperparameters import from_keras_tuner, keras_tuner_values, to_keras_tuner
from tuner.experiment.objective import Objective
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration, canonical
from tuner.search.method import Proposal, Result, SearchMethod
from tuner.search.planned import DrawnPlan, Planned, RandomPlan, started

# Unseen points of the random plan among which the model chooses where its own proposal will not do.
_CANDIDATES = 500
_SPARE = 10_000  # points, of which many may turn out impossible to build
_INITIAL_PER_VALUE = 3
_SCORE = "score"
# Of a proposed number, as of a drawn one: it reads well, and the last bit of a machine's
# arithmetic makes no other trial of it.
_DIGITS = 8


@dataclass(frozen=True)
class _Known:
    """A configuration that was proposed, and what became of it."""

    configuration: Configuration
    score: float | None = None
    ended: bool = False


class Bayesian(SearchMethod):
    """keras-tuner's Bayesian oracle, by ask and tell.

    The first proposals are those of a random search: as many as keras-tuner takes, three for each
    open value of a configuration, those that a person has picked (`start`) before all others. Every
    later one is a function of the seed, of its number and of
    the results in order of proposal, not of the order in which they came in. Configurations being
    trained are taken for pessimistic results; failed and diverged ones are as bad as the worst
    that was seen. A result is of use, and counts, whoever proposed it. `can_build` is asked before
    a configuration is proposed.

    keras-tuner, and with it Keras, is imported when the first proposal needs it.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        max_trials: int,
        seed: int,
        objective: Objective,
        backend: str,
        start: Sequence[Configuration] = (),
        can_build: Callable[[Configuration], bool] | None = None,
    ) -> None:
        self._space = space
        self._can_build = can_build or (lambda configuration: True)
        self._seed = seed
        self._objective = objective
        self._backend = backend
        self._total = min(space.size, max_trials) if space.is_finite else max_trials
        spare = _CANDIDATES if can_build is None else _SPARE
        self._plan = started(_random_plan(space, max_trials + spare, seed), start)
        self._start = start
        self._place = 0  # in the plan; everything before it is known
        self._known: dict[str, _Known] = {}  # in order of proposal
        self._interrupted: deque[Configuration] = deque()
        self._surrogate: Surrogate | None = None

    @property
    def is_adaptive(self) -> bool:
        """Always."""
        return True

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
        for picked in self._start:
            if self._key(picked) not in self._known:
                return picked
        known = self._knowledge()
        if known is None:
            return next(filter(self._can_build, self._unseen()), None)
        proposed = self._model().propose(known, self._derived_seed())
        found = self._space.find(proposed.flat())
        if found is not None and self._key(found) not in self._known and self._can_build(found):
            return found
        return self._best_unseen()

    def _best_unseen(self) -> Configuration | None:
        """What the model likes best among points of the random plan."""
        unseen = self._unseen()
        while candidates := list(islice(unseen, _CANDIDATES)):
            while candidates:
                best = self._model().best_of(candidates)
                if self._can_build(best):
                    return best
                candidates.remove(best)
        return None

    def _knowledge(self) -> Knowledge | None:
        """What the model is told; None while it is too little."""
        ended = [known for known in self._known.values() if known.ended]
        scores = [-self._objective.gain(known.score) for known in ended if known.score is not None]
        if len(ended) < self.num_initial or not scores:
            return None
        worst = max(scores)
        costs = (worst if one.score is None else -self._objective.gain(one.score) for one in ended)
        waiting = [known.configuration for known in self._known.values() if not known.ended]
        configurations = (known.configuration for known in ended)
        return Knowledge(list(zip(configurations, costs, strict=True)), waiting)

    def _model(self) -> Surrogate:
        if self._surrogate is None:
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


def make_bayesian(
    experiment: Experiment, can_build: Callable[[Configuration], bool] | None = None
) -> Bayesian:
    """The search of an experiment."""
    search = experiment.search
    assert search.max_trials is not None, "the schema requires it"
    return Bayesian(
        experiment.space,
        max_trials=search.max_trials,
        seed=search.seed,
        objective=experiment.objective,
        backend=experiment.backend,
        start=experiment.start,
        can_build=can_build,
    )


def _random_plan(space: SearchSpace, most: int, seed: int) -> Planned:
    """The order of `method: random`, and more of it than is needed."""
    if space.is_finite:
        return RandomPlan(space, None, seed)
    return DrawnPlan(space, most, seed)


# ---------------------------------------------------------------------- keras-tuner's model


@dataclass(frozen=True)
class Knowledge:
    """What is known when something is proposed.

    `cost` holds the scored configurations with their scores, lower ones being better; `waiting`
    those that are being trained.
    """

    cost: Sequence[tuple[Configuration, float]]
    waiting: Sequence[Configuration]


class Surrogate:
    """What keras-tuner's Bayesian oracle proposes after some results, in memory.

    The oracle is new each time and sees nothing but what it is given: no files, locks or threads.
    It fits a Gaussian process (Matérn 5/2, scikit-learn) to the scores and minimizes the lower
    bound mean - 2.6 · deviation over the space as a unit cube, each open value on its own scale.
    Making one imports keras-tuner, which takes seconds.
    """

    def __init__(self, space: SearchSpace, backend: str) -> None:
        with _as_backend(backend):
            import keras_tuner.oracles
        self._oracles = keras_tuner.oracles
        self._trials = keras_tuner.engine.trial
        self._objective = keras_tuner.Objective(_SCORE, "min")
        self._space = space
        self._hp = to_keras_tuner(space)
        self._continuous = {
            parameter.name
            for parameter in self._hp.space
            if isinstance(parameter, keras_tuner.engine.hyperparameters.Float)
        }
        self._oracle: Any = None

    def propose(self, known: Knowledge, seed: int) -> Configuration:
        """What the oracle wants to see next; it may have been seen, or break a constraint.

        It takes waiting configurations for pessimistic results: mean + deviation of what the
        finished ones let it expect.
        """
        with _quietly():
            self._oracle = self._fed(known, seed)
            values = self._oracle.populate_space("next")["values"]
        return from_keras_tuner(self._space, self._rounded(values))

    def best_of(self, candidates: Sequence[Configuration]) -> Configuration:
        """The candidate that the oracle of the last proposal likes best; the earlier of equals."""
        vectors = [self._vector(self._values(candidate)) for candidate in candidates]
        with _quietly():
            mean, deviation = self._oracle.gpr.predict(vectors, return_std=True)
        bound = mean - self._oracle.beta * deviation
        return candidates[int(bound.argmin())]

    def _fed(self, known: Knowledge, seed: int) -> Any:
        oracle = self._oracles.BayesianOptimizationOracle(
            objective=self._objective,
            num_initial_points=1,
            seed=seed,
            hyperparameters=self._hp,
            allow_new_entries=False,
            tune_new_entries=False,
        )
        for number, (configuration, cost) in enumerate(known.cost):
            trial = self._trial(configuration, f"known {number}", "COMPLETED")
            trial.score = cost
            oracle.trials[trial.trial_id] = trial
        if known.waiting:
            # What it expects of them is asked before it fits, of the process as it is.
            vectors = [self._vector(self._values(one)) for one, _ in known.cost]
            oracle.gpr.fit(vectors, [cost for _, cost in known.cost])
        for number, configuration in enumerate(known.waiting):
            trial = self._trial(configuration, f"waiting {number}", "RUNNING")
            oracle.trials[trial.trial_id] = oracle.ongoing_trials[trial.trial_id] = trial
        return oracle

    def _trial(self, configuration: Configuration, name: str, status: str) -> Any:
        hp = self._hp.copy()
        hp.values = self._values(configuration)
        return self._trials.Trial(hp, name, status)

    def _values(self, configuration: Configuration) -> dict[str, Any]:
        values = keras_tuner_values(self._space, configuration.flat())
        assert values is not None, "only configurations of the space are known"
        return values

    def _vector(self, values: Mapping[str, Any]) -> list[float]:
        """A point of the unit cube; what a configuration does not have is at its default."""
        return [
            parameter.value_to_prob(values.get(parameter.name, parameter.default))
            for parameter in self._hp.space
        ]

    def _rounded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: float(f"{value:.{_DIGITS - 1}e}") if name in self._continuous else value
            for name, value in values.items()
        }


@contextlib.contextmanager
def _as_backend(backend: str) -> Iterator[None]:
    """Keras, if it is imported inside, takes this backend; the environment stays as it was."""
    before = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    try:
        with warnings.catch_warnings(), _without_native_messages():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            os.environ.pop("KERAS_BACKEND", None)
        else:
            os.environ["KERAS_BACKEND"] = before


@contextlib.contextmanager
def _without_native_messages() -> Iterator[None]:
    """What a framework's C++ libraries print as they are loaded would tear up a live display."""
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """One thread (four times as fast, and the cores belong to the training), nothing checked
    that was made here, and no talk of convergence."""
    import sklearn
    from threadpoolctl import threadpool_limits

    trusting = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with threadpool_limits(1), trusting, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
