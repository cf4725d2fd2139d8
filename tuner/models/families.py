"""All families by name: the one list of them."""

from __future__ import annotations

from typing import Any

from tuner.errors import InputError, Problem, nearest
from tuner.models.densenet import DenseNet
from tuner.models.dual_path import DualPath
from tuner.models.family import Family
from tuner.models.highway import Highway
from tuner.models.inception import Inception
from tuner.models.lenet import LeNet
from tuner.models.mlp import MLP
from tuner.models.own.family import is_own, own_family
from tuner.models.plain import Plain
from tuner.models.resnet import ResNet
from tuner.models.wide_resnet import WideResNet

FAMILIES: dict[str, Family[Any]] = {
    family.name: family
    for family in (
        ResNet(),
        WideResNet(),
        DenseNet(),
        DualPath(),
        Inception(),
        Plain(),
        Highway(),
        LeNet(),
        MLP(),
    )
}


def family_of(name: str, backend: str = "") -> Family[Any]:
    """The family of that name, or of a person's own `package.module:build`.

    With a `backend` the file of such a function is looked at again if it has changed.

    Raises:
        InputError: there is none.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    if is_own(name):
        return own_family(name, backend)
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
