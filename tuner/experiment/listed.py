"""Explicit configurations: from the ways to write them to a space of closed branches, one each.

`search.configurations` is a list of mappings, a mapping of equally long lists that are taken
together, or a CSV or YAML file with either. What is read from a file replaces its name, so that
the experiment as it was resolved depends on no other file.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.check import BranchCheck, Efforts
from tuner.experiment.constraints import Constraint, ConstraintError, resolve_name
from tuner.experiment.declared import with_declared
from tuner.experiment.document import (
    MAX_PROBLEMS,
    Document,
    FileLine,
    Findings,
    Located,
    Path,
    read_text,
    value_at,
)
from tuner.experiment.domain import is_open
from tuner.experiment.schema import OBSERVING, TrainingConfig
from tuner.experiment.shapes import (
    AUGMENT,
    SECTIONS,
    Classes,
    Leaf,
    Shape,
    report_senseless,
    section_classes,
)
from tuner.experiment.space import Branch
from tuner.experiment.trial import canonical
from tuner.experiment.yaml import (
    LISTED,
    MAX_ENTRIES,
    MAX_LISTED_CHARACTERS,
    MAX_NAMES,
    check_text,
    compose,
    read_yaml,
    resolve,
    short,
    to_text,
)
from tuner.models import family_of, runtime_fields
from tuner.models.own.family import OwnFamily

_EXPECTED = "a list of mappings, a mapping of lists, or the path of a .csv or .yaml file"


def with_list(document: Document) -> tuple[Document, Located]:
    """The document with a list of mappings at `search.configurations`, and what is wrong there.

    An entry that cannot be read is None. An experiment that lists nothing is left as it is.
    """
    node = value_at(document.value, LISTED)
    if node is None or value_at(document.value, ("search", "method")) != "list":
        return document, []
    problems: Located = []
    try:
        if isinstance(node, str):
            document = _from_file(document, node, problems)
        else:
            document = _in_rows(document, node, problems)
    except InputError as error:
        problems += [(LISTED, problem) for problem in error.problems]
        document = _with(document, [])
    return document, problems


def _from_file(document: Document, name: str, problems: Located) -> Document:
    folder = pathlib.Path(document.source).parent
    path = next((p for p in (folder / name, pathlib.Path(name)) if _is_file(p)), folder / name)
    kind = path.suffix.lower()
    where = document.where(LISTED)
    if kind not in (".csv", ".yaml", ".yml"):
        raise _refused(f"{short(name)} is no list", where, name, _EXPECTED)
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        text = read_text(path, "the list", MAX_LISTED_CHARACTERS)
    except (OSError, ValueError) as error:
        what = f"{short(name)} cannot be read: {getattr(error, 'strerror', None) or error}"
        expected = f"a file in {folder}, the folder of the experiment, or in the present one"
        raise _refused(what, where, name, expected) from None
    read = _from_csv if kind == ".csv" else _from_yaml
    return read(document, text, str(path), problems)


def _is_file(path: pathlib.Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _from_yaml(document: Document, text: str, source: str, problems: Located) -> Document:
    """The file is read as if it stood at its place in the experiment."""
    inner, misread = compose(text, source, listed=())
    problems += [((*LISTED, *path), problem) for path, problem in misread]
    below = {(*LISTED, *path): position for path, position in inner.positions.items()}
    tree = {"search": {"configurations": inner.value}}
    other = _in_rows(Document(tree, source, below), inner.value, problems)
    elsewhere = {path: FileLine(source, *position) for path, position in other.positions.items()}
    entries = other.value["search"]["configurations"]
    return dataclasses.replace(_with(document, entries), elsewhere=elsewhere)


def _from_csv(document: Document, text: str, source: str, problems: Located) -> Document:
    rows = _CsvRows(text, source)
    problems += rows.problems
    if not rows.entries and not problems:
        raise _refused("holds no configuration", source, "", "a header, and rows")
    elsewhere: dict[Path, FileLine] = {LISTED: FileLine(source, 1)}
    elsewhere |= {(*LISTED, name): FileLine(source, rows.header_line) for name in rows.names}
    elsewhere |= {(*LISTED, row): FileLine(source, line) for row, line in enumerate(rows.lines)}
    return dataclasses.replace(_with(document, rows.entries), elsewhere=elsewhere)


class _CsvRows:
    """The rows of a CSV text: the header names the values, a cell is a YAML scalar.

    One configuration a row, with its line; None for one that cannot be read, as reported. An empty
    cell leaves its value as the experiment has it; an empty line is none.

    Raises:
        InputError: the text is too long, has too many rows, or holds what cannot be printed.
    """

    def __init__(self, text: str, source: str) -> None:
        check_text(text, source, MAX_LISTED_CHARACTERS)
        self.names: list[str] = []
        self.header_line = 1
        self.entries: list[dict[str, Any] | None] = []
        self.lines: list[int] = []
        self.problems: Located = []
        self._source = source
        try:
            self._read(text)
        except csv.Error as error:
            line = self.lines[-1] + 1 if self.lines else 1
            self._report(f"not readable as CSV after this line: {error}", line)

    def _read(self, text: str) -> None:
        for line, cells in self._records(text):
            if self.names:
                self._add(cells, line)
            else:
                self.header_line = line
                self._read_header(cells)
            if not self.names or len(self.problems) >= MAX_PROBLEMS:
                return

    def _records(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Each record with the line where it begins, less the empty lines."""
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        before = number = 0
        for cells in reader:
            line, before = before + 1, reader.line_num
            stripped = [cell.strip() for cell in cells]
            if stripped in ([], [""]):
                continue
            if number > MAX_ENTRIES:
                where, expected = f"{self._source}:{line}", f"at most {MAX_ENTRIES:,}"
                raise InputError(Problem("too many configurations", where, expected=expected))
            number += 1
            yield line, stripped

    def _read_header(self, cells: list[str]) -> None:
        where = f"{self._source}:{self.header_line}"
        problems = []
        if len(cells) == 1 and any(sign in cells[0] for sign in ";\t"):
            mend = "separate the cells by commas"
            problems.append(Problem("one column", where, short(cells[0]), mend=mend))
        for number, name in enumerate(cells, 1):
            if not name:
                problems.append(Problem(f"column {number} has no name", where))
        for name in dict.fromkeys(name for name in cells if name and cells.count(name) > 1):
            problems.append(Problem(f"two columns are named {short(name)}", where, mend="keep one"))
        if len(cells) > MAX_NAMES:
            expected = f"at most {MAX_NAMES}"
            problems = [Problem("too many columns", where, str(len(cells)), expected)]
        self.problems += [(LISTED, problem) for problem in problems]
        self.names = [] if problems else cells

    def _add(self, cells: list[str], line: int) -> None:
        before = len(self.problems)
        if len(cells) != len(self.names):
            many = len(cells) > len(self.names)
            what = f"too {'many' if many else 'few'} cells"
            expected = f"{len(self.names)}, as many as the header has"
            mend = "put a cell that holds a comma in quotes" if many else "write every comma"
            self._report(what, line, str(len(cells)), expected, mend)
        entry = {}
        for name, cell in zip(self.names, cells, strict=False):
            if not cell:
                continue
            try:
                entry[name] = _value(cell)
            except (InputError, ValueError) as error:
                reason = error.problems[0].what if isinstance(error, InputError) else str(error)
                self._report(f"{name}: {short(cell)} {reason}", line, short(cell))
        self.entries.append(entry if len(self.problems) == before else None)
        self.lines.append(line)

    def _report(
        self, what: str, line: int, received: str = "", expected: str = "", mend: str = ""
    ) -> None:
        """Something is wrong with the row that is read."""
        problem = Problem(what, f"{self._source}:{line}", received, expected, mend)
        self.problems.append(((*LISTED, len(self.entries)), problem))


@lru_cache(maxsize=10_000)
def _value(cell: str) -> Any:
    """A scalar; a list or a mapping in YAML's brackets."""
    return read_yaml(cell, "").value if cell[0] in "[{" else resolve(cell)


def _in_rows(document: Document, node: Any, problems: Located) -> Document:
    """Columns become rows; what is no mapping is reported, and None."""
    if isinstance(node, Mapping):
        document, node = _zipped(document, node)
    if not isinstance(node, list):
        raise _refused("is no list", document.where(LISTED), to_text(node), _EXPECTED)
    if not node:
        raise _refused("is empty", document.where(LISTED), "", "at least one configuration")
    for row, entry in enumerate(node):
        if not isinstance(entry, Mapping):
            path = (*LISTED, row)
            expected = "a mapping, as {training.learning_rate: 0.1}"
            what = f"search.configurations[{row}]: is no mapping"
            received = to_text(entry)
            problems.append((path, Problem(what, document.where(path), received, expected)))
    return _with(document, [entry if isinstance(entry, Mapping) else None for entry in node])


def _zipped(
    document: Document, columns: Mapping[str, Any]
) -> tuple[Document, list[dict[str, Any]]]:
    """Equally long lists, taken together; value `i` of a column stands at `i`'s place in it."""
    where = document.where(LISTED)
    if is_open(columns):
        mend = "write the configurations out, or method: grid"
        raise _refused("cannot be left open", where, to_text(columns), _EXPECTED, mend)
    wrong = [
        _problem(f"{name} is no list", document.where((*LISTED, name)), to_text(column), "a list")
        for name, column in columns.items()
        if not isinstance(column, list)
    ]
    if wrong:
        raise InputError(wrong)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        what = "the lists must be equally long: a configuration takes one value of each"
        raise _refused(what, where, to_text(lengths), "as many values in each")
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    positions = {**document.positions, **dict(_turned(document.positions))}
    return dataclasses.replace(document, positions=positions), rows


def _turned(positions: Mapping[Path, tuple[int, int]]) -> Iterator[tuple[Path, tuple[int, int]]]:
    depth = len(LISTED)
    for path, position in positions.items():
        if len(path) > depth + 1 and path[:depth] == LISTED:
            name, row, *rest = path[depth:]
            yield (*LISTED, row, name, *rest), position


def _with(document: Document, entries: list[Any]) -> Document:
    value = copy.copy(document.value)
    value["search"] = {**value["search"], "configurations": entries}
    return dataclasses.replace(document, value=value)


def _refused(what: str, where: str, received: str, expected: str, mend: str = "") -> InputError:
    return InputError(_problem(what, where, received, expected, mend))


def _problem(what: str, where: str, received: str, expected: str, mend: str = "") -> Problem:
    return Problem(f"search.configurations: {what}", where, short(received), expected, mend)


@dataclass(frozen=True)
class ListedEntry:
    """One configuration: `values` by dotted path, and where each name was written."""

    row: int
    values: dict[tuple[str, ...], Any] = field(default_factory=dict)
    sources: dict[tuple[str, ...], Path] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """Its place."""
        return (*LISTED, self.row)

    def written(self) -> dict[str, Any]:
        """The values by dotted name, as the experiment keeps them."""
        return {".".join(path): value for path, value in self.values.items()}


class ListedSpace:
    """Makes the branches of an experiment's list; what is wrong goes to `findings`."""

    def __init__(self, tree: Mapping[str, Any], backend: str, findings: Findings) -> None:
        self._backend = backend
        self._findings = findings
        self._base = dict(_fields(tree, findings))
        listed = tree["search"]["configurations"]
        rows = [(row, entry) for row, entry in enumerate(listed) if entry is not None]
        paths = self._paths(rows)
        self._entries = [self._entry(row, entry, paths) for row, entry in rows]
        self._reported: set[str] = set()
        self._sets_augment = any(AUGMENT in entry.values for entry in self._entries)
        if not (self._sets_augment or is_open(value_at(tree, AUGMENT))):
            self._base.pop(AUGMENT, None)
        closed = [pair for entry in self._entries for pair in self._closed(entry)]
        self._read: list[tuple[ListedEntry, Shape, Classes, frozenset[str]]] = []
        for entry, shape in closed:
            classes = section_classes(shape, findings)
            self._read.append((entry, shape, classes, shape.names(classes)))

    def resolved(self) -> tuple[dict[str, Any], ...]:
        """The list with dotted names, which reads as the same experiment."""
        return tuple(entry.written() for entry in self._entries)

    def names(self) -> list[str]:
        """The dotted names that a constraint may use."""
        return sorted(frozenset[str]().union(*(names for *_, names in self._read)))

    def branches(self, constraints: Sequence[Constraint]) -> tuple[Branch, ...]:
        """One closed branch for each entry; fewer after something was reported."""
        report_senseless([shape for _, shape, *_ in self._read], self._findings)
        efforts = Efforts(covering=10 * len(self._read) + 1_000, combinations=1)
        pairs: list[tuple[ListedEntry, Branch]] = []
        for entry, shape, classes, names in self._read:
            branch = BranchCheck(shape, classes, (), self._findings, efforts).branch(grid=False)
            if branch is not None:
                about = [c for c in constraints if names.issuperset(c.dotted)]
                plain = tuple(c for c in about if not c.sizes)
                sized = tuple(c for c in about if c.sizes)
                branch = dataclasses.replace(branch, constraints=plain, sized=sized)
                pairs.append((entry, branch))
        self._report_equal(pairs)
        # Searched is what the list sets anywhere, in the order of its columns.
        paths = dict.fromkeys(path[:2] for entry in self._entries for path in entry.values)
        searched = [".".join(path) for path in paths]
        return tuple(_sharing([_named(branch, searched) for _, branch in pairs]))

    def _paths(self, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, tuple[str, ...]]:
        """What each name stands for; one that stands for nothing is reported once."""
        known, moved = self._known(rows)
        first = {name: row for row, entry in reversed(rows) for name in reversed(entry)}
        paths = {}
        for name in first:
            try:
                paths[name] = named_path(moved.get(name, name), known)
            except ConstraintError as error:
                column = (*LISTED, name)
                source = column if self._findings.knows(column) else (*LISTED, first[name], name)
                if any(other.startswith("model.") for other in known[1:]):  # Some family is known.
                    self._findings.add(source, "search.configurations", error.problem)
        return {name: paths[name] for _, entry in rows for name in entry if name in paths}

    def _known(
        self, rows: Sequence[tuple[int, Mapping[str, Any]]]
    ) -> tuple[list[str], dict[str, str]]:
        """The dotted names of all families that occur; and what stands for one of `training:`."""
        base = self._base.get(("model", "family"))
        given = [entry.get(name) for _, entry in rows for name in ("family", "model.family")]
        families = [base.node if base else None, *given]
        names = ["model.family"]
        moved: dict[str, str] = {}
        for family in dict.fromkeys(name for name in families if isinstance(name, str)):
            try:
                known = family_of(family, self._backend)
            except InputError:
                continue  # Reported where its entry is read.
            names += [f"model.{name}" for name in known.config.model_fields]
            if isinstance(known, OwnFamily):
                for name, other in known.declaration.moved.items():
                    moved |= dict.fromkeys((name, f"model.{name}"), f"training.{other}")
        names += [f"training.{n}" for n in TrainingConfig.model_fields if n not in OBSERVING]
        names.append(".".join(AUGMENT))
        return list(dict.fromkeys(names)), moved

    def _entry(
        self, row: int, written: Mapping[str, Any], paths: Mapping[str, tuple[str, ...]]
    ) -> ListedEntry:
        entry = ListedEntry(row)
        for name, value in written.items():
            source = (*entry.source, name)
            if (path := paths.get(name)) is None:
                continue
            if any(path[: len(other)] == other[: len(path)] for other in entry.values):
                what, mend = "is set twice in one configuration", "keep one of them"
                self._findings.report(source, ".".join(path), what, mend=mend)
            elif _has_open(value):
                what, mend = (
                    "cannot be left open here",
                    "one value; a listed configuration leaves nothing open",
                )
                received = to_text(value)
                self._findings.report(source, ".".join(path), what, received=received, mend=mend)
            entry.values[path] = value
            entry.sources[path] = source
        return entry

    def _closed(self, entry: ListedEntry) -> Iterator[tuple[ListedEntry, Shape]]:
        """The entry over what the file writes; nothing where a value is left open."""
        leaves = dict(self._base)
        if self._sets_augment:
            leaves.setdefault(AUGMENT, Leaf(AUGMENT, AUGMENT, []))
        for path, value in entry.values.items():
            name = path[:2]
            node = _put(leaves[name].node if name in leaves else {}, path[2:], value)
            leaves[name] = Leaf(name, entry.sources[path], node, chosen=True)
        shape = Shape(tuple(leaves.values()))
        shapes = with_declared([shape], self._backend, self._findings)
        used = (leaf for filled in shapes for leaf in filled.used().leaves)
        opened = [leaf for leaf in used if leaf.is_axis or _has_open(leaf.node)]
        opened += _differing(shapes)
        for leaf in opened:
            self._report_open(leaf, entry)
        if shapes and not opened:
            yield entry, shapes[0]

    def _report_open(self, leaf: Leaf, entry: ListedEntry) -> None:
        given = [value for path, value in entry.values.items() if path[:2] == leaf.path[:2]]
        if leaf.name in self._reported or any(map(_has_open, given)):
            return
        self._reported.add(leaf.name)
        self._findings.report(
            entry.source,
            leaf.name,
            f"is left open, and search.configurations[{entry.row}] does not set it",
            received=to_text(leaf.node),
            expected="a value in every configuration",
            mend="set it in every configuration, or write one value",
        )

    def _report_equal(self, pairs: Sequence[tuple[ListedEntry, Branch]]) -> None:
        first: dict[str, ListedEntry] = {}
        num_equal = 0
        for entry, branch in pairs:
            other = first.setdefault(canonical(branch.first.flat()), entry)
            if other is entry or num_equal > MAX_PROBLEMS:
                continue
            num_equal += 1
            where = self._findings.where(other.source)
            self._findings.report(
                entry.source,
                f"search.configurations[{entry.row}]",
                f"is the same configuration as [{other.row}] at {where}",
                received=to_text(entry.written()),
                expected="every configuration once",
                mend="keep one of them; search.replicates trains each under several seeds",
            )


def _fields(tree: Mapping[str, Any], findings: Findings) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """What the file writes, field by field."""
    if (augment := value_at(tree, AUGMENT)) is not None:
        yield AUGMENT, Leaf(AUGMENT, AUGMENT, augment)
    for section in SECTIONS:
        node = tree.get(section)
        node = {} if node is None else node
        if isinstance(node, Mapping) and not is_open(node):
            for name, value in node.items():
                path = (section, name)
                yield path, Leaf(path, path, value)
            continue
        findings.report(
            (section,),
            section,
            "is a choice of mappings, which no configuration can set"
            if is_open(node)
            else "is no mapping",
            received=to_text(node),
            expected="a mapping of names",
            mend="write what differs in every configuration",
        )


def named_path(name: str, known: list[str]) -> tuple[str, ...]:
    """The path of a name: that of `schedule.step.factor` begins with `training`.

    Raises:
        ConstraintError: `known` holds no such name, or several.
    """
    parts = name.split(".")
    head = 2 if parts[0] in (*SECTIONS, AUGMENT[0]) and len(parts) > 1 else 1
    resolved = resolve_name(".".join(parts[:head]), known)
    return *resolved.split("."), *parts[head:]


def _has_open(node: Any) -> bool:
    if isinstance(node, Mapping):
        return is_open(node) or any(map(_has_open, node.values()))
    return isinstance(node, list) and any(map(_has_open, node))


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


def _named(branch: Branch, searched: Sequence[str]) -> Branch:
    """The branch with those of the searched names that its configuration has."""
    flat = branch.first.flat()
    return dataclasses.replace(branch, names=tuple(name for name in searched if name in flat))


def _sharing(branches: Sequence[Branch]) -> Iterator[Branch]:
    """Configurations that differ in rates alone share one program: what any of them turns on."""
    switches: dict[str, frozenset[str]] = {}
    keys = [_structure(branch) for branch in branches]
    for key, branch in zip(keys, branches, strict=True):
        switches[key] = switches.get(key, frozenset()) | branch.switches
    for key, branch in zip(keys, branches, strict=True):
        yield dataclasses.replace(branch, switches=switches[key])


def _structure(branch: Branch) -> str:
    rates = runtime_fields(family_of(branch.model["family"]).config)
    model = {name: value for name, value in branch.model.items() if name not in rates}
    return canonical([model, branch.training["batch_size"], branch.training["optimizer"]])
