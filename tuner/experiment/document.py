"""A file as plain values with the place of each, and all that is wrong with it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tuner.errors import InputError, Problem, nearest
from tuner.synonyms import our_names

Path = tuple[str | int, ...]
"""Names and list indices from the top of a file down to a value."""

Located = list[tuple[Path, Problem]]
"""Problems, each with the path of what it is about."""

MAX_PROBLEMS = 100
"""Most mistakes that are looked for; whoever made so many made one."""


class FileLine(NamedTuple):
    """A line of a file; column 0 is the whole line."""

    source: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        column = f":{self.column}" if self.column else ""
        return f"{self.source}:{self.line}{column}"


@dataclass(frozen=True)
class Document:
    """Plain values, and the place of each: line and column count from 1.

    `overrides` are values that the command line set, and how they were written there; `elsewhere`
    are those that another file holds.
    """

    value: Any
    source: str
    positions: Mapping[Path, tuple[int, int]]
    overrides: tuple[tuple[Path, str], ...] = ()
    elsewhere: Mapping[Path, FileLine] = field(default_factory=dict)

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column of the value, or of what encloses it where it was not written."""
        while path not in self.positions and path:
            path = path[:-1]
        return self.positions.get(path, (1, 1))

    def where(self, path: Path) -> str:
        """`file:line:column`, or the override that wrote the value."""
        if line := self._line_elsewhere(path):
            return str(line)
        if not self.source:  # a mapping of Python's has no lines
            return self._override(path) or "the mapping"
        return self._override(path) or str(FileLine(self.source, *self.position(path)))

    def _override(self, path: Path) -> str:
        """The override that wrote the value, or nothing."""
        for overridden, label in reversed(self.overrides):
            made_for_it = path not in self.positions and overridden[: len(path)] == path
            if path and (path[: len(overridden)] == overridden or made_for_it):
                return label
        return ""

    def knows(self, path: Path) -> bool:
        """Whether the value has a place of its own."""
        return path in self.positions or path in self.elsewhere

    def order(self, path: Path) -> tuple[bool, tuple[int, int], tuple[int, int]]:
        """Sorts places: line by line, another file's where it is named, overrides last."""
        overridden = self.where(path).startswith("-S ")
        line = self._line_elsewhere(path)
        return overridden, self.position(path), line[1:] if line else (0, 0)

    def _line_elsewhere(self, path: Path) -> FileLine | None:
        """Where another file holds the value, or what encloses it."""
        if not self.elsewhere:
            return None
        enclosing = (path[:length] for length in range(len(path), 0, -1))
        return next((self.elsewhere[p] for p in enclosing if p in self.elsewhere), None)


class Findings:
    """Problems by the place in the document that they belong to, so that all are mended in one go.

    What the reader has already found there is kept, and nothing is added below it: its value is
    not what was meant.
    """

    def __init__(self, document: Document, read: Iterable[tuple[Path, Problem]] = ()) -> None:
        self._document = document
        self._read = list(read)
        self._problems: dict[tuple[Path, str], Problem] = {}
        self._unlisted = 0

    def report(
        self,
        source: Path,
        name: str,
        what: str,
        *,
        received: str = "",
        expected: str = "",
        mend: str = "",
    ) -> None:
        """Reports what is wrong with `name`, at the place of `source`."""
        self.add(source, name, Problem(what, "", received, expected, mend))

    def add(self, source: Path, name: str, problem: Problem) -> None:
        """Reports `problem`, said of `name`, at the place of `source`."""
        if len(self._problems) >= MAX_PROBLEMS:
            self._unlisted += 1
            return
        if any(source[: len(path)] == path for path, _ in self._read):
            return
        what = f"{name}: {problem.what}" if name else problem.what
        where = problem.where or self._document.where(source)
        self._problems.setdefault((source, what), replace(problem, what=what, where=where))

    def where(self, source: Path) -> str:
        """`file:line` of a place, for what is said of two at once."""
        return self._document.where(source)

    def knows(self, source: Path) -> bool:
        """Whether there is such a place, in whichever file."""
        return self._document.knows(source)

    def has_choice(self, path: Path) -> bool:
        """Whether something is wrong with a section itself, or with its options."""
        below = (source[len(path) :] for source, _ in self._problems if source[: len(path)] == path)
        return any(rest[:1] in ((), ("choice",)) for rest in below)

    def __bool__(self) -> bool:
        return bool(self._read or self._problems)

    def raise_if_any(self) -> None:
        """Raises all problems at once, in the order of the file's lines."""
        located = [*self._read, *((path, p) for (path, _), p in self._problems.items())]
        located.sort(key=lambda item: self._document.order(item[0]))
        problems = [problem for _, problem in located]
        if self._unlisted:
            what = f"{MAX_PROBLEMS} problems are listed, and there are more"
            problems.append(
                Problem(what, self._document.source, mend="fix the first ones, and run it again")
            )
        if problems:
            raise InputError(problems)


def dotted(path: Path) -> str:
    """`model.choice[0].depth`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the experiment"


def mend_name(name: str, known: Iterable[str]) -> str:
    """How a name that is not known may be mended."""
    if ":" in name:
        return "a space after the colon"
    if near := nearest(name, known):
        return f"{near}?"
    return next(our_names(name), "")


def value_at(node: Any, path: Path) -> Any:
    """The value that lies there; None where there is none."""
    for part in path:
        if not holds(node, part):
            return None
        node = node[part]
    return node


def holds(node: Any, part: str | int) -> bool:
    """Whether a mapping has this name, or a list this index."""
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node


def read_text(path: pathlib.Path, name: str, most: int, mend: str = "") -> str:
    """A file's text; `name` says what it is, `most` is the number of bytes it may have.

    Raises:
        InputError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            expected = f"at most {most:,} bytes"
            raise InputError(Problem("the file is too large", str(path), expected=expected))
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte {error.start + 1} cannot be read"
        raise InputError(Problem(what, str(path), mend="save it as UTF-8")) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        what = f"{name} cannot be read: {reason}"
        raise InputError(Problem(what, str(path), mend=_there(path) or mend)) from None


def _there(path: pathlib.Path) -> str:
    """The experiment that was meant by its name alone."""
    named = path.with_suffix("").name + ".yaml"
    places = [path.with_name(named), pathlib.Path("experiments") / named]
    return next((f"{place}?" for place in places if place != path and place.is_file()), "")
