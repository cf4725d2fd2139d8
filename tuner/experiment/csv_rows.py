"""Rows of a CSV file as configurations: the header names the values, a cell is a YAML scalar."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.scalars import resolve
from tuner.experiment.yaml import (
    MAX_ENTRIES,
    MAX_LISTED_CHARACTERS,
    MAX_NAMES,
    MAX_PROBLEMS,
    check_text,
    read_yaml,
    short,
)

Cells = list[str]


@dataclass
class Rows:
    """One configuration a row, with its line; None for one that cannot be read, as reported.

    `problems` are by row, -1 for the header.
    """

    names: list[str] = field(default_factory=list)
    header_line: int = 1
    entries: list[dict[str, Any] | None] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[tuple[int, Problem]] = field(default_factory=list)


def read_rows(text: str, source: str) -> Rows:
    """All rows of a CSV text with a header.

    An empty cell leaves its value as the experiment has it; an empty line is none.

    Raises:
        InputError: the text is too long, has too many rows, or holds what cannot be printed.
    """
    check_text(text, source, MAX_LISTED_CHARACTERS)
    rows = Rows()
    records = _records(text, source)
    try:
        for line, cells in records:
            if not rows.names:
                _header(rows, cells, f"{source}:{line}")
                rows.header_line = line
            else:
                _add(rows, cells, source, line)
            if rows.names == [] or len(rows.problems) >= MAX_PROBLEMS:
                return rows
    except csv.Error as error:
        line = rows.lines[-1] + 1 if rows.lines else 1
        what = f"not readable as CSV after this line: {error}"
        rows.problems.append((len(rows.entries), Problem(what, f"{source}:{line}")))
    return rows


def _records(text: str, source: str) -> Iterator[tuple[int, Cells]]:
    """Each record with the line where it begins, less the empty lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = number = 0
    for cells in reader:
        line, before = before + 1, reader.line_num
        stripped = [cell.strip() for cell in cells]
        if stripped in ([], [""]):
            continue
        if number > MAX_ENTRIES:
            expected = f"at most {MAX_ENTRIES:,}"
            where = f"{source}:{line}"
            raise InputError(Problem("too many configurations", where, expected=expected))
        number += 1
        yield line, stripped


def _header(rows: Rows, cells: Cells, where: str) -> None:
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
    rows.problems += [(-1, problem) for problem in problems]
    rows.names = [] if problems else cells


def _add(rows: Rows, cells: Cells, source: str, line: int) -> None:
    where = f"{source}:{line}"
    before = len(rows.problems)
    number = len(rows.entries)
    if len(cells) != len(rows.names):
        many = "many" if len(cells) > len(rows.names) else "few"
        received, expected = str(len(cells)), f"{len(rows.names)}, as many as the header has"
        mend = "put a cell that holds a comma in quotes" if many == "many" else "write every comma"
        problem = Problem(f"too {many} cells", where, received, expected, mend)
        rows.problems.append((number, problem))
    entry = {}
    for name, cell in zip(rows.names, cells, strict=False):
        if not cell:
            continue
        try:
            entry[name] = _value(cell)
        except (InputError, ValueError) as error:
            reason = error.problems[0].what if isinstance(error, InputError) else str(error)
            what = f"{name}: {short(cell)} {reason}"
            rows.problems.append((number, Problem(what, where, short(cell))))
    rows.entries.append(entry if len(rows.problems) == before else None)
    rows.lines.append(line)


@lru_cache(maxsize=10_000)
def _value(cell: str) -> Any:
    """A scalar; a list or a mapping in YAML's brackets."""
    return read_yaml(cell, "").value if cell[0] in "[{" else resolve(cell)
