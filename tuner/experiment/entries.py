"""From explicit configurations to a search space of closed branches, one each, in their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from tuner.errors import InputError, Problem
from tuner.experiment.checking import BranchCheck, Efforts
from tuner.experiment.constraints import Constraint, ConstraintError, resolve_name
from tuner.experiment.declared import with_declared
from tuner.experiment.domain import is_open
from tuner.experiment.expansion import SECTIONS, Leaf, Shape
from tuner.experiment.fields import known_names, report_unused, section_classes, used_leaves
from tuner.experiment.findings import Findings
from tuner.experiment.schema import OBSERVING, TrainingConfig
from tuner.experiment.space import Branch
from tuner.experiment.trial import canonical
from tuner.experiment.yaml import LISTED, MAX_PROBLEMS, Path, to_text
from tuner.models import FAMILIES
from tuner.models.family import runtime_fields
from tuner.models.own import is_own, own_family

Classes = dict[str, type[BaseModel]]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One configuration: `values` by dotted path, and where each name was written."""

    row: int
    values: dict[tuple[str, ...], Any]
    sources: dict[tuple[str, ...], Path]

    @property
    def source(self) -> Path:
        """Its place."""
        return (*LISTED, self.row)

    def written(self) -> dict[str, Any]:
        """The values by dotted name, as the experiment keeps them."""
        return {".".join(path): value for path, value in self.values.items()}


class Entries:
    """Reads the list of an experiment's tree; what is wrong goes to `findings`."""

    def __init__(self, tree: Mapping[str, Any], backend: str, findings: Findings) -> None:
        self._backend = backend
        self._findings = findings
        self._base = dict(_fields(tree, findings))
        listed = tree["search"]["configurations"]
        rows = [(row, entry) for row, entry in enumerate(listed) if entry is not None]
        paths = self._paths(rows)
        self._entries = [self._entry(row, entry, paths) for row, entry in rows]
        self._reported: set[str] = set()
        pairs = [pair for entry in self._entries for pair in self._closed(entry)]
        self._rows = [entry for entry, _ in pairs]
        self._shapes = [shape for _, shape in pairs]
        self._classes = [section_classes(shape, findings) for shape in self._shapes]
        pairs_of = zip(self._shapes, self._classes, strict=True)
        self._names = [known_names(shape, classes) for shape, classes in pairs_of]

    def resolved(self) -> tuple[dict[str, Any], ...]:
        """The list with dotted names, which reads as the same experiment."""
        return tuple(entry.written() for entry in self._entries)

    def names(self) -> Iterator[str]:
        """The dotted names that a constraint may use."""
        yield from sorted(frozenset[str]().union(*self._names))

    def branches(self, constraints: Sequence[Constraint]) -> tuple[Branch, ...]:
        """One closed branch for each entry; fewer after something was reported."""
        report_unused(self._shapes, self._findings)
        efforts = Efforts(covering=10 * len(self._shapes) + 1_000, combinations=1)
        found: list[tuple[Entry, Branch]] = []
        read = zip(self._rows, self._shapes, self._classes, self._names, strict=True)
        for entry, shape, classes, names in read:
            check = BranchCheck(shape, classes, (), self._findings, efforts)
            branch = check.branch(grid=False)
            if branch is not None:
                about = tuple(c for c in constraints if names.issuperset(c.dotted))
                found.append((entry, dataclasses.replace(branch, constraints=about)))
        self._report_equal(found)
        listed = _listed_names(self._entries)
        return tuple(_shared([_named(branch, listed) for _, branch in found]))

    def _paths(self, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, tuple[str, ...]]:
        """What each name stands for; one that stands for nothing is reported once."""
        known = self._known(rows)
        first = {name: row for row, entry in reversed(rows) for name in reversed(entry)}
        paths = {}
        for name in first:
            try:
                paths[name] = _path(name, known)
            except ConstraintError as error:
                column = (*LISTED, name)
                source = column if self._findings.knows(column) else (*LISTED, first[name], name)
                if any(one.startswith("model.") for one in known[1:]):  # Some family is known.
                    self._findings.add(source, "search.configurations", error.problem)
        return {name: paths[name] for _, entry in rows for name in entry if name in paths}

    def _known(self, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> list[str]:
        """The dotted names of all families that occur."""
        base = self._base.get(("model", "family"))
        given = [entry.get(name) for _, entry in rows for name in ("family", "model.family")]
        families = [base.node if base else None, *given]
        names = [f"model.{field}" for family in _once(families) for field in self._config(family)]
        names += [
            f"training.{name}" for name in TrainingConfig.model_fields if name not in OBSERVING
        ]
        return list(dict.fromkeys(["model.family", *names]))

    def _config(self, family: Any) -> Sequence[str]:
        if family in FAMILIES:
            return list(FAMILIES[family].config.model_fields)
        try:
            return list(own_family(family, self._backend).config.model_fields)
        except InputError:
            return ()  # Reported where its entry is read.

    def _entry(
        self, row: int, entry: Mapping[str, Any], paths: Mapping[str, tuple[str, ...]]
    ) -> Entry:
        found = Entry(row, {}, {})
        for name, value in entry.items():
            source = (*found.source, name)
            if (path := paths.get(name)) is None:
                continue
            if any(_is_part(path, other) for other in found.values):
                problem = Problem("is set twice in one configuration", mend="keep one of them")
                self._findings.add(source, ".".join(path), problem)
            elif _has_open(value):
                mend = "one value; each configuration is closed"
                problem = Problem("cannot be left open here", received=to_text(value), mend=mend)
                self._findings.add(source, ".".join(path), problem)
            found.values[path] = value
            found.sources[path] = source
        return found

    def _closed(self, entry: Entry) -> Iterator[tuple[Entry, Shape]]:
        """The entry over what the file writes; nothing where a value is left open."""
        leaves = dict(self._base)
        for path, value in entry.values.items():
            field = path[:2]
            under = leaves[field].node if field in leaves else {}
            node = _put(under, path[2:], value)
            leaves[field] = Leaf(field, entry.sources[path], node, chosen=True)
        shape = Shape(tuple(leaves.values()))
        shapes = with_declared([shape], self._backend, self._findings)
        opened = [leaf for one in shapes for leaf in used_leaves(one).leaves if _is_left(leaf)]
        opened += _differing(shapes)
        for leaf in opened:
            self._report_open(leaf, entry)
        if shapes and not opened:
            yield entry, shapes[0]

    def _report_open(self, leaf: Leaf, entry: Entry) -> None:
        given = [value for path, value in entry.values.items() if path[:2] == leaf.path[:2]]
        if leaf.name in self._reported or any(map(_has_open, given)):
            return
        self._reported.add(leaf.name)
        what = f"is left open, and search.configurations[{entry.row}] does not set it"
        mend = "set it in every configuration, or write one value"
        problem = Problem(what, "", to_text(leaf.node), "a value in every configuration", mend)
        self._findings.add(entry.source, leaf.name, problem)

    def _report_equal(self, found: Sequence[tuple[Entry, Branch]]) -> None:
        first: dict[str, Entry] = {}
        problems = 0
        for entry, branch in found:
            configuration = branch.close({})
            other = first.setdefault(canonical(configuration.flat()), entry)
            if other is entry or problems > MAX_PROBLEMS:
                continue
            problems += 1
            name = f"search.configurations[{entry.row}]"
            what = f"is the same configuration as [{other.row}]"
            at = f"{what} at {self._findings.where(other.source)}"
            mend = "keep one of them; search.replicates trains each under several seeds"
            problem = Problem(at, "", to_text(entry.written()), "every configuration once", mend)
            self._findings.add(entry.source, name, problem)


def _fields(tree: Mapping[str, Any], findings: Findings) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """What the file writes, field by field."""
    for section in SECTIONS:
        node = tree.get(section)
        node = {} if node is None else node
        if isinstance(node, Mapping) and not is_open(node):
            for name, value in node.items():
                path = (section, name)
                yield path, Leaf(path, path, value)
            continue
        what = "is a choice of mappings, which no configuration can set"
        what = what if is_open(node) else "is no mapping"
        expected, mend = "a mapping of names", "write what differs in every configuration"
        findings.add((section,), section, Problem(what, "", to_text(node), expected, mend))


def _path(name: str, known: list[str]) -> tuple[str, ...]:
    """`schedule.step.factor` is `training.schedule.step.factor`."""
    parts = name.split(".")
    head = 2 if parts[0] in SECTIONS and len(parts) > 1 else 1
    resolved = resolve_name(".".join(parts[:head]), known)
    return *resolved.split("."), *parts[head:]


def _is_part(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _has_open(node: Any) -> bool:
    if isinstance(node, Mapping):
        return is_open(node) or any(map(_has_open, node.values()))
    return isinstance(node, list) and any(map(_has_open, node))


def _is_left(leaf: Leaf) -> bool:
    return leaf.is_axis or _has_open(leaf.node)


def _differing(shapes: Sequence[Shape]) -> Iterator[Leaf]:
    """What an own function leaves open by having a branch for each value."""
    first: dict[str, Leaf] = {}
    for shape in shapes:
        for leaf in shape.leaves:
            if canonical(first.setdefault(leaf.name, leaf).node) != canonical(leaf.node):
                yield leaf


def _put(node: Any, path: tuple[str, ...], value: Any) -> Any:
    """The node with another value below it."""
    if not path:
        return value
    under = node if isinstance(node, Mapping) and not is_open(node) else {}
    return {**under, path[0]: _put(under.get(path[0]), path[1:], value)}


def _once(families: Sequence[Any]) -> list[Any]:
    names = [name for name in families if isinstance(name, str)]
    return [name for name in dict.fromkeys(names) if name in FAMILIES or is_own(name)]


def _listed_names(entries: Sequence[Entry]) -> list[str]:
    """The fields that the list sets, in the order of its columns."""
    return list(dict.fromkeys(".".join(path[:2]) for entry in entries for path in entry.values))


def _named(branch: Branch, listed: Sequence[str]) -> Branch:
    """Searched is what the list sets anywhere, and this configuration has."""
    flat = branch.close({}).flat()
    return dataclasses.replace(branch, names=tuple(name for name in listed if name in flat))


def _shared(branches: Sequence[Branch]) -> Iterator[Branch]:
    """Configurations that differ in rates alone share one program: what any of them turns on."""
    switches: dict[str, frozenset[str]] = {}
    keys = [_structure(branch) for branch in branches]
    for key, branch in zip(keys, branches, strict=True):
        switches[key] = switches.get(key, frozenset()) | branch.switches
    for key, branch in zip(keys, branches, strict=True):
        yield dataclasses.replace(branch, switches=switches[key])


def _structure(branch: Branch) -> str:
    family: Any = branch.model["family"]
    config: Any = FAMILIES[family].config if family in FAMILIES else own_family(family).config
    rates = runtime_fields(config)
    model = {name: value for name, value in branch.model.items() if name not in rates}
    return canonical([model, branch.training["batch_size"], branch.training["optimizer"]])
