"""An experiment: a configuration with some values left open, and how they are to be closed."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from tuner.data import with_whole_path
from tuner.data.config import DataConfig, closed_data
from tuner.data.dataset import DatasetInfo, class_number
from tuner.errors import InputError, Problem
from tuner.experiment.check import BranchCheck, Efforts, find_overlap, places_of
from tuner.experiment.compared import report_lists, report_texts
from tuner.experiment.constraints import Constraint, ConstraintError, parse_constraint
from tuner.experiment.declared import with_declared
from tuner.experiment.document import (
    Document,
    Findings,
    Located,
    Path,
    dotted,
    mend_name,
    read_text,
    value_at,
)
from tuner.experiment.domain import Choice, is_open
from tuner.experiment.listed import ListedSpace, with_list
from tuner.experiment.mapping import document_of
from tuner.experiment.objective import Objective
from tuner.experiment.overrides import apply_overrides
from tuner.experiment.schema import (
    Head,
    ObjectiveConfig,
    Resources,
    SearchConfig,
    Stop,
    ThresholdStop,
)
from tuner.experiment.shapes import (
    AUGMENT,
    SECTIONS,
    expand,
    report_senseless,
    section_classes,
)
from tuner.experiment.space import Branch, SearchSpace
from tuner.experiment.start import start_configurations
from tuner.experiment.trial import Configuration, Trial, sections_of
from tuner.experiment.validation import plain, validate
from tuner.experiment.yaml import MAX_LISTED_CHARACTERS, compose, to_text, write_document

TOP_LEVEL = (*Head.model_fields, "data", *SECTIONS, "objective", "search", "resources")
"""The names at the top of an experiment, in the order in which they are written."""

MAX_CONSTRAINTS = 100
"""Most constraints of one search."""

_LONGEST_NAME = 80

_Section = TypeVar("_Section", bound=BaseModel)


@dataclass(frozen=True)
class Experiment:
    """What the person asked for, validated.

    `document` is the plain tree as it was written, with overrides applied and the closed sections'
    defaults filled in; `start` are the configurations that are tried first; `resources` are those
    of one worker, and no part of any trial; `source` is the file that it came from.
    """

    name: str
    description: str
    backend: str
    precision: str
    data: DataConfig
    objective: Objective
    search: SearchConfig
    space: SearchSpace
    document: dict[str, Any]
    start: tuple[Configuration, ...] = ()
    resources: Resources = dataclasses.field(default_factory=Resources)
    source: str = dataclasses.field(default="", compare=False)
    written: Document = dataclasses.field(
        default=Document({}, "", {}), compare=False, repr=False, kw_only=True
    )

    def trial(
        self,
        configuration: Configuration,
        replicate: int = 0,
        data_fingerprint: str = "",
        num_train_images: int = 0,
    ) -> Trial:
        """The trial of a configuration under one of the experiment's seeds.

        Without data, as of a structure alone, its key is none that a ledger has.
        """
        return Trial(
            configuration=configuration,
            data=closed_data(self.data, configuration.data),
            backend=self.backend,
            precision=self.precision,
            replicate=replicate,
            seed=self.search.seed + replicate,
            data_fingerprint=data_fingerprint,
            num_train_images=num_train_images,
            searched_augment=self.data.augment if self.searches_augment else None,
        )

    @property
    def searches_augment(self) -> bool:
        """Whether trials differ in what is done to their images; `data` then names all of it."""
        return self.space.augment is not None

    @property
    def sized(self) -> tuple[Constraint, ...]:
        """The constraints over sizes of networks."""
        return tuple(dict.fromkeys(c for branch in self.space.branches for c in branch.sized))

    def to_yaml(self) -> str:
        """The experiment as it was resolved; loads back as an equal one."""
        return write_document(self.document)

    def with_values(self, overrides: Sequence[str]) -> Experiment:
        """The same with overrides as `search.max_trials=20`.

        Raises:
            InputError: they do not fit.
        """
        changed = parse_experiment(self.to_yaml(), self.source or self.name, overrides)
        return dataclasses.replace(changed, source=self.source, written=self.written)

    def with_resources(
        self,
        cpu: int | None,
        gpu: float | None,
        names: Sequence[str] = ("cpus_per_worker", "gpus_per_worker"),
    ) -> Experiment:
        """The same on other workers; what is None stays as it is written.

        `names` are what the two are called where they were asked for.

        Raises:
            InputError: they are no such numbers.
        """
        given = document_of(dict(zip(names, (cpu, gpu), strict=True))).value
        called = dict(zip(("cpu", "gpu"), names, strict=True))
        asked = {n: given[name] for n, name in called.items() if given[name] is not None}
        checked = validate(Resources, {**plain(self.resources), **asked})
        if isinstance(checked, list):
            faults = [(called[str(fault.path[0])], fault.problem) for fault in checked]
            raise InputError([dataclasses.replace(p, where=name) for name, p in faults])
        assert isinstance(checked, Resources)
        labels = tuple((("resources", name), called[name]) for name in asked)
        written = dataclasses.replace(self.written, overrides=(*self.written.overrides, *labels))
        document = {**self.document, "resources": plain(checked)}
        return dataclasses.replace(self, resources=checked, document=document, written=written)

    def closed(self, flat: Mapping[str, Any], *, seed: int, suffix: str) -> str:
        """YAML of an experiment with one trial: the dotted values `flat` under `seed`.

        It is named after this one and `suffix`.
        """
        # Of a network of one's own, null is a hyperparameter that this configuration has not.
        held = {n: v for n, v in flat.items() if v is not None or not n.startswith("model.")}
        name = self.name[: _LONGEST_NAME - len(suffix)] + suffix
        search = {"method": "grid", "seed": seed}
        sections = sections_of(held)
        data = self.document["data"] | sections.pop("data", {})
        changed = {**sections, "data": data, "name": name, "search": search}
        return write_document(self.document | changed)

    def where(self, name: str) -> str:
        """`file:line` (or the override) of a dotted name, for a message."""
        return self.written.where(tuple(name.split(".")))


def load_experiment(
    path: str | pathlib.Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Experiment:
    """The experiment in a file or a mapping, with overrides as `training.epochs=3` applied.

    Raises:
        InputError: everything that is wrong with it, with file, line and mend.
    """
    if isinstance(path, Mapping):
        return _experiment(document_of(path), [], overrides)
    path = pathlib.Path(path)
    mend = "tuner init PATH writes one"
    text = read_text(path, "the experiment", MAX_LISTED_CHARACTERS, mend)
    return parse_experiment(text, str(path), overrides)


def parse_experiment(text: str, source: str, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that `text` describes; `source` is its path, for messages and its name.

    Raises:
        InputError: everything that is wrong with it, with file, line and mend.
    """
    document, problems = compose(text, source)
    if not isinstance(document.value, dict):
        what = "the file is empty" if document.value is None else "the file is no mapping"
        expected = "name: value lines; model: is required"
        raise InputError(Problem(what, document.where(()), expected=expected))
    return _experiment(document, problems, overrides)


def _experiment(document: Document, problems: Located, overrides: Sequence[str]) -> Experiment:
    document = apply_overrides(document, overrides)
    document, misread = with_list(document)
    return _Reading(document, Findings(document, [*problems, *misread])).experiment()


class _Reading:
    """One pass from a document to an experiment, with everything that is wrong on the way."""

    def __init__(self, document: Document, findings: Findings) -> None:
        self._document = document
        self._tree: dict[str, Any] = document.value
        self._findings = findings

    def experiment(self) -> Experiment:
        """The validated experiment; raises InputError with all findings."""
        self._check_names()
        head = self._head()
        data = self._closed_section("data", DataConfig, self._data())
        objective = self._closed_section("objective", ObjectiveConfig, self._tree.get("objective"))
        written: Any = self._tree.get("search")
        if self._is_listed:  # Explicit configurations are not the section's own to check.
            written = {**written, "configurations": []}
        search = self._closed_section("search", SearchConfig, written)
        resources = self._closed_section("resources", Resources, self._tree.get("resources"))
        space, listed = self._space(search, head.backend if head else "")
        self._findings.raise_if_any()
        if not (head and data and objective and search and resources):
            raise AssertionError("a section was refused without a word")
        self._check_space(space, data, search)
        self._check_threshold(search, objective)
        self._findings.raise_if_any()
        start = start_configurations(search.start, space, self._findings)
        self._findings.raise_if_any()
        if listed:
            search = search.model_copy(update={"configurations": listed})
        opened = value_at(self._tree, AUGMENT)
        document = {
            **plain(head),
            "data": plain(data) | ({"augment": opened} if is_open(opened) else {}),
            **{name: self._tree[name] for name in SECTIONS if name in self._tree},
            "objective": plain(objective),
            "search": plain(search),
            "resources": plain(resources),
        }
        return Experiment(
            name=head.name,
            description=head.description,
            backend=head.backend,
            precision=head.precision,
            data=data if space.augment is None else closed_data(data, {"augment": space.augment}),
            objective=Objective(objective.metric, objective.direction),
            search=search,
            space=space,
            document=document,
            start=start,
            resources=resources,
            source=self._document.source,
            written=self._document,
        )

    def _check_names(self) -> None:
        for name in self._tree:
            if name in TOP_LEVEL:
                continue
            sections = list(dict.fromkeys(places_of(name)))
            mend = f"{' or '.join(sections)}?" if sections else mend_name(name, TOP_LEVEL)
            expected = ", ".join(TOP_LEVEL)
            self._findings.report(
                (name,), name, "is not known", received=name, expected=expected, mend=mend
            )

    def _head(self) -> Head | None:
        """The values at the top; the name is the file's unless it is written."""
        values = {name: self._tree[name] for name in Head.model_fields if name in self._tree}
        if values.get("name") is None:
            values["name"] = self._name_of_file()
        return self._validated((), Head, values)

    def _name_of_file(self) -> str:
        stem = pathlib.PurePath(self._document.source).stem
        if isinstance(validate(Head, {"name": stem}), BaseModel):
            return stem
        if not self._document.source:
            self._findings.report((), "name", "is missing", mend='"name": "…"')
            return "unnamed"
        what = f"{to_text(stem)}, the file's name, cannot be the experiment's"
        expected, mend = "letters, digits, . _ - ; at most 80", "write a line name: …"
        self._findings.report((), "name", what, received=stem, expected=expected, mend=mend)
        return "unnamed"

    def _closed_section(self, section: str, config: type[_Section], node: Any) -> _Section | None:
        node = {} if node is None else node
        if is_open(node):
            self._report_open((section,), node)
            return None
        if isinstance(node, Mapping):
            return self._validated((section,), config, node)
        received = to_text(node)
        field = next(iter(config.model_fields))
        mend = f"{section}: {{{field}: {received}}}" if isinstance(node, str) else ""
        self._findings.report(
            (section,), section, "is no mapping", received=received, expected="a mapping", mend=mend
        )
        return None

    def _data(self) -> Any:
        """The section without an open value, which is the search space's, and with the whole path
        of a file that lies beside the experiment, or here.
        """
        node = self._tree.get("data")
        if isinstance(node, Mapping) and is_open(node.get("augment")):
            node = {name: value for name, value in node.items() if name != "augment"}
        if not isinstance(node, Mapping) or not isinstance(name := node.get("dataset"), str):
            return node
        folder = pathlib.Path(self._document.source).parent
        return {**node, "dataset": with_whole_path(name, folder)}

    @property
    def _is_listed(self) -> bool:
        """Whether there is a list of configurations, read or not."""
        listed = value_at(self._tree, ("search", "configurations"))
        return value_at(self._tree, ("search", "method")) == "list" and isinstance(listed, list)

    def _validated(
        self, path: tuple[str, ...], config: type[_Section], values: Mapping[str, Any]
    ) -> _Section | None:
        opened = [name for name, value in values.items() if is_open(value)]
        for name in opened:
            self._report_open((*path, name), values[name])
        if opened:
            return None
        checked = validate(config, values)
        if isinstance(checked, BaseModel):
            return checked  # type: ignore[return-value]
        for fault in checked:
            place = (*path, *fault.path)
            self._findings.add(place, dotted(place) if place else "", fault.problem)
        return None

    def _report_open(self, path: tuple[str, ...], node: Any) -> None:
        self._findings.report(
            path,
            ".".join(path),
            "cannot be left open",
            received=to_text(node),
            expected="one value",
            mend="only values under model and training, and data.augment, may be open",
        )

    def _space(
        self, search: SearchConfig | None, backend: str
    ) -> tuple[SearchSpace, tuple[dict[str, Any], ...]]:
        """The space, and the explicit configurations that make it, if any do."""
        entries = self._tree["search"]["configurations"] if self._is_listed else ()
        if all(entry is None for entry in entries):
            return self._opened(search, backend), ()
        listed = ListedSpace(self._tree, backend, self._findings)
        constraints = list(self._constraints(listed.names()))
        return SearchSpace(listed.branches(constraints)), listed.resolved()

    def _opened(self, search: SearchConfig | None, backend: str) -> SearchSpace:
        """The space of the values that are left open."""
        shapes = with_declared(expand(self._tree, self._findings), backend, self._findings)
        report_senseless(shapes, self._findings)
        classes = [section_classes(shape, self._findings) for shape in shapes]
        pairs = list(zip(shapes, classes, strict=True))
        names = (name for shape, cls in pairs for name in sorted(shape.names(cls)))
        constraints = list(self._constraints(dict.fromkeys(names)))
        report_texts(constraints, pairs, self._findings)
        grid = search is not None and search.method == "grid"
        efforts = Efforts.shared_by(len(pairs))
        checks = [BranchCheck(*pair, constraints, self._findings, efforts) for pair in pairs]
        branches = [check.branch(grid) for check in checks]
        named = _named([branch for branch in branches if branch is not None])
        report_lists(constraints, named, self._findings)
        if not named and not self._findings:
            self._exclude_all()
        return SearchSpace(named)

    def _constraints(self, names: Iterable[str]) -> Iterator[Constraint]:
        """The constraints that can be read, whatever else is wrong in `search:`."""
        where, name = ("search", "constraints"), "search.constraints"
        texts = value_at(self._tree, where)
        if not isinstance(texts, list):
            return
        if len(texts) > MAX_CONSTRAINTS:
            received, expected = str(len(texts)), f"at most {MAX_CONSTRAINTS}"
            self._findings.report(where, name, "too many", received=received, expected=expected)
            return
        known = list(names)
        for index, text in enumerate(texts):
            try:
                if isinstance(text, str):
                    yield parse_constraint(text, known)
            except ConstraintError as error:
                problem = error.problem
                if problem.received in ("augment", "data.augment"):
                    mend = "leave it open, as {choice: [[], [flip]]}, or remove the constraint"
                    problem = Problem("data.augment is not open", "", text, mend=mend)
                self._findings.add((*where, index), f"{name}[{index}]", problem)

    def _check_space(self, space: SearchSpace, data: DataConfig, search: SearchConfig) -> None:
        if data.train_images is not None:
            _report_batch_sizes(space.branches, data.train_images, self._findings)
        listed = search.method == "list"  # Equal configurations were looked for by value.
        if not listed and (branch := find_overlap(space.branches)) is not None:
            name = branch.names[0] if branch.names else "model.family"
            what = "two options of a choice allow the same configuration"
            received = to_text(branch.first.values or branch.model)
            mend = "keep one of them, or make them differ"
            self._findings.report(branch.sources[name], name, what, received=received, mend=mend)
        if search.constraints:
            self._check_admits(space, search)

    def _check_threshold(self, search: SearchConfig, objective: ObjectiveConfig) -> None:
        """One that no accuracy can reach would stop every trial, one below zero none."""
        for index, stop in enumerate(search.stops):
            problem = unreachable(stop, objective.metric)
            if problem is None:
                continue
            place: Path = (index,) if isinstance(search.stop, tuple) else ()
            self._findings.report(
                ("search", "stop", *place, "value"),
                dotted(("search", "stop", *place, "value")),
                problem.what,
                received=problem.received,
                expected=problem.expected,
                mend=problem.mend,
            )

    def _check_admits(self, space: SearchSpace, search: SearchConfig) -> None:
        """Some configuration must be left, and every constraint computable."""
        where = ("search", "constraints")
        try:
            for branch in space.branches:
                if branch.sized or not space.is_finite:
                    branch.probe()
            if not (space.size if space.is_finite else _admits_something(space)):
                self._exclude_all()
        except ConstraintError as error:
            index = search.constraints.index(error.problem.received)
            self._findings.add((*where, index), f"search.constraints[{index}]", error.problem)
        except InputError as error:
            for problem in error.problems:
                self._findings.add(where, "", problem)

    def _exclude_all(self) -> None:
        name, what = "search.constraints", "no configuration is left"
        mend = "loosen or remove a constraint"
        self._findings.report(("search", "constraints"), name, what, mend=mend)


def unreachable(stop: Stop, metric: str) -> Problem | None:
    """What is wrong with a threshold that no score can reach, or none can miss."""
    is_share = metric.endswith("accuracy")
    if not isinstance(stop, ThresholdStop) or 0 < stop.value <= (1 if is_share else math.inf):
        return None
    percent = stop.value / 100
    return Problem(
        f"{metric} can never be {stop.value:g}",
        received=to_text(stop.value),
        expected="more than 0, at most 1" if is_share else "more than 0",
        mend=f"{percent:g}" if is_share and 0 < percent <= 1 else "",
    )


def _named(branches: list[Branch]) -> tuple[Branch, ...]:
    """The branches without names whose fixed value is the same in all: those are not searched."""
    fixed = [{n: to_text(b.first.values[n]) for n in b.fixed_names} for b in branches]
    same = {name for name in (fixed[0] if fixed else {}) if len({f.get(name) for f in fixed}) == 1}
    return tuple(
        dataclasses.replace(b, names=tuple(n for n in b.names if n not in same)) for b in branches
    )


def _admits_something(space: SearchSpace) -> bool:
    try:
        space.sample(random.Random(0))
    except InputError:
        return False
    return True


def check_batch_size(experiment: Experiment, num_train_images: int) -> None:
    """A batch must not be larger than the training set.

    Raises:
        InputError: it is, somewhere in the search space.
    """
    findings = Findings(experiment.written)
    _report_batch_sizes(experiment.space.branches, num_train_images, findings)
    findings.raise_if_any()


def _report_batch_sizes(
    branches: Sequence[Branch], num_train_images: int, findings: Findings
) -> None:
    name = "training.batch_size"
    for branch in branches:
        for size in _training_values(branch, "batch_size"):
            if isinstance(size, int) and size > num_train_images:
                what = f"{size} is more than the training images"
                source = branch.sources.get(name, ("training",))
                expected = f"at most {num_train_images}"
                findings.report(source, name, what, received=str(size), expected=expected)


def check_class_weights(experiment: Experiment, info: DatasetInfo) -> None:
    """The classes that `class_weight` names must be there.

    Raises:
        InputError: one is not, somewhere in the search space.
    """
    findings = Findings(experiment.written)
    for branch in experiment.space.branches:
        for asked in _training_values(branch, "class_weight"):
            for written in asked if isinstance(asked, dict) else ():
                try:
                    class_number(written, info.num_classes, info.class_names)
                except InputError as error:
                    name = f"training.class_weight.{written}"
                    source = branch.sources.get("training.class_weight", ("training",))
                    findings.add(source, name, error.problems[0])
    findings.raise_if_any()


def _training_values(branch: Branch, name: str) -> Sequence[Any]:
    """What a training value may be in a branch; of a range, its upper end."""
    for axis in branch.axes:
        if axis.name == f"training.{name}":
            return axis.points if isinstance(axis.domain, Choice) else [axis.support[-1]]
    return [branch.training[name]]


def key_of(text: str, fingerprint: str, num_train_images: int) -> str:
    """The key of the one trial of a closed experiment on data of which this is known.

    Raises:
        InputError: the experiment is no longer one: a network of the person's own is not found.
    """
    experiment = parse_experiment(text, "closed.yaml")
    configuration = next(iter(experiment.space))
    return experiment.trial(configuration, 0, fingerprint, num_train_images).key
