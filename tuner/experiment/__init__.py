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
    "load_experiment",
    "parse_experiment",
]

_HOMES = {
    "experiment": ("Experiment", "check_batch_size", "load_experiment", "parse_experiment"),
    "space": ("SearchSpace",),
    "trial": ("Configuration", "Structure", "Trial", "TrialState"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
