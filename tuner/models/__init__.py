"""Network families: from a configuration to a cost, and to a Keras model of logits.

Importing this loads no framework; only `build` does.
"""

from __future__ import annotations

from typing import Any

from tuner.models.families import FAMILIES, family_of
from tuner.models.family import Cost, Family, FamilyConfig, runtime_fields
from tuner.models.own.family import is_own

__all__ = [
    "FAMILIES",
    "Cost",
    "Family",
    "FamilyConfig",
    "family_of",
    "hyper_model",
    "is_own",
    "runtime_fields",
]


def __getattr__(name: str) -> Any:
    """`hyper_model`, which loads keras-tuner, when it is first asked for."""
    if name == "hyper_model":
        from tuner.models.hyper import hyper_model

        return hyper_model
    raise AttributeError(f"module 'tuner.models' has no attribute {name!r}")
