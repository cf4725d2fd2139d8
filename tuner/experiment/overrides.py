"""`-S training.epochs=3`: values set from the command line, closed or open."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.document import Document, Path
from tuner.experiment.yaml import MAX_DEPTH, MAX_NAME, read_yaml, short, to_text

_QUOTING = "put the whole override in single quotes, as -S 'model.depth={choice: [20, 32]}'"


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """The document with each `a.b=VALUE` set, in order; VALUE is read as strictly as a file.

    Raises:
        InputError: all overrides that cannot be read or placed.
    """
    value = copy.deepcopy(document.value)
    applied = list(document.overrides)
    problems: list[Problem] = []
    for override in overrides:
        label = f"-S {short(override)}"
        try:
            path, new = _parse(override, label)
            _place(value, path, new, label)
        except InputError as error:
            problems += error.problems
        else:
            applied.append((path, label))
    if problems:
        raise InputError(problems)
    return Document(value, document.source, document.positions, tuple(applied))


def _parse(override: str, label: str) -> tuple[Path, Any]:
    name, equals, text = override.partition("=")
    if not equals or not text.strip():
        what = "an override needs a name, = and a value"
        mend = "write null for no value"
        raise InputError(Problem(what, label, short(override), "a.b=VALUE", mend))
    parts = name.strip().split(".")
    if not all(parts):
        expected = "dotted names, as model.depth"
        raise InputError(Problem("an empty name", label, short(name), expected))
    if len(parts) > MAX_DEPTH or len(name) > MAX_NAME:
        expected = f"at most {MAX_DEPTH} names and {MAX_NAME} characters"
        raise InputError(Problem("too long a name", label, short(name), expected))
    try:
        new = read_yaml(text, label).value
    except InputError as error:
        raise InputError([_quoting(problem, label, text) for problem in error.problems]) from None
    # A number is the place of an option, but for the class of a weight.
    path = tuple(
        int(part) if re.fullmatch("[0-9]{1,6}", part) and before != "class_weight" else part
        for before, part in zip(["", *parts], parts, strict=False)
    )
    return path, new


def _quoting(problem: Problem, label: str, text: str) -> Problem:
    mend = _QUOTING if problem.what.startswith("not readable") else ""
    return Problem(problem.what, label, short(text), problem.expected, mend or problem.mend)


def _place(tree: Any, path: Path, new: Any, label: str) -> None:
    """Sets the value in place; makes the mappings on the way that do not exist yet."""
    node = tree
    for depth, part in enumerate(path):
        _check_step(node, path[:depth], part, label)
        last = depth == len(path) - 1
        if last or (isinstance(node, dict) and node.get(str(part)) is None):
            node[part] = new if last else {}
        node = node[part]


def _check_step(node: Any, passed: Path, part: str | int, label: str) -> None:
    name = ".".join(map(str, passed)) or "the experiment"
    if isinstance(node, list):
        if not isinstance(part, int) or part >= len(node):
            expected = f"an index from 0 to {len(node) - 1}"
            raise InputError(Problem(f"{name} is a list", label, str(part), expected))
    elif not isinstance(node, dict) or isinstance(part, int):
        what = f"{name} is {to_text(node)}, which has no {part}"
        raise InputError(Problem(what, label, mend=f"-S '{name}=VALUE'" if passed else ""))
    elif "choice" in node and part != "choice" and len(passed) == 1:
        what = f"{name} is a choice of mappings here"
        mend = f"name the option, as {name}.choice.0.{part}"
        raise InputError(Problem(what, label, mend=mend))
