"""What a person's own `build(hp)` declares and the experiment does not write is opened, too.

A hyperparameter on which others depend, declared or written, is split into groups of values under
which the same others are used, one branch each: so no branch holds a value that is not used. A
branch has the share of its values, from the top down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.document import Findings
from tuner.experiment.domain import Choice, Domain, is_open, parse_range, same
from tuner.experiment.effects import OwnEffects, report_idle
from tuner.experiment.shapes import MAX_BRANCHES, Leaf, Shape
from tuner.models.own.family import OPEN, Declaration, Declared, is_own, own_family

MAX_VALUES = 1_000
"""Of a range of integers that is split."""


def with_declared(shapes: Sequence[Shape], backend: str, findings: Findings) -> list[Shape]:
    """The branches, those of an own function filled up; without one that cannot be run."""
    idle: list[tuple[Leaf, str]] = []
    filled = [own for shape in shapes for own in _filled(shape, backend, findings, idle)]
    report_idle(idle, filled, findings)
    return filled


def _filled(
    shape: Shape, backend: str, findings: Findings, idle: list[tuple[Leaf, str]]
) -> list[Shape]:
    family = shape.leaf("model", "family")
    name = shape.closed("model", "family")
    if family is None or not is_own(name):
        return [shape]
    try:
        declaration = own_family(name, backend).declaration
    except InputError as error:
        for problem in error.problems:
            findings.add(family.source, "", dataclasses.replace(problem, where=""))
        return []
    effects = OwnEffects(shape, family, declaration, findings)
    idle += effects.idle
    shape = effects.shape
    own = _OwnBranches(effects.declaration, family, shape)
    notes = (*shape.notes, *own.undeclared())
    return [
        effects.completed(Shape(tuple(branch.ordered(shape)), shape.weight * branch.share, notes))
        for branch in own.branches(findings)
    ]


@dataclass(frozen=True)
class _OwnBranch:
    """Leaves by name, a value for each hyperparameter that is used, and the share of draws."""

    leaves: Mapping[str, Leaf] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0

    def with_leaf(self, leaf: Leaf, value: Any, share: float = 1.0) -> _OwnBranch:
        """One more that is used; `value` is one of its values, or OPEN."""
        name = leaf.path[1]
        values = {**self.values, name: value}
        return _OwnBranch({**self.leaves, name: leaf}, values, self.share * share)

    def ordered(self, shape: Shape) -> Iterator[Leaf]:
        """What is written stays in its place; what is only declared comes after it."""
        model = {leaf.path[1]: leaf for leaf in shape.leaves if leaf.path[0] == "model"}
        for leaf in shape.leaves:
            if leaf.path[0] != "model" or not leaf.is_axis:
                yield leaf
            elif leaf.path[1] in self.leaves:
                yield self.leaves[leaf.path[1]]
        yield from (leaf for name, leaf in self.leaves.items() if name not in model)


class _OwnBranches:
    """The branches of what a function declares, over what the experiment writes."""

    def __init__(self, declaration: Declaration, family: Leaf, shape: Shape) -> None:
        self._declared = declaration.hyperparameters
        self._family = family
        self._written = {leaf.path[1]: leaf for leaf in shape.leaves if leaf.path[0] == "model"}
        self._allowed: dict[str, list[tuple[Any, ...]]] = {}  # by name, for others that depend
        for name, values in declaration.conditions():
            self._allowed.setdefault(name, []).append(values)
        for name, options in declaration.deciding.items():
            self._allowed.setdefault(name, []).extend((value,) for value in options)

    def branches(self, findings: Findings) -> list[_OwnBranch]:
        """All of them; what is wrong is reported."""
        declared = {one.name for one in self._declared}
        foreign = {n: leaf for n, leaf in self._written.items() if n not in declared}
        branches = [_OwnBranch(foreign)]
        for one in self._declared:
            branches = [more for branch in branches for more in self._extended(one, branch)]
            if len(branches) > MAX_BRANCHES:
                what = f"what build asks for makes more than {MAX_BRANCHES:,} branches"
                mend = "write some values on which others depend: one, or fewer"
                findings.report(self._family.source, "model.family", what, mend=mend)
                return []
        self._report_unused(branches, findings)
        return branches

    def undeclared(self) -> Iterator[str]:
        """Notes of what is written beyond what is declared, where others depend on it."""
        for one in self._declared:
            leaf = self._written.get(one.name)
            if leaf is None or one.name not in self._allowed:
                continue
            values = [v for v in _ends(leaf) if v is not None]
            if any(not same(value, _nearest(value, one.node)) for value in values):
                yield (
                    f"{leaf.name} has values that build does not declare: what it asks for only "
                    "with these is not searched and keeps its default; declare them in build"
                )

    def _extended(self, declared: Declared, branch: _OwnBranch) -> list[_OwnBranch]:
        is_used = declared.is_used(branch.values)
        leaf = self._written.get(declared.name)
        if leaf is not None and not leaf.is_axis:
            is_used &= leaf.node is not None
            value = _nearest(leaf.node, declared.node)
            return [branch.with_leaf(leaf, value)] if is_used else [branch]
        if not is_used:
            return [branch]
        leaf = leaf or _declared_leaf(declared, self._family)
        if not leaf.is_axis:
            return [branch.with_leaf(leaf, leaf.node)]
        shares = _shares(leaf, declared.kind == "int") if declared.name in self._allowed else {}
        if not shares:
            return [branch.with_leaf(leaf, OPEN)]
        parts = self._split(declared, leaf, shares)
        return [branch.with_leaf(*part) for part in parts]

    def _split(
        self, declared: Declared, leaf: Leaf, shares: Mapping[Any, float]
    ) -> Iterator[tuple[Leaf, Any, float]]:
        """The leaf for each group of values that come to the same, one of them, and their share."""
        groups: dict[Any, list[Any]] = {}
        for value in shares:
            uneven = value if len(set(shares.values())) > 1 else None  # keeps its own share
            known = _nearest(value, declared.node)
            alike = tuple(known in allowed for allowed in self._allowed[declared.name])
            groups.setdefault((uneven, alike), []).append(value)
        for values in groups.values():
            part = leaf if len(groups) == 1 else _part(leaf, values)
            known = _nearest(values[0], declared.node)
            yield part, known, sum(shares[value] for value in values)

    def _report_unused(self, branches: Sequence[_OwnBranch], findings: Findings) -> None:
        for name, leaf in self._written.items():
            if leaf.is_axis and not any(name in branch.leaves for branch in branches):
                what = "has no effect: build does not ask for it with the other values"
                mend = "leave it out, or write values with which it is used"
                findings.report(leaf.source, leaf.name, what, mend=mend)


def _declared_leaf(declared: Declared, family: Leaf) -> Leaf:
    """At the place of the family, which is what brings it."""
    node = declared.node
    return Leaf(
        path=("model", declared.name),
        source=(*family.source[:-1], declared.name),
        node=node,
        options=tuple(range(len(node["choice"]))) if is_open(node) and "choice" in node else None,
        chosen=not is_open(node),
    )


def _ends(leaf: Leaf) -> Sequence[Any]:
    """All written values, or the ends of a range."""
    if leaf.options is not None:
        return [leaf.node["choice"][index] for index in leaf.options]
    return [leaf.node.get("min"), leaf.node.get("max")] if leaf.is_axis else [leaf.node]


def _shares(leaf: Leaf, integer: bool) -> dict[Any, float]:
    """How likely each value is drawn; nothing for a range that has too many to list."""
    domain: Domain | Problem
    if leaf.options is not None:
        domain = Choice(tuple(leaf.node["choice"][index] for index in leaf.options))
    else:
        domain = parse_range(leaf.node, integer or None)
    values = () if isinstance(domain, Problem) else domain.values(MAX_VALUES)
    if isinstance(domain, Problem) or not all(isinstance(v, int | float | str) for v in values):
        return {}  # said where the leaf is checked
    return {value: domain.share(value) for value in values}


def _nearest(value: Any, node: Any) -> Any:
    """The declared value that is nearest: of one beyond them nobody knows what `build` asks for."""
    if not isinstance(value, int | float):
        return value
    if not is_open(node):
        return node
    if "choice" in node:
        numbers = [option for option in node["choice"] if isinstance(option, int | float)]
        return min(numbers, key=lambda number: abs(number - value), default=value)
    return min(max(value, node["min"]), node["max"])


def _part(leaf: Leaf, values: Sequence[Any]) -> Leaf:
    """The leaf with some of its values."""
    if len(values) == 1:
        return dataclasses.replace(leaf, node=values[0], options=None, chosen=True)
    if leaf.options is None:
        options = tuple(range(len(values)))
        return dataclasses.replace(leaf, node={"choice": list(values)}, options=options)
    chosen = [index for index in leaf.options if leaf.node["choice"][index] in values]
    return dataclasses.replace(leaf, options=tuple(chosen))
