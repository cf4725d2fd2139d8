"""From the tree that was written to flat branches.

A section with choices in it is a union of products: every option that is a mapping, every family
and every optimizer opens a branch, and inside a branch each name is either fixed or an axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tuner.errors import Problem
from tuner.experiment.domain import choice_problem, is_open
from tuner.experiment.findings import Findings, dotted
from tuner.experiment.yaml import Path, to_text

MAX_BRANCHES = 1_000
SECTIONS = ("model", "training")

# Fields that decide which other fields there are.
_DECIDING = (("model", "family"), ("training", "optimizer"))


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
    """The leaves of one branch in file order, and its share of an endless random search."""

    leaves: tuple[Leaf, ...] = ()
    weight: float = 1.0

    def __add__(self, other: Shape) -> Shape:
        return Shape(self.leaves + other.leaves, self.weight * other.weight)

    def leaf(self, *path: str) -> Leaf | None:
        """The leaf of that path."""
        return next((leaf for leaf in self.leaves if leaf.path == path), None)


def expand(tree: Mapping[str, Any], findings: Findings) -> list[Shape]:
    """All branches of `model:` and `training:`; what cannot be one is reported.

    Raises:
        InputError: there are too many to look at, with all that was found before.
    """
    shapes = [Shape()]
    for section in SECTIONS:
        node = tree.get(section)
        node = {} if node is None else node
        if isinstance(node, Mapping):
            shapes = _product(shapes, _expand(node, (section,), (section,), findings, False))
        else:
            _report_section(node, (section,), findings)
    if len(shapes) > MAX_BRANCHES:
        what = f"choices of mappings make more than {MAX_BRANCHES:,} branches"
        problem = Problem(what, mend="fewer options that are mappings, or several experiments")
        findings.add((), "the search space", problem)
        findings.raise_if_any()
    return shapes


def _expand(
    node: Any, path: tuple[str, ...], source: Path, findings: Findings, chosen: bool
) -> list[Shape]:
    if is_open(node):
        return _expand_open(node, path, source, findings, chosen)
    if not isinstance(node, Mapping) or (len(path) > 1 and not _has_open(node)):
        _check_lists(node, path, source, findings)
        return [Shape((Leaf(path, source, node, chosen=chosen),))]
    shapes = [Shape()]
    for key, value in node.items():
        below = _expand(value, (*path, key), (*source, key), findings, chosen)
        shapes = _product(shapes, below)
        if len(shapes) > MAX_BRANCHES:
            break
    return shapes


def _expand_open(
    node: Mapping[str, Any], path: tuple[str, ...], source: Path, findings: Findings, chosen: bool
) -> list[Shape]:
    if "choice" not in node:
        if len(path) == 1:
            _report_section(node, source, findings)
            return [Shape()]
        return [Shape((Leaf(path, source, node, chosen=chosen),))]
    if problem := choice_problem(node):
        findings.add(source, dotted(path), problem)
        return [Shape()]
    return _expand_choice(node, path, source, findings, chosen)


def _expand_choice(
    node: Mapping[str, Any], path: tuple[str, ...], source: Path, findings: Findings, chosen: bool
) -> list[Shape]:
    """One branch per option that opens one; all plain options together are an axis."""
    options = node["choice"]
    shapes: list[Shape] = []
    plain = [i for i, option in enumerate(options) if not _opens_branch(option, path)]
    for index, option in enumerate(options):
        place = (*source, "choice", index)
        if index not in plain:
            shapes += [
                Shape(shape.leaves, shape.weight / len(options))
                for shape in _expand(option, path, place, findings, True)
            ]
            if len(shapes) > MAX_BRANCHES:
                break
        elif len(path) == 1:
            _report_section(option, place, findings)
        elif index == plain[0]:
            leaf = Leaf(path, source, node, tuple(plain), chosen)
            shapes.append(Shape((leaf,), len(plain) / len(options)))
            _check_lists([options[i] for i in plain], path, source, findings)
    return shapes or [Shape()]


def _opens_branch(option: Any, path: tuple[str, ...]) -> bool:
    if path in _DECIDING:
        return True
    return isinstance(option, Mapping) and (len(path) == 1 or _has_open(option))


def _has_open(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    return is_open(node) or any(_has_open(value) for value in node.values())


def _product(one: list[Shape], other: list[Shape]) -> list[Shape]:
    """Each with each, the first varying slowest; a few too many, never a flood."""
    return list(islice((a + b for a in one for b in other), MAX_BRANCHES + 1))


def _check_lists(node: Any, path: tuple[str, ...], source: Path, findings: Findings) -> None:
    """An open value inside a list is no axis: the whole list has to be open."""
    if isinstance(node, Mapping):
        for value in node.values():
            _check_lists(value, path, source, findings)
    if isinstance(node, list):
        for item in node:
            if _has_open(item):
                mend = "leave the whole list open: {choice: [[a, b], [a, c]]}"
                problem = Problem("an open value in a list", received=to_text(item), mend=mend)
                findings.add(source, dotted(path), problem)
            _check_lists(item, path, source, findings)


def _report_section(node: Any, source: Path, findings: Findings) -> None:
    expected = "a mapping of names, or {choice: [{…}, {…}]}"
    problem = Problem("is no mapping", received=to_text(node), expected=expected)
    findings.add(source, dotted(source), problem)
