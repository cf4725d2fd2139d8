"""Opens what a person's own `build(hp)` declares and the experiment does not write."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tuner.errors import InputError
from tuner.experiment.domain import is_open
from tuner.experiment.expansion import Leaf, Shape
from tuner.experiment.fields import closed
from tuner.experiment.findings import Findings
from tuner.experiment.schema import COMPILED
from tuner.models.declaration import OPEN, Declaration
from tuner.models.own import is_own, own_family


def with_declared(shapes: Sequence[Shape], backend: str, findings: Findings) -> list[Shape]:
    """The branches, those of an own function filled up; without one that cannot be run."""
    return [filled for shape in shapes for filled in _filled(shape, backend, findings)]


def _filled(shape: Shape, backend: str, findings: Findings) -> list[Shape]:
    family = shape.leaf("model", "family")
    name = closed(family)
    if family is None or not is_own(name):
        return [shape]
    try:
        declaration = own_family(name, backend).declaration
    except InputError as error:
        for problem in error.problems:
            findings.add(family.source, "", dataclasses.replace(problem, where=""))
        return []
    branches = declaration.branches(_written(shape))
    added = [Shape(tuple(_leaves(branch, family)), 1 / len(branches)) for branch in branches]
    return [shape + own + _optimizer(shape, declaration) for own in added]


def _written(shape: Shape) -> dict[str, Any]:
    return {
        leaf.path[1]: OPEN if leaf.is_axis else leaf.node
        for leaf in shape.leaves
        if leaf.path[0] == "model"
    }


def _leaves(branch: dict[str, Any], family: Leaf) -> list[Leaf]:
    """Leaves at the place of the family, which is what brings them."""
    return [
        Leaf(
            path=("model", name),
            source=(*family.source[:-1], name),
            node=node,
            options=tuple(range(len(node["choice"]))) if _is_choice(node) else None,
            chosen=not is_open(node),
        )
        for name, node in branch.items()
    ]


def _is_choice(node: Any) -> bool:
    return is_open(node) and "choice" in node


def _optimizer(shape: Shape, declaration: Declaration) -> Shape:
    """A model that compiles itself brings its optimizer, unless the experiment writes one."""
    if declaration.optimizer is None or shape.leaf("training", "optimizer"):
        return Shape()
    path = ("training", "optimizer")
    return Shape((Leaf(path, path, COMPILED),))
