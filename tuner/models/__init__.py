"""Network families: from a configuration to a cost, and to a Keras model of logits.

Importing this loads no framework; only `build` does.
"""

from __future__ import annotations

from typing import Any

from tuner.errors import InputError, Problem, nearest
from tuner.models.cost import Cost
from tuner.models.densenet import DenseNet
from tuner.models.family import Family, FamilyConfig, runtime_fields
from tuner.models.plain import Plain
from tuner.models.resnet import ResNet

__all__ = ["FAMILIES", "Cost", "Family", "FamilyConfig", "family_of", "runtime_fields"]

FAMILIES: dict[str, Family[Any]] = {
    family.name: family for family in (ResNet(), DenseNet(), Plain())
}


def family_of(name: str) -> Family[Any]:
    """The family of that name.

    Raises:
        InputError: there is none.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    near = nearest(name, FAMILIES)
    raise InputError(
        Problem(
            what="unknown model family",
            where="model.family",
            received=repr(name),
            expected=", ".join(FAMILIES),
            mend=f"did you mean {near}?" if near else "",
        )
    )
