"""Which trial comes next: methods by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable

from tuner.errors import InputError, Problem
from tuner.experiment.experiment import Experiment
from tuner.search.bayesian import make_bayesian
from tuner.search.hyperband import make_hyperband
from tuner.search.method import SearchMethod
from tuner.search.planned import DrawnPlan, GridPlan, Planned, RandomPlan
from tuner.search.rules import RULES, make_rule
from tuner.search.sobol import SobolPlan

__all__ = ["METHODS", "RULES", "SearchMethod", "make_method", "make_rule"]


def _grid(experiment: Experiment) -> SearchMethod:
    return GridPlan(experiment.space, experiment.search.max_trials)


def _random(experiment: Experiment) -> Planned:
    space, search = experiment.space, experiment.search
    if space.is_finite or search.max_trials is None:
        return RandomPlan(space, search.max_trials, search.seed)
    return DrawnPlan(space, search.max_trials, search.seed)


def _hyperband(experiment: Experiment) -> SearchMethod:
    return make_hyperband(experiment, _random(experiment))


def _sobol(experiment: Experiment) -> Planned:
    search = experiment.search
    return SobolPlan(experiment.space, search.max_trials or 1, search.seed)


METHODS: dict[str, Callable[[Experiment], SearchMethod]] = {
    "grid": _grid,
    "random": _random,
    "sobol": _sobol,
    "list": _grid,  # a space of closed branches, in the list's order
    "bayesian": make_bayesian,
    "hyperband": _hyperband,
}


def make_method(experiment: Experiment) -> SearchMethod:
    """The method that the experiment names.

    Raises:
        InputError: the method is not available in this version, or unfit for the experiment.
    """
    search = experiment.search
    if search.method not in METHODS:
        expected = ", ".join(METHODS)
        raise InputError(_unavailable(experiment, "search.method", search.method, expected))
    return METHODS[search.method](experiment)


def _unavailable(experiment: Experiment, name: str, received: str, expected: str) -> Problem:
    what = f"{name}: {received} is not available in this version"
    return Problem(what, experiment.where(name), received, expected)
