"""What can be wrong with an experiment beyond its file, found before any worker starts."""

from __future__ import annotations

import dataclasses
import itertools
from importlib.util import find_spec

from tuner.data.dataset import DatasetInfo
from tuner.data.splits import train_size
from tuner.errors import InputError, Problem
from tuner.execution.costs import cost_of
from tuner.experiment.experiment import Experiment, check_batch_size
from tuner.experiment.trial import canonical
from tuner.models import is_own

# Networks of a branch whose costs are worked out before anything starts; a person's own is built.
MAX_NETWORKS = 200
MAX_OWN_NETWORKS = 3

PACKAGES = {"tensorflow": "tensorflow", "jax": "jax"}


def check_backend(experiment: Experiment) -> None:
    """The backend's package must be installed; it is not imported.

    Raises:
        InputError: it is not.
    """
    package = PACKAGES[experiment.backend]
    if find_spec(package) is None:
        raise InputError(
            Problem(
                f"the package {package} is not installed",
                experiment.where("backend"),
                received=f"backend: {experiment.backend}",
                mend=f"pip install 'convtuner[{package}]', or choose another backend",
            )
        )


def check_networks(experiment: Experiment, info: DatasetInfo) -> None:
    """Networks must be able to take the images; the first structures of the space are looked at.

    Raises:
        InputError: one cannot.
    """
    seen: dict[str, set[str]] = {}
    for branch in experiment.space.branches:
        own = is_own(branch.model["family"])
        known = seen.setdefault(branch.model["family"], set())
        if own and not branch.axes and len(known) >= MAX_OWN_NETWORKS:
            continue  # Of a list of closed configurations, too.
        most = MAX_OWN_NETWORKS if own else MAX_NETWORKS
        for configuration, _ in itertools.islice(branch.structures(), most):
            if (key := canonical(configuration.model)) in known:
                continue
            known.add(key)
            try:
                cost_of(configuration, info)
            except InputError as error:
                raise InputError([_located(p, experiment) for p in error.problems]) from error


def _located(problem: Problem, experiment: Experiment) -> Problem:
    """With file and line of the value that the problem is about."""
    name = problem.where
    if not name.startswith("model"):
        return problem
    what = f"{name}: {problem.what}"
    return dataclasses.replace(problem, what=what, where=experiment.where(name))


def check_sizes(experiment: Experiment, info: DatasetInfo) -> None:
    """Batches must not be larger than the training set that the data leave.

    Raises:
        InputError: one is.
    """
    data = experiment.data
    check_batch_size(experiment, train_size(data.validation, data.train_images, info.num_train))
