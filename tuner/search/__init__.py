"""Which trial comes next: methods by name, behind one interface."""

from __future__ import annotations

from collections.abc import Callable

from tuner.errors import InputError, Problem
from tuner.experiment.experiment import Experiment
from tuner.search.method import SearchMethod
from tuner.search.planned import DrawnPlan, GridPlan, Planned, RandomPlan

__all__ = ["METHODS", "SearchMethod", "make_method"]


def _grid(experiment: Experiment) -> SearchMethod:
    return GridPlan(experiment.space, experiment.search.max_trials)


def _random(experiment: Experiment) -> Planned:
    space, search = experiment.space, experiment.search
    if space.is_finite or search.max_trials is None:
        return RandomPlan(space, search.max_trials, search.seed)
    return DrawnPlan(space, search.max_trials, search.seed)


METHODS: dict[str, Callable[[Experiment], SearchMethod]] = {
    "grid": _grid,
    "random": _random,
}


def make_method(experiment: Experiment) -> SearchMethod:
    """The method that the experiment names.

    Raises:
        InputError: the method, or a stopping rule, is not available in this version.
    """
    search = experiment.search
    problems = []
    if search.method not in METHODS:
        expected = ", ".join(METHODS)
        problems.append(_unavailable(experiment, "search.method", search.method, expected))
    if search.stop is not None:
        problems.append(_unavailable(experiment, "search.stop", search.stop.rule, "null"))
    if problems:
        raise InputError(problems)
    return METHODS[search.method](experiment)


def _unavailable(experiment: Experiment, name: str, received: str, expected: str) -> Problem:
    what = f"{name}: {received} is not available in this version"
    return Problem(what, experiment.where(name), received, expected)
