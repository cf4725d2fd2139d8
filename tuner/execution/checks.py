"""What can be wrong with an experiment beyond its file, found before any worker starts."""

from __future__ import annotations

from importlib.util import find_spec

from tuner.data.dataset import DatasetInfo
from tuner.data.splits import train_size
from tuner.errors import InputError, Problem
from tuner.experiment.experiment import Experiment, check_batch_size

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


def check_sizes(experiment: Experiment, info: DatasetInfo) -> None:
    """Batches must not be larger than the training set that the data leave.

    Raises:
        InputError: one is.
    """
    data = experiment.data
    check_batch_size(experiment, train_size(data.validation, data.train_images, info.num_train))
