"""Reads a file strictly as YAML 1.2 core, and remembers where each value stood.

What makes an experiment mean something else than it says is refused: duplicate keys, anchors and
aliases, tags, several documents, keys that are no strings, numbers that are not finite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml as pyyaml

from tuner.errors import InputError, Problem
from tuner.experiment.scalars import resolve, write

Path = tuple[str | int, ...]
"""Names and list indices from the top of a file down to a value."""

# What a person writes by hand lies far below; above, reading and checking would take seconds.
MAX_CHARACTERS = 250_000
MAX_DEPTH = 50
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
MAX_NAMES = 200
"""Most names that one mapping may hold."""
MAX_ITEMS = 1_000
"""Most items that one list may hold."""
MAX_VALUES = 5_000
"""Most values in all."""
LISTED: Path = ("search", "configurations")
"""Where explicit configurations stand, which programs write, and which have limits of their own."""
MAX_ENTRIES = 20_000
"""Most explicit configurations; about what is read and checked in ten seconds."""
MAX_LISTED_VALUES = 400_000
"""Most values in all of them."""
MAX_LISTED_CHARACTERS = 4_000_000
"""Most characters, and bytes, of a file that holds them."""
MAX_NAME = 200
"""Most characters of a name."""
MAX_PROBLEMS = 100
"""Most mistakes that are looked for; whoever made so many made one."""

_QUICK_CHARACTERS = 20_000  # longer lists are read by libyaml, whose messages are poorer

_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


class Place(NamedTuple):
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
    elsewhere: Mapping[Path, Place] = field(default_factory=dict)

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column of the value, or of what encloses it where it was not written."""
        while path not in self.positions and path:
            path = path[:-1]
        return self.positions.get(path, (1, 1))

    def where(self, path: Path) -> str:
        """`file:line:column`, or the override that wrote the value."""
        if place := self._place(path):
            return str(place)
        for overridden, label in reversed(self.overrides):
            made_for_it = path not in self.positions and overridden[: len(path)] == path
            if path and (path[: len(overridden)] == overridden or made_for_it):
                return label
        line, column = self.position(path)
        return f"{self.source}:{line}:{column}"

    def knows(self, path: Path) -> bool:
        """Whether the value has a place of its own."""
        return path in self.positions or path in self.elsewhere

    def order(self, path: Path) -> tuple[bool, tuple[int, int], tuple[int, int]]:
        """Sorts places: line by line, another file's where it is named, overrides last."""
        overridden = self.where(path).startswith("-S ")
        place = self._place(path)
        return overridden, self.position(path), place[1:] if place else (0, 0)

    def _place(self, path: Path) -> Place | None:
        """Where another file holds the value, or what encloses it."""
        if not self.elsewhere:
            return None
        shorter = (path[:length] for length in range(len(path), 0, -1))
        return next((self.elsewhere[one] for one in shorter if one in self.elsewhere), None)


def read_yaml(text: str, source: str) -> Document:
    """The one document in `text`.

    Raises:
        InputError: anything that is not strict YAML 1.2 core, with file, line and column; all
            of it at once where reading can go on.
    """
    document, problems = compose(text, source)
    if problems:
        raise InputError([problem for _, problem in problems])
    return document


def compose(
    text: str, source: str, listed: Path = LISTED
) -> tuple[Document, list[tuple[Path, Problem]]]:
    """Like `read_yaml`, but what does not stop the reading is returned, each with its path.

    Raises:
        InputError: the text cannot be read to its end.
    """
    may_be_long = not listed or str(listed[-1]) in text
    check_text(text, source, MAX_LISTED_CHARACTERS if may_be_long else MAX_CHARACTERS)
    composer = _Composer(text, source, listed)
    try:
        value = composer.document()
    except pyyaml.MarkedYAMLError as error:
        raise InputError(_syntax(error, source)) from None
    except (pyyaml.YAMLError, ValueError, OverflowError) as error:
        what = f"not readable as YAML: {' '.join(str(error).split())}"
        raise InputError(Problem(what, f"{source}:{composer.line}:{composer.column}")) from None
    return Document(value, source, composer.positions), composer.problems


@dataclass
class _Composer:
    """Builds plain values from pyyaml's events, which come one by one and without recursion."""

    text: str
    source: str
    listed: Path
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)
    line: int = 1
    column: int = 1
    num_values: int = 0
    num_listed: int = 0

    def document(self) -> Any:
        """The value of the only document; None for an empty text."""
        quick = len(self.text) > _QUICK_CHARACTERS and pyyaml.__with_libyaml__
        loader = pyyaml.CSafeLoader if quick else pyyaml.SafeLoader
        events: Iterator[Any] = pyyaml.parse(self.text, Loader=loader)
        value = None
        documents = 0
        for event in events:
            self._move_to(event)
            if isinstance(event, pyyaml.DocumentStartEvent):
                documents += 1
                self._check_start(event, documents)
                value = self._node(next(events), (), events)
        return value

    def _check_start(self, event: Any, documents: int) -> None:
        if documents > 1:
            raise InputError(self._problem(event, "a second document", "one document a file"))
        if event.tags or event.version not in (None, (1, 2)):
            raise InputError(self._problem(event, "a YAML directive", "plain YAML 1.2"))

    def _move_to(self, event: Any) -> None:
        self.line, self.column = event.start_mark.line + 1, event.start_mark.column + 1

    def _node(self, event: Any, path: Path, events: Iterator[Any]) -> Any:
        self._move_to(event)
        self.positions.setdefault(path, (self.line, self.column))
        self._count(event, path)
        self._check_depth(event, len(path))
        self._check_plain(event, path)
        if isinstance(event, pyyaml.MappingStartEvent):
            return self._mapping(path, events)
        if isinstance(event, pyyaml.SequenceStartEvent):
            return self._sequence(path, events)
        return None if isinstance(event, pyyaml.AliasEvent) else self._scalar(event, path)

    def _count(self, event: Any, path: Path) -> None:
        if self._depth_in_list(path) is None:
            self.num_values += 1
            self._check_most(event, self.num_values, MAX_VALUES, "values")
        else:
            self.num_listed += 1
            self._check_most(event, self.num_listed, MAX_LISTED_VALUES, "values")

    def _depth_in_list(self, path: Path) -> int | None:
        """How deep in the explicit configurations a value lies; None for one outside."""
        depth = len(path) - len(self.listed)
        return depth if depth >= 0 and path[: len(self.listed)] == self.listed else None

    def _check_plain(self, event: Any, path: Path) -> None:
        anchor = getattr(event, "anchor", None)
        tag = getattr(event, "tag", None)
        if isinstance(event, pyyaml.AliasEvent):
            what = f"alias *{short(str(anchor))}"
            self._report(event, path, what, "the value itself, written out")
        elif anchor is not None:
            self._report(event, path, f"anchor &{short(anchor)}", "a value without anchor")
        elif tag is not None:
            self._report(event, path, f"tag {short(tag)}", "a value without tag")

    def _mapping(self, path: Path, events: Iterator[Any]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in events:
            if isinstance(event, pyyaml.MappingEndEvent):
                return mapping
            key = self._key(event, path, events)
            below = (*path, key)
            self._check_most(event, len(mapping) + 1, MAX_NAMES, "names in one mapping")
            if key in mapping:
                self._duplicate(event, below)
                self._skip(next(events), events)
                continue
            self.positions[below] = (event.start_mark.line + 1, event.start_mark.column + 1)
            mapping[key] = self._node(next(events), below, events)
        return mapping

    def _key(self, event: Any, path: Path, events: Iterator[Any]) -> str:
        if not isinstance(event, pyyaml.ScalarEvent):
            self._report(event, path, "a key that is no string", "a name before the colon")
            self._skip(event, events)
            return ""
        self._check_most(event, len(event.value), MAX_NAME, "characters in a name")
        self._check_plain(event, (*path, event.value))
        if not isinstance(self._scalar(event, (*path, event.value)), str):
            self._report(
                event,
                (*path, event.value),
                f"the key {event.value or 'null'} is no string",
                "a name before the colon",
            )
        return str(event.value)

    def _sequence(self, path: Path, events: Iterator[Any]) -> list[Any]:
        items: list[Any] = []
        most = MAX_ENTRIES if self._depth_in_list(path) in (0, 1) else MAX_ITEMS
        for event in events:
            if isinstance(event, pyyaml.SequenceEndEvent):
                return items
            self._check_most(event, len(items) + 1, most, "items in one list")
            items.append(self._node(event, (*path, len(items)), events))
        return items

    def _scalar(self, event: Any, path: Path) -> Any:
        if not event.style and event.tag is None:
            try:
                return resolve(event.value)
            except ValueError as error:
                self._report(event, path, f"{short(event.value)} {error}", "a finite number")
                return None
        if _CONTROL.search(event.value):
            self._report(event, path, "a control character in a string", "printable text")
        return event.value

    def _skip(self, event: Any, events: Iterator[Any]) -> None:
        """Passes over a whole node."""
        depth = 0
        while True:
            depth += isinstance(event, pyyaml.CollectionStartEvent)
            depth -= isinstance(event, pyyaml.CollectionEndEvent)
            if depth == 0:
                return
            self._check_depth(event, depth)
            event = next(events)

    def _check_most(self, event: Any, count: int, most: int, what: str) -> None:
        if count > most:
            raise InputError(self._problem(event, f"too many {what}", f"at most {most:,}"))

    def _check_depth(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InputError(self._problem(event, _TOO_DEEP, "a flatter file"))

    def _duplicate(self, event: Any, path: Path) -> None:
        first = self.positions[path][0]
        self._report(event, path, f"{event.value} is written twice; first in line {first}", "")

    def _report(self, event: Any, path: Path, what: str, expected: str) -> None:
        self.problems.append((path, self._problem(event, what, expected)))
        if len(self.problems) >= MAX_PROBLEMS:
            raise InputError([problem for _, problem in self.problems])

    def _problem(self, event: Any, what: str, expected: str) -> Problem:
        mark = event.start_mark
        where = f"{self.source}:{mark.line + 1}:{mark.column + 1}"
        return Problem(what, where, expected=expected)


def check_text(text: str, source: str, most: int = MAX_CHARACTERS) -> None:
    """A text is not too long, and printable.

    Raises:
        InputError: it is not, with the place of the first sign that cannot be printed.
    """
    if len(text) > most:
        received = f"{len(text):,} characters"
        expected = f"at most {most:,}"
        raise InputError(Problem("the text is too long", source, received, expected))
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        where = f"{source}:{line}:{column}"
        received = f"U+{ord(found[0]):04X}"
        raise InputError(Problem("a control character", where, received, "printable text"))


def _syntax(error: pyyaml.MarkedYAMLError, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    problem = error.problem or error.context or "unreadable"
    # PyYAML 6.0.4 has a limit of its own, and looks further ahead than we have come.
    if "nesting depth" in problem:
        return Problem(_TOO_DEEP, where, expected="a flatter file")
    mend = ""
    if "'\\t'" in problem:
        mend = "indent with spaces, not tabs"
    elif "mapping values are not allowed" in problem:
        mend = 'put the text in quotes, or a line break before the name: "a: b"'
    elif "expected ',' or" in problem or "end of stream" in problem:
        mend = "close every bracket and quote"
    return Problem(f"not readable as YAML: {problem}", where, mend=mend)


def to_text(value: Any) -> str:
    """A value as a message shows it: short, in YAML's own words."""
    return short(write(value))


def short(text: str) -> str:
    """As much of a text as a message shows."""
    return text if len(text) <= 100 else text[:97] + "..."
