"""Tree-structured Parzen estimators, as Optuna has them: what do the best have in common?"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tuner.errors import InputError, Problem, TunerError
from tuner.experiment.experiment import Experiment
from tuner.experiment.space import SearchSpace
from tuner.experiment.trial import Configuration
from tuner.search.coordinates import Coordinates, Point, UnitAxis
from tuner.search.learning import Knowledge, LearningSearch, Model, learning_search

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

_TRIES = 10  # proposals that may turn out known or excluded, before one is drawn at random
_BRANCH = "branch"


class ParzenEstimators(Model):
    """Optuna's TPESampler, which sees nothing but a study that is filled for every proposal.

    Joint densities of the values that occur together (`multivariate`, `group`), so that options
    that open values of their own have densities of these. What is being trained, and what was
    proposed in vain, counts as bad (`constant_liar`). Source: Bergstra et al. 2011, Algorithms for
    Hyper-Parameter Optimization; Watanabe 2023, Tree-Structured Parzen Estimator.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._coordinates = Coordinates(space)

    def load(self) -> None:
        """Import Optuna."""
        try:
            import optuna.samplers  # noqa: F401
        except Exception as error:
            what, received = "Optuna cannot be imported", f"{type(error).__name__}: {error}"
            mend = "pip install --force-reinstall 'convtuner[tpe]'"
            raise TunerError(Problem(what, "search.method: tpe", received, mend=mend)) from error

    def proposals(self, known: Knowledge, seed: int) -> Iterator[Point]:
        """What the sampler wants, then what it wants instead."""
        from optuna.trial import TrialState, create_trial

        study = _empty_study(seed)
        for point, value in known.ended:
            study.add_trial(create_trial(value=value, **self._written(point)))
        for point in known.waiting:
            study.add_trial(create_trial(state=TrialState.RUNNING, **self._written(point)))
        for _ in range(_TRIES):
            yield self._read(study.ask())

    def _written(self, point: Point) -> dict[str, Any]:
        """The parameters of a point, and their distributions."""
        from optuna.distributions import CategoricalDistribution

        entries = [
            _parameter(dimension, point.values[dimension.axis.name])
            for dimension in self._coordinates.branches[point.branch]
        ]
        if (count := len(self._coordinates.branches)) > 1:
            entries.append((_BRANCH, point.branch, CategoricalDistribution(range(count))))
        return {
            "params": {name: value for name, value, _ in entries},
            "distributions": {name: distribution for name, _, distribution in entries},
        }

    def _read(self, trial: Trial) -> Point:
        """The point that a trial is to be."""
        numbers = range(len(self._coordinates.branches))
        branch = trial.suggest_categorical(_BRANCH, numbers) if len(numbers) > 1 else 0
        dimensions = self._coordinates.branches[branch]
        return Point(branch, {d.axis.name: _suggested(trial, d) for d in dimensions})


def _parameter(dimension: UnitAxis, value: Any) -> tuple[str, Any, BaseDistribution]:
    """Name, value and distribution of what Optuna is told instead of a value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    name, points = dimension.name, dimension.points
    if points is None:
        return name, dimension.place(value), FloatDistribution(0.0, 1.0)
    if dimension.is_ordered:
        return name, dimension.index(value), IntDistribution(0, len(points) - 1)
    return name, dimension.index(value), CategoricalDistribution(range(len(points)))


def _suggested(trial: Trial, dimension: UnitAxis) -> Any:
    """The value that Optuna means."""
    name, points = dimension.name, dimension.points
    if points is None:
        return dimension.value(trial.suggest_float(name, 0.0, 1.0))
    if dimension.is_ordered:
        return points[trial.suggest_int(name, 0, len(points) - 1)]
    return points[trial.suggest_categorical(name, range(len(points)))]


def _empty_study(seed: int) -> Study:
    """In memory; Optuna's talk of it and of what is new in it is no news here."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=0,  # `random` has drawn the first ones
                multivariate=True,
                group=True,
                constant_liar=True,
                seed=seed,
            )
        return optuna.create_study(sampler=sampler, direction="maximize")
    finally:
        optuna.logging.set_verbosity(level)


def make_tpe(
    experiment: Experiment, can_build: Callable[[Configuration], bool] | None = None
) -> LearningSearch:
    """The search of an experiment.

    Raises:
        InputError: Optuna is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        what, where = "search.method: tpe needs Optuna", experiment.where("search.method")
        raise InputError(Problem(what, where, mend="pip install 'convtuner[tpe]'"))
    return learning_search(experiment, ParzenEstimators(experiment.space), can_build)
