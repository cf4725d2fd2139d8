"""From the tree that was written to flat branches.

A section with choices in it is a union of products: every option that is a mapping, every family
and every optimizer opens a branch, and inside a branch each name is either fixed or an axis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel

from tuner.data.config import SearchedData
from tuner.errors import Problem, nearest
from tuner.experiment.document import Findings, Path, dotted, value_at
from tuner.experiment.domain import choice_problem, is_open
from tuner.experiment.schema import (
    COMPILED,
    OBSERVING,
    OPTIMIZER_FIELDS,
    TrainingConfig,
    used_training_fields,
)
from tuner.experiment.validation import schema_at
from tuner.experiment.yaml import to_text
from tuner.models import FAMILIES
from tuner.models.own.family import is_own, own_family

MAX_BRANCHES = 1_000
SECTIONS = ("model", "training")
AUGMENT = ("data", "augment")
"""The one value outside of these sections that may be left open."""

_OTHER_NAMES = frozenset(n for family in FAMILIES.values() for n in family.config.model_fields)

# Fields that decide which other fields there are.
_DECIDING = (("model", "family"), ("training", "optimizer"))

Classes = dict[str, type[BaseModel]]
"""The class of each section."""


@dataclass(frozen=True)
class Leaf:
    """One named value of a branch: `node` as it was written at `source`.

    `options` are the indices of a choice's options that belong here; None for a range or a fixed
    value. `chosen` says that it stands in an option, so that it differs between branches.
    """

    path: tuple[str, ...]
    source: Path
    node: Any
    options: tuple[int, ...] | None = None
    chosen: bool = False

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)

    @property
    def is_range(self) -> bool:
        """Whether it is an open range."""
        return self.options is None and is_open(self.node)

    @property
    def is_axis(self) -> bool:
        """Whether it is open in its branch."""
        return self.options is not None or self.is_range


@dataclass(frozen=True)
class Shape:
    """The leaves of one branch in file order, and its share of an endless random search.

    `notes` are what a person should know of it before it runs, `refused` what speaks against it.
    """

    leaves: tuple[Leaf, ...] = ()
    weight: float = 1.0
    notes: tuple[str, ...] = ()
    refused: tuple[tuple[Path, Problem], ...] = ()

    def __add__(self, other: Shape) -> Shape:
        return Shape(self.leaves + other.leaves, self.weight * other.weight)

    def leaf(self, *path: str) -> Leaf | None:
        """The leaf of that path."""
        return next((leaf for leaf in self.leaves if leaf.path == path), None)

    def closed(self, *path: str) -> Any:
        """The fixed value of that path; None for none, or an open one."""
        leaf = self.leaf(*path)
        return None if leaf is None or leaf.is_axis else leaf.node

    @property
    def optimizer(self) -> str:
        """Its optimizer as it was written, known or not."""
        if self.leaf("training", "optimizer"):
            return str(self.closed("training", "optimizer"))
        return str(TrainingConfig.model_fields["optimizer"].default)

    @property
    def unused(self) -> frozenset[str]:
        """The training fields that have no effect with its optimizer."""
        if self.optimizer not in OPTIMIZER_FIELDS:
            return frozenset()
        return frozenset(TrainingConfig.model_fields) - used_training_fields(self.optimizer)

    def used(self) -> Shape:
        """The branch without the training values that its optimizer does not use."""
        unused = {("training", name) for name in self.unused}
        kept = tuple(leaf for leaf in self.leaves if leaf.path[:2] not in unused)
        return dataclasses.replace(self, leaves=kept)

    def names(self, classes: Classes) -> frozenset[str]:
        """The dotted names that a constraint may use in this branch."""
        fields = {f"{section}.{n}" for section, cls in classes.items() for n in cls.model_fields}
        if is_own(self.closed("model", "family")):  # It has no value that this branch does not use.
            fields -= {f"model.{name}" for name in classes["model"].model_fields}
            own = (leaf for leaf in self.leaves if leaf.path[0] == "model")
            fields |= {leaf.name for leaf in own if leaf.node is not None}
        fields -= {f"training.{name}" for name in OBSERVING | self.unused}
        return frozenset(fields | {leaf.name for leaf in self.used().leaves if leaf.is_axis})

    def members(self, name: str) -> Iterator[str]:
        """The texts that are in lists of a dotted name, as they are written."""
        for leaf in self.leaves:
            node = leaf.node
            if leaf.name == name:
                written = node.get("choice", []) if isinstance(node, dict) else [node]
                lists = (value for value in written if isinstance(value, list))
                yield from (value for items in lists for value in items if isinstance(value, str))

    def texts(self, name: str, classes: Classes) -> Iterator[str]:
        """The texts that a dotted name can be in this branch: written, or known to its field."""
        for leaf in self.leaves:
            if leaf.name == name:
                written = (
                    leaf.node.get("choice", []) if isinstance(leaf.node, dict) else [leaf.node]
                )
                yield from (value for value in written if isinstance(value, str))
        section, _, field = name.partition(".")
        schema = schema_at(classes[section], (field,)) if section in classes else None
        for part in (schema or {}).get("anyOf", [schema or {}]):
            yield from (v for v in part.get("enum", [part.get("const")]) if isinstance(v, str))


def expand(tree: Mapping[str, Any], findings: Findings) -> list[Shape]:
    """All branches of `model:`, `training:` and `data.augment`; what cannot be one is reported.

    Raises:
        InputError: there are too many to look at, with all that was found before.
    """
    shapes = [Shape()]
    for section in SECTIONS:
        node = tree.get(section)
        node = {} if node is None else node
        if isinstance(node, Mapping):
            shapes = _product(shapes, _expand(Leaf((section,), (section,), node), findings))
        else:
            _report_section(node, (section,), findings)
    if is_open(augment := value_at(tree, AUGMENT)):
        shapes = _product(shapes, _expand(Leaf(AUGMENT, AUGMENT, augment), findings))
    if len(shapes) > MAX_BRANCHES:
        what = f"choices of mappings make more than {MAX_BRANCHES:,} branches"
        mend = "fewer options that are mappings, or several experiments"
        findings.report((), "the search space", what, mend=mend)
        findings.raise_if_any()
    return shapes


def _expand(leaf: Leaf, findings: Findings) -> list[Shape]:
    """The branches of what may still be a mapping of leaves."""
    node = leaf.node
    if is_open(node):
        return _expand_open(leaf, findings)
    if not isinstance(node, Mapping) or (len(leaf.path) > 1 and not _has_open(node)):
        _check_lists(node, leaf, findings)
        return [Shape((leaf,))]
    shapes = [Shape()]
    for key, value in node.items():
        below = Leaf((*leaf.path, key), (*leaf.source, key), value, chosen=leaf.chosen)
        shapes = _product(shapes, _expand(below, findings))
        if len(shapes) > MAX_BRANCHES:
            break
    return shapes


def _expand_open(leaf: Leaf, findings: Findings) -> list[Shape]:
    if "choice" not in leaf.node:
        if len(leaf.path) > 1:
            return [Shape((leaf,))]
        _report_section(leaf.node, leaf.source, findings)
        return [Shape()]
    if problem := choice_problem(leaf.node):
        findings.add(leaf.source, leaf.name, problem)
        return [Shape()]
    return _expand_choice(leaf, findings)


def _expand_choice(leaf: Leaf, findings: Findings) -> list[Shape]:
    """One branch per option that opens one; all plain options together are an axis."""
    options = leaf.node["choice"]
    shapes: list[Shape] = []
    plain = [i for i, option in enumerate(options) if not _opens_branch(option, leaf.path)]
    for index, option in enumerate(options):
        place = (*leaf.source, "choice", index)
        if index not in plain:
            below = _expand(Leaf(leaf.path, place, option, chosen=True), findings)
            shapes += [Shape(shape.leaves, shape.weight / len(options)) for shape in below]
            if len(shapes) > MAX_BRANCHES:
                break
        elif len(leaf.path) == 1:
            _report_section(option, place, findings)
        elif index == plain[0]:
            axis = dataclasses.replace(leaf, options=tuple(plain))
            shapes.append(Shape((axis,), len(plain) / len(options)))
            _check_lists([options[i] for i in plain], leaf, findings)
    return shapes or [Shape()]


def _opens_branch(option: Any, path: tuple[str, ...]) -> bool:
    if path in _DECIDING:
        return True
    return isinstance(option, Mapping) and (len(path) == 1 or _has_open(option))


def _has_open(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    return is_open(node) or any(_has_open(value) for value in node.values())


def _product(shapes: list[Shape], others: list[Shape]) -> list[Shape]:
    """Each with each, the first varying slowest; a few too many, never a flood."""
    return list(islice((a + b for a in shapes for b in others), MAX_BRANCHES + 1))


def _check_lists(node: Any, leaf: Leaf, findings: Findings) -> None:
    """An open value inside a list is no axis: the whole list has to be open."""
    if isinstance(node, Mapping):
        for value in node.values():
            _check_lists(value, leaf, findings)
    if isinstance(node, list):
        for item in node:
            if _has_open(item):
                what, mend = "an open value in a list", "{choice: [[a, b], [a, c]]}"
                mend = f"leave the whole list open: {mend}"
                findings.report(leaf.source, leaf.name, what, received=to_text(item), mend=mend)
            _check_lists(item, leaf, findings)


def _report_section(node: Any, source: Path, findings: Findings) -> None:
    expected = "a mapping of names, or {choice: [{…}, {…}]}"
    received = to_text(node)
    mend = f"model: {{family: {received}}}" if isinstance(node, str) and node in FAMILIES else ""
    findings.report(
        source, dotted(source), "is no mapping", received=received, expected=expected, mend=mend
    )


def section_classes(shape: Shape, findings: Findings) -> Classes:
    """The class of each section of a branch; an unknown family is reported and has none."""
    classes: Classes = {"training": TrainingConfig}
    if shape.leaf(*AUGMENT):
        classes["data"] = SearchedData
    leaf, family = shape.leaf("model", "family"), shape.closed("model", "family")
    if isinstance(family, str) and family in FAMILIES:
        _check_compiled(shape, None, findings)
        return {"model": FAMILIES[family].config} | classes
    if is_own(family):
        own = own_family(family)
        _check_compiled(shape, own.declaration.optimizer, findings)
        return {"model": own.config} | classes
    if leaf:
        near = nearest(str(family), FAMILIES)
        received = to_text(leaf.node)
        findings.report(
            leaf.source,
            "model.family",
            f"{received} is not known",
            received=received,
            expected=", ".join(FAMILIES),
            mend=f"{near}?" if near else "",
        )
    elif not findings.has_choice(("model",)):
        names = [str(leaf.path[1]) for leaf in shape.leaves if leaf.path[0] == "model"]
        near = nearest("family", [name for name in names if name not in _OTHER_NAMES])
        findings.report(
            ("model",),
            "model.family",
            "is missing",
            received=near or "",
            expected=", ".join(FAMILIES),
            mend=f"family instead of {near}?" if near else "",
        )
    return classes


def _check_compiled(shape: Shape, optimizer: str | None, findings: Findings) -> None:
    leaf = shape.leaf("training", "optimizer")
    if leaf is None or optimizer or shape.optimizer != COMPILED:
        return
    what = "compiled is not possible here: the model does not compile itself"
    others = ", ".join(name for name in OPTIMIZER_FIELDS if name != COMPILED)
    findings.report(leaf.source, leaf.name, what, expected=others)


def report_senseless(shapes: Sequence[Shape], findings: Findings) -> None:
    """A training value that no branch uses is a mistake, and so is one that changes no outcome
    but is left open: trials that differ in it alone would be the same."""
    used = {leaf.source for shape in shapes for leaf in shape.used().leaves}
    for shape, leaf in _training_leaves(shapes):
        if leaf.source not in used:
            what = f"has no effect: the optimizer is {shape.optimizer}"
            users = [name for name, own in OPTIMIZER_FIELDS.items() if leaf.path[1] in own]
            mend = f"leave it out, or optimizer: {' or '.join(users)}"
            findings.report(leaf.source, leaf.name, what, mend=mend)
    for _, leaf in _training_leaves(shapes):
        if leaf.path[1] in OBSERVING and (leaf.is_axis or leaf.chosen):
            what, mend = "cannot be left open: it changes no outcome", "one value for all trials"
            findings.report(leaf.source, leaf.name, what, mend=mend)


def _training_leaves(shapes: Sequence[Shape]) -> Iterator[tuple[Shape, Leaf]]:
    for shape in shapes:
        for leaf in shape.leaves:
            if leaf.path[0] == "training":
                yield shape, leaf
