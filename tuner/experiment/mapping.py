"""An experiment as a mapping of Python: the names of the file, with Python's values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.document import MAX_PROBLEMS, Document, Path, dotted
from tuner.experiment.yaml import MAX_DEPTH, compose, write_document

SOURCE = "the mapping"
"""What messages call it, where of a file they give the line."""


def document_of(mapping: Mapping[Any, Any]) -> Document:
    """The same as if it had been written as a file; nothing in it has a line.

    Raises:
        InputError: it holds what no file can, all of it at once.
    """
    problems: list[Problem] = []
    value = _plain(mapping, (), problems)
    if problems:
        raise InputError(problems[:MAX_PROBLEMS])
    # Through the reader, whose limits and whose meaning of a value are those of every experiment.
    document, misread = compose(write_document(value), SOURCE)
    if misread:
        raise InputError([replace(problem, where=SOURCE) for _, problem in misread])
    return replace(document, value=document.value or {}, source="", positions={})


def _plain(value: Any, path: Path, problems: list[Problem]) -> Any:
    """Dicts, lists, texts, numbers, booleans and None; tuples and numpy's arrays are lists."""
    if len(path) > MAX_DEPTH:
        what = f"nested deeper than {MAX_DEPTH} levels"
        raise InputError(Problem(what, SOURCE, expected="a flatter mapping"))
    if isinstance(value, Mapping):
        return dict(_plain_items(value, path, problems))
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item, (*path, place), problems) for place, item in enumerate(value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        expected = "a finite number"
    else:
        expected = "a text, a number, True, False, None, a list or a mapping"
    problems.append(_refused(path, f"a {type(value).__name__}: {value!r}", expected))
    return None


def _plain_items(
    mapping: Mapping[Any, Any], path: Path, problems: list[Problem]
) -> Iterator[tuple[str | int, Any]]:
    for name, item in mapping.items():
        if not isinstance(name, str | int) or isinstance(name, bool):
            problems.append(_refused(path, f"the key {name!r}", "names as keys"))
        else:
            yield name, _plain(item, (*path, str(name)), problems)


def _refused(path: Path, received: str, expected: str) -> Problem:
    return Problem(
        f"{dotted(path)}: an experiment cannot hold this", SOURCE, received[:100], expected
    )
