"""From a document to the validated sections of an experiment, with all that is wrong on the way."""

from __future__ import annotations

import dataclasses
import pathlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from tuner.data.config import DataConfig
from tuner.errors import InputError, Problem, nearest
from tuner.experiment.checking import BranchCheck, Efforts
from tuner.experiment.constraints import Constraint, ConstraintError, parse_constraint
from tuner.experiment.declared import with_declared
from tuner.experiment.domain import Choice, is_open
from tuner.experiment.entries import Entries
from tuner.experiment.expansion import SECTIONS, expand
from tuner.experiment.fields import (
    known_names,
    report_observing,
    report_unused,
    section_classes,
)
from tuner.experiment.findings import Findings
from tuner.experiment.overlap import find_overlap
from tuner.experiment.schema import Head, ObjectiveConfig, SearchConfig, TrainingConfig
from tuner.experiment.space import Branch, SearchSpace
from tuner.experiment.validation import plain, validate
from tuner.experiment.yaml import Document, to_text
from tuner.models import FAMILIES

TOP_LEVEL = (*Head.model_fields, "data", *SECTIONS, "objective", "search")
"""The names at the top of an experiment, in the order in which they are written."""

MAX_CONSTRAINTS = 100
"""Most constraints of one search."""

_Section = TypeVar("_Section", bound=BaseModel)


@dataclass(frozen=True)
class Sections:
    """What an experiment is made of; `document` is the tree with closed sections filled in."""

    head: Head
    data: DataConfig
    objective: ObjectiveConfig
    search: SearchConfig
    space: SearchSpace
    document: dict[str, Any]


class Reading:
    """One pass from a document to an experiment, with everything that is wrong on the way."""

    def __init__(self, document: Document, findings: Findings) -> None:
        self._document = document
        self._tree: dict[str, Any] = document.value
        self._findings = findings

    def sections(self) -> Sections:
        """The validated sections; raises InputError with all findings."""
        self._check_names()
        head = self._head()
        data = self._closed_section("data", DataConfig)
        objective = self._closed_section("objective", ObjectiveConfig)
        search = self._search()
        space, listed = self._space(search, head.backend if head else "")
        self._findings.raise_if_any()
        if head is None or data is None or objective is None or search is None:
            raise AssertionError("a section was refused without a word")
        self._check_space(space, data, search)
        self._findings.raise_if_any()
        if listed:
            search = search.model_copy(update={"configurations": listed})
        document = {
            **plain(head),
            "data": plain(data),
            **{name: self._tree[name] for name in SECTIONS if name in self._tree},
            "objective": plain(objective),
            "search": plain(search),
        }
        return Sections(head, data, objective, search, space, document)

    def _check_names(self) -> None:
        for name in self._tree:
            if name in TOP_LEVEL:
                continue
            sections = [f"training.{name}"] if name in TrainingConfig.model_fields else []
            known = any(name in family.config.model_fields for family in FAMILIES.values())
            sections += [f"model.{name}"] if known else []
            near = " or ".join(sections) or nearest(name.partition(":")[0], TOP_LEVEL)
            mend = f"{near}?" if near else ""
            if ":" in name:
                mend = "a space after the colon"
            problem = Problem("is not known", "", name, ", ".join(TOP_LEVEL), mend)
            self._findings.add((name,), name, problem)

    def _head(self) -> Head | None:
        """The values at the top; the name is the file's unless it is written."""
        values = {name: self._tree[name] for name in Head.model_fields if name in self._tree}
        if values.get("name") is None:
            values["name"] = self._name_of_file()
        return self._validated((), Head, values)

    def _name_of_file(self) -> str:
        stem = pathlib.PurePath(self._document.source).stem
        if not isinstance(validate(Head, {"name": stem}), list):
            return stem
        what = f"{to_text(stem)}, the file's name, cannot be the experiment's"
        expected = "letters, digits, . _ - ; at most 80"
        problem = Problem(what, received=stem, expected=expected, mend="write a line name: …")
        self._findings.add((), "name", problem)
        return "unnamed"

    def _closed_section(self, section: str, config: type[_Section]) -> _Section | None:
        node = self._tree.get(section)
        node = {} if node is None else node
        if not isinstance(node, Mapping):
            problem = Problem("is no mapping", received=to_text(node), expected="a mapping")
            self._findings.add((section,), section, problem)
            return None
        return self._validated((section,), config, node)

    def _search(self) -> SearchConfig | None:
        """The section; explicit configurations are not its own to check."""
        node = self._tree.get("search")
        if not self._is_listed() or not isinstance(node, dict):
            return self._closed_section("search", SearchConfig)
        return self._validated(("search",), SearchConfig, {**node, "configurations": []})

    def _is_listed(self) -> bool:
        """Whether there is a list of configurations, read or not."""
        node = self._tree.get("search")
        if not isinstance(node, dict) or node.get("method") != "list":
            return False
        return isinstance(node.get("configurations"), list)

    def _validated(
        self, path: tuple[str, ...], config: type[_Section], values: Mapping[str, Any]
    ) -> _Section | None:
        opened = [name for name, value in values.items() if is_open(value)]
        for name in opened:
            mend = "only values under model and training may be open"
            problem = Problem("cannot be left open", "", to_text(values[name]), "one value", mend)
            self._findings.add((*path, name), ".".join((*path, name)), problem)
        if opened:
            return None
        checked = validate(config, values)
        if isinstance(checked, BaseModel):
            return checked  # type: ignore[return-value]
        for fault in checked:
            name = ".".join(str(part) for part in (*path, *fault.path))
            self._findings.add((*path, *fault.path), name, fault.problem)
        return None

    def _space(
        self, search: SearchConfig | None, backend: str
    ) -> tuple[SearchSpace, tuple[dict[str, Any], ...]]:
        """The space, and the explicit configurations that make it, if any do."""
        listed = self._tree["search"]["configurations"] if self._is_listed() else ()
        if all(entry is None for entry in listed):
            return self._opened(search, backend), ()
        entries = Entries(self._tree, backend, self._findings)
        constraints = list(self._constraints(dict.fromkeys(entries.names())))
        return SearchSpace(entries.branches(constraints)), entries.resolved()

    def _opened(self, search: SearchConfig | None, backend: str) -> SearchSpace:
        """The space of the values that are left open."""
        shapes = with_declared(expand(self._tree, self._findings), backend, self._findings)
        report_unused(shapes, self._findings)
        report_observing(shapes, self._findings)
        classes = [section_classes(shape, self._findings) for shape in shapes]
        pairs = list(zip(shapes, classes, strict=True))
        names = {name: None for shape, cls in pairs for name in sorted(known_names(shape, cls))}
        constraints = list(self._constraints(names))
        grid = search is not None and search.method == "grid"
        efforts = Efforts.shared_by(len(pairs))
        checks = [BranchCheck(*pair, constraints, self._findings, efforts) for pair in pairs]
        branches = [check.branch(grid) for check in checks]
        found = _named([branch for branch in branches if branch is not None])
        if not found and not self._findings:
            self._exclude_all()
        return SearchSpace(found)

    def _constraints(self, names: Mapping[str, None]) -> Iterator[Constraint]:
        """The constraints that can be read, whatever else is wrong in `search:`."""
        search = self._tree.get("search")
        texts = search.get("constraints") if isinstance(search, dict) else None
        if isinstance(texts, list) and len(texts) > MAX_CONSTRAINTS:
            problem = Problem("too many", "", str(len(texts)), f"at most {MAX_CONSTRAINTS}")
            self._findings.add(("search", "constraints"), "search.constraints", problem)
            return
        for index, text in enumerate(texts if isinstance(texts, list) else ()):
            try:
                if isinstance(text, str):
                    yield parse_constraint(text, names)
            except ConstraintError as error:
                where = ("search", "constraints", index)
                self._findings.add(where, f"search.constraints[{index}]", error.problem)

    def _check_space(self, space: SearchSpace, data: DataConfig, search: SearchConfig) -> None:
        if data.train_images is not None:
            report_batch_sizes(space.branches, data.train_images, self._findings)
        listed = search.method == "list"  # Equal configurations were looked for by value.
        if not listed and (branch := find_overlap(space.branches)) is not None:
            self._report_overlap(branch)
        if search.constraints:
            self._check_admits(space, search)

    def _report_overlap(self, branch: Branch) -> None:
        name = branch.names[0] if branch.names else "model.family"
        source = branch.sources[name]
        received = to_text(branch.close(_first(branch)).values or branch.model)
        what = "two options of a choice admit the same configuration"
        problem = Problem(what, received=received, mend="keep one of them, or make them differ")
        self._findings.add(source, name, problem)

    def _check_admits(self, space: SearchSpace, search: SearchConfig) -> None:
        """Some configuration must be left, and every constraint computable."""
        try:
            if not (space.size if space.is_finite else _admits_something(space)):
                self._exclude_all()
        except ConstraintError as error:
            index = search.constraints.index(error.problem.received)
            where = ("search", "constraints", index)
            self._findings.add(where, f"search.constraints[{index}]", error.problem)
        except InputError as error:
            for problem in error.problems:
                self._findings.add(("search", "constraints"), "", problem)

    def _exclude_all(self) -> None:
        problem = Problem("no configuration is left", mend="loosen or remove a constraint")
        self._findings.add(("search", "constraints"), "search.constraints", problem)


def _named(branches: list[Branch]) -> tuple[Branch, ...]:
    """The branches without names whose fixed value is the same in all: those are not searched."""
    fixed = [{n: to_text(b.close(_first(b)).values[n]) for n in b.fixed_names} for b in branches]
    same = {name for name in (fixed[0] if fixed else {}) if len({f.get(name) for f in fixed}) == 1}
    return tuple(
        dataclasses.replace(b, names=tuple(n for n in b.names if n not in same)) for b in branches
    )


def _admits_something(space: SearchSpace) -> bool:
    for branch in space.branches:
        branch.probe()
    try:
        space.sample(random.Random(0))
    except InputError:
        return False
    return True


def _first(branch: Branch) -> dict[str, Any]:
    return {axis.name: axis.domain.sample(0.0) for axis in branch.axes}


def report_batch_sizes(
    branches: Sequence[Branch], num_train_images: int, findings: Findings
) -> None:
    """Reports every batch size of the space that is larger than the training set."""
    for branch in branches:
        sizes = [branch.training["batch_size"]]
        for axis in branch.axes:
            if axis.name == "training.batch_size":
                finite = axis.domain.points() if isinstance(axis.domain, Choice) else ()
                sizes = list(finite) or [axis.support[-1]]
        source = branch.sources.get("training.batch_size", ("training",))
        for size in sizes:
            if isinstance(size, int) and size > num_train_images:
                what = f"{size} is more than the training images"
                expected = f"at most {num_train_images}"
                problem = Problem(what, received=str(size), expected=expected)
                findings.add(source, "training.batch_size", problem)
