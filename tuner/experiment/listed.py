"""Explicit configurations as they can be written, made one list of mappings.

`search.configurations` is such a list, a mapping of equally long lists that are taken together,
or a CSV or YAML file with either. What is read from a file replaces its name, so that the
experiment as it was resolved depends on no other file.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.csv_rows import read_rows
from tuner.experiment.domain import is_open
from tuner.experiment.files import read_text
from tuner.experiment.yaml import (
    LISTED,
    MAX_LISTED_CHARACTERS,
    Document,
    Path,
    Place,
    compose,
    short,
    to_text,
)

Located = list[tuple[Path, Problem]]

_EXPECTED = "a list of mappings, a mapping of lists, or the path of a .csv or .yaml file"


def with_entries(document: Document) -> tuple[Document, Located]:
    """The document with a list of mappings at `search.configurations`, and what is wrong there.

    An entry that cannot be read is None. An experiment that lists nothing is left as it is.
    """
    search = document.value.get("search")
    if not isinstance(search, dict) or search.get("method") != "list":
        return document, []
    node = search.get("configurations")
    if node is None:
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
    folder = FilePath(document.source).parent
    path = folder / name
    kind = path.suffix.lower()
    where = document.where(LISTED)
    if kind not in (".csv", ".yaml", ".yml"):
        raise InputError(_problem(f"{short(name)} is no list", where, name, _EXPECTED))
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        text = read_text(path, "the list", MAX_LISTED_CHARACTERS)
    except (OSError, ValueError) as error:
        what = f"{short(name)} cannot be read: {getattr(error, 'strerror', None) or error}"
        expected = f"a file in {folder}, the folder of the experiment, or a whole path"
        raise InputError(_problem(what, where, name, expected)) from None
    if kind == ".csv":
        return _from_csv(document, text, str(path), problems)
    return _from_yaml(document, text, str(path), problems)


def _from_csv(document: Document, text: str, source: str, problems: Located) -> Document:
    rows = read_rows(text, source)
    for row, problem in rows.problems:
        problems.append(((*LISTED, row) if row >= 0 else LISTED, problem))
    if not rows.entries and not problems:
        raise InputError(_problem("holds no configuration", source, "", "a header, and rows"))
    elsewhere: dict[Path, Place] = {LISTED: Place(source, 1)}
    elsewhere |= {(*LISTED, name): Place(source, rows.header_line) for name in rows.names}
    elsewhere |= {(*LISTED, row): Place(source, line) for row, line in enumerate(rows.lines)}
    return dataclasses.replace(_with(document, rows.entries), elsewhere=elsewhere)


def _from_yaml(document: Document, text: str, source: str, problems: Located) -> Document:
    """The file is read as if it stood at its place in the experiment."""
    inner, misread = compose(text, source, listed=())
    problems += [((*LISTED, *path), problem) for path, problem in misread]
    below = {(*LISTED, *path): position for path, position in inner.positions.items()}
    other = _in_rows(Document(_tree(inner.value), source, below), inner.value, problems)
    elsewhere = {path: Place(source, *position) for path, position in other.positions.items()}
    entries = other.value["search"]["configurations"]
    return dataclasses.replace(_with(document, entries), elsewhere=elsewhere)


def _tree(node: Any) -> dict[str, Any]:
    return {"search": {"configurations": node}}


def _in_rows(document: Document, node: Any, problems: Located) -> Document:
    """Columns become rows; what is no mapping is reported, and None."""
    if isinstance(node, Mapping):
        document, node = _zipped(document, node)
    if not isinstance(node, list):
        raise InputError(_problem("is no list", document.where(LISTED), to_text(node), _EXPECTED))
    if not node:
        where = document.where(LISTED)
        raise InputError(_problem("is empty", where, "", "at least one configuration"))
    entries: list[Any] = []
    for row, entry in enumerate(node):
        if not isinstance(entry, Mapping):
            path = (*LISTED, row)
            expected = "a mapping, as {training.learning_rate: 0.1}"
            what = f"search.configurations[{row}]: is no mapping"
            received = to_text(entry)
            problems.append((path, Problem(what, document.where(path), received, expected)))
        entries.append(entry if isinstance(entry, Mapping) else None)
    return _with(document, entries)


def _zipped(
    document: Document, columns: Mapping[str, Any]
) -> tuple[Document, list[dict[str, Any]]]:
    """Equally long lists, taken together; value `i` of a column stands at `i`'s place in it."""
    if is_open(columns):
        mend = "write the configurations out, or method: grid"
        where = document.where(LISTED)
        raise InputError(_problem("cannot be left open", where, to_text(columns), _EXPECTED, mend))
    wrong = [
        _problem(f"{name} is no list", document.where((*LISTED, name)), to_text(column), "a list")
        for name, column in columns.items()
        if not isinstance(column, list)
    ]
    if wrong:
        raise InputError(wrong)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        expected = "as many values in each"
        what = "the lists differ in length, and are taken together"
        raise InputError(_problem(what, document.where(LISTED), to_text(lengths), expected))
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


def _problem(what: str, where: str, received: str, expected: str, mend: str = "") -> Problem:
    return Problem(f"search.configurations: {what}", where, short(received), expected, mend)
