"""Which names a branch has: its family and its optimizer decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from tuner.errors import Problem, nearest
from tuner.experiment.expansion import Leaf, Shape
from tuner.experiment.findings import Findings
from tuner.experiment.schema import (
    COMPILED,
    OBSERVING,
    OPTIMIZER_FIELDS,
    TrainingConfig,
    used_training_fields,
)
from tuner.experiment.yaml import to_text
from tuner.models import FAMILIES
from tuner.models.own import is_own, own_family


def section_classes(shape: Shape, findings: Findings) -> dict[str, type[BaseModel]]:
    """The class of each section of a branch; an unknown family is reported and has none."""
    classes: dict[str, type[BaseModel]] = {"training": TrainingConfig}
    leaf = shape.leaf("model", "family")
    family = closed(leaf)
    if isinstance(family, str) and family in FAMILIES:
        _check_compiled(shape, None, findings)
        return {"model": FAMILIES[family].config} | classes
    if is_own(family):
        own = own_family(family)
        _check_compiled(shape, own.declaration.optimizer, findings)
        return {"model": own.config} | classes
    if leaf or not findings.has_choice(("model",)):
        source = leaf.source if leaf else ("model",)
        findings.add(source, "model.family", _no_family(leaf, family))
    return classes


def _check_compiled(shape: Shape, optimizer: str | None, findings: Findings) -> None:
    leaf = shape.leaf("training", "optimizer")
    if leaf is None or optimizer or closed(leaf) != COMPILED:
        return
    what = "compiled is not possible here: the model does not compile itself"
    others = ", ".join(name for name in OPTIMIZER_FIELDS if name != COMPILED)
    findings.add(leaf.source, leaf.name, Problem(what, expected=others))


def used_leaves(shape: Shape) -> Shape:
    """The branch without the training values that its optimizer does not use."""
    optimizer = _optimizer(shape)
    if optimizer not in OPTIMIZER_FIELDS:
        return shape
    unused = frozenset(TrainingConfig.model_fields) - used_training_fields(optimizer)
    leaves = (
        leaf for leaf in shape.leaves if leaf.path[0] != "training" or leaf.path[1] not in unused
    )
    return Shape(tuple(leaves), shape.weight)


def report_unused(shapes: Sequence[Shape], findings: Findings) -> None:
    """A training value that no branch uses is a mistake, not decoration."""
    used = {leaf.source for shape in shapes for leaf in used_leaves(shape).leaves}
    for shape in shapes:
        for leaf in shape.leaves:
            if leaf.source not in used:
                what = f"has no effect: the optimizer is {_optimizer(shape)}"
                users = [name for name, own in OPTIMIZER_FIELDS.items() if leaf.path[1] in own]
                mend = f"leave it out, or optimizer: {' or '.join(users)}"
                findings.add(leaf.source, leaf.name, Problem(what, mend=mend))


def report_observing(shapes: Sequence[Shape], findings: Findings) -> None:
    """What changes no outcome has one value: trials that differ in it alone would be the same."""
    for leaf in {leaf.source: leaf for shape in shapes for leaf in shape.leaves}.values():
        is_searched = leaf.is_axis or leaf.chosen
        if leaf.path[0] == "training" and leaf.path[1] in OBSERVING and is_searched:
            what, mend = "cannot be left open: it changes no outcome", "one value for all trials"
            findings.add(leaf.source, leaf.name, Problem(what, mend=mend))


def known_names(shape: Shape, classes: Mapping[str, type[BaseModel]]) -> frozenset[str]:
    """The dotted names that a constraint may use in this branch."""
    fields = {f"{section}.{n}" for section, cls in classes.items() for n in cls.model_fields}
    fields -= {f"training.{name}" for name in OBSERVING}
    optimizer = _optimizer(shape)
    if optimizer in OPTIMIZER_FIELDS:
        fields -= {f"training.{name}" for name in _unused(optimizer)}
    return frozenset(fields | {leaf.name for leaf in used_leaves(shape).leaves if leaf.is_axis})


def _optimizer(shape: Shape) -> str:
    leaf = shape.leaf("training", "optimizer")
    default = TrainingConfig.model_fields["optimizer"].default
    return str(closed(leaf)) if leaf else str(default)


def closed(leaf: Leaf | None) -> Any:
    """The value of a fixed leaf; None for none, or an open one."""
    return None if leaf is None or leaf.is_axis else leaf.node


def _unused(optimizer: str) -> frozenset[str]:
    return frozenset(TrainingConfig.model_fields) - used_training_fields(optimizer)


def _no_family(leaf: Leaf | None, family: Any) -> Problem:
    expected = ", ".join(FAMILIES)
    if leaf is None:
        return Problem("is missing", expected=expected)
    near = nearest(str(family), FAMILIES) or ""
    received = to_text(leaf.node)
    return Problem(f"{received} is not known", "", received, expected, near and f"{near}?")
