"""What the person asked for: strict YAML to a validated experiment and its search space.

Names are imported when they are first used: the ledger and its views need only the states of a
trial, and must answer at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.experiment.experiment import (
        Experiment,
        check_batch_size,
        load_experiment,
        parse_experiment,
    )
    from tuner.experiment.hyperparameters import from_keras_tuner, to_keras_tuner
    from tuner.experiment.space import SearchSpace
    from tuner.experiment.trial import Configuration, Structure, Trial, TrialState

__all__ = [
    "Configuration",
    "Experiment",
    "SearchSpace",
    "Structure",
    "Trial",
    "TrialState",
    "check_batch_size",
    "from_keras_tuner",
    "load_experiment",
    "parse_experiment",
    "to_keras_tuner",
]

_HOMES = {
    "Configuration": "trial",
    "Experiment": "experiment",
    "SearchSpace": "space",
    "Structure": "trial",
    "Trial": "trial",
    "TrialState": "trial",
    "check_batch_size": "experiment",
    "from_keras_tuner": "hyperparameters",
    "load_experiment": "experiment",
    "parse_experiment": "experiment",
    "to_keras_tuner": "hyperparameters",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
