"""What keras-tuner's Bayesian oracle proposes after some results, in memory.

The oracle is new each time and sees nothing but what it is given: no files, locks or threads. It
fits a Gaussian process (Matérn 5/2, scikit-learn) to the scores and minimizes the lower bound
mean - 2.6 · deviation over the space as a unit cube, each open value on its own scale.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.experiment.hyperparameters import (
    from_keras_tuner,
    keras_tuner_values,
    to_keras_tuner,
)
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration

_SCORE = "score"
# Of a proposed number, as of a drawn one: it reads well, and the last bit of a machine's
# arithmetic makes no other trial of it.
_DIGITS = 8


@dataclass(frozen=True)
class Knowledge:
    """What is known when something is proposed.

    `cost` holds the scored configurations with their scores, lower ones being better; `waiting`
    those that are being trained.
    """

    cost: Sequence[tuple[Configuration, float]]
    waiting: Sequence[Configuration]


class Surrogate:
    """The Gaussian process over a space. Making one imports keras-tuner, which takes seconds."""

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
