"""Reads a file strictly as YAML 1.2 core, remembers where each value stood, and writes values.

What makes an experiment mean something else than it says is refused: duplicate keys, anchors and
aliases, tags, several documents, keys that are no strings, numbers that are not finite.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml as pyyaml

from tuner.errors import InputError, Problem
from tuner.experiment.document import MAX_PROBLEMS, Document, Located, Path

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
_QUICK_CHARACTERS = 20_000  # longer lists are read by libyaml, whose messages are poorer

_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_LARGEST = 2**63 - 1

# What a double-quoted scalar must escape beyond JSON: line breaks and signs YAML cannot hold.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


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


def compose(text: str, source: str, listed: Path = LISTED) -> tuple[Document, Located]:
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
        line, column = composer.here
        raise InputError(Problem(what, f"{source}:{line}:{column}")) from None
    return Document(value, source, composer.positions), composer.problems


@dataclass
class _Composer:
    """Builds plain values from pyyaml's events, which come one by one and without recursion."""

    text: str
    source: str
    listed: Path
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: Located = field(default_factory=list)
    here: tuple[int, int] = (1, 1)
    num_values: int = 0
    num_listed: int = 0

    def document(self) -> Any:
        """The value of the only document; None for an empty text."""
        quick = len(self.text) > _QUICK_CHARACTERS and pyyaml.__with_libyaml__
        loader = pyyaml.CSafeLoader if quick else pyyaml.SafeLoader
        self._events: Iterator[Any] = pyyaml.parse(self.text, Loader=loader)
        value = None
        documents = 0
        for event in self._events:
            self.here = _place(event)
            if isinstance(event, pyyaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document", "one document a file")
                if event.tags or event.version not in (None, (1, 2)):
                    self._refuse(event, "a YAML directive", "plain YAML 1.2")
                value = self._node(next(self._events), ())
        return value

    def _node(self, event: Any, path: Path) -> Any:
        self.here = _place(event)
        self.positions.setdefault(path, self.here)
        self._count(event, path)
        self._check_depth(event, len(path))
        self._check_plain(event, path)
        if isinstance(event, pyyaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, pyyaml.SequenceStartEvent):
            return self._sequence(path)
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
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, pyyaml.AliasEvent):
            what = f"alias *{short(str(anchor))}"
            self._report(event, path, what, "the value itself, written out")
        elif anchor is not None:
            self._report(event, path, f"anchor &{short(anchor)}", "a value without anchor")
        elif tag is not None:
            self._report(event, path, f"tag {short(tag)}", "a value without tag")

    def _mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, pyyaml.MappingEndEvent):
                return mapping
            if not isinstance(event, pyyaml.ScalarEvent):
                self._report(event, path, "a key that is no string", "a name before the colon")
                self._skip(event)
                self._skip(next(self._events))
                continue
            name = self._name(event, path, len(mapping) + 1)
            below = (*path, name)
            if name in mapping:
                what = f"{name} is written twice; first in line {self.positions[below][0]}"
                self._report(event, below, what, "")
                self._skip(next(self._events))
                continue
            self.positions[below] = _place(event)
            mapping[name] = self._node(next(self._events), below)
        return mapping

    def _name(self, event: Any, path: Path, number: int) -> str:
        """What stands before a colon: a name, or an integer, as that of a class."""
        path = (*path, event.value)
        self._check_most(event, len(event.value), MAX_NAME, "characters in a name")
        self._check_plain(event, path)
        name = self._scalar(event, path)
        if isinstance(name, bool) or not isinstance(name, str | int):
            what = f"the key {event.value or 'null'} is no string"
            self._report(event, path, what, "a name before the colon")
            return str(event.value)
        self._check_most(event, number, MAX_NAMES, "names in one mapping")
        return str(name)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        most = MAX_ENTRIES if self._depth_in_list(path) in (0, 1) else MAX_ITEMS
        for event in self._events:
            if isinstance(event, pyyaml.SequenceEndEvent):
                return items
            self._check_most(event, len(items) + 1, most, "items in one list")
            items.append(self._node(event, (*path, len(items))))
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

    def _skip(self, event: Any) -> None:
        """Passes over a whole node."""
        depth = 0
        while True:
            depth += isinstance(event, pyyaml.CollectionStartEvent)
            depth -= isinstance(event, pyyaml.CollectionEndEvent)
            if depth == 0:
                return
            self._check_depth(event, depth)
            event = next(self._events)

    def _check_most(self, event: Any, count: int, most: int, what: str) -> None:
        if count > most:
            self._refuse(event, f"too many {what}", f"at most {most:,}")

    def _check_depth(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._refuse(event, _TOO_DEEP, "a flatter file")

    def _refuse(self, event: Any, what: str, expected: str) -> None:
        raise InputError(self._problem(event, what, expected))

    def _report(self, event: Any, path: Path, what: str, expected: str) -> None:
        self.problems.append((path, self._problem(event, what, expected)))
        if len(self.problems) >= MAX_PROBLEMS:
            raise InputError([problem for _, problem in self.problems])

    def _problem(self, event: Any, what: str, expected: str) -> Problem:
        line, column = _place(event)
        return Problem(what, f"{self.source}:{line}:{column}", expected=expected)


def _place(event: Any) -> tuple[int, int]:
    """Line and column, which count from 1."""
    return event.start_mark.line + 1, event.start_mark.column + 1


def check_text(text: str, source: str, most: int = MAX_CHARACTERS) -> None:
    """A text is not too long, and printable.

    Raises:
        InputError: it is not, with the place of the first sign that cannot be printed.
    """
    if len(text) > most:
        received = f"{len(text):,} characters"
        expected = f"at most {most:,}"
        raise InputError(Problem("the text is too long", source, received, expected))
    if sign := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, sign.start()) + 1
        column = sign.start() - text.rfind("\n", 0, sign.start())
        where = f"{source}:{line}:{column}"
        received = f"U+{ord(sign[0]):04X}"
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


def resolve(text: str) -> Any:
    """The value of a plain scalar.

    Raises ValueError for a number that cannot be held: not finite, or beyond 64 bits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text, 10)
    if _OCTAL.fullmatch(text):
        return _integer(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return _integer(text[2:], 16)
    if _FLOAT.fullmatch(text):
        if not math.isfinite(number := float(text)):
            raise ValueError("is too large for a floating-point number")
        return number
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("is not a finite number")
    return text


def write(value: Any) -> str:
    """A value in YAML's flow style; `resolve` and the reader give it back exactly."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_write_name(k)}: {write(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write(item) for item in value) + "]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value not in _WORDS else _quote(value)
    return json.dumps(value)


def _write_name(name: Any) -> str:
    """As it stands before a colon, where an integer needs no quotes."""
    text = str(name)
    return text if re.fullmatch("0|-?[1-9][0-9]{0,17}", text) else write(text)


def write_document(value: dict[str, Any]) -> str:
    """A mapping with one line per value, sections indented; one per mapping of a section's list."""
    lines: list[str] = []
    for name, section in value.items():
        if isinstance(section, dict) and section:
            lines.append(f"{write(name)}:")
            for key, item in section.items():
                if isinstance(item, list) and item and all(isinstance(e, dict) for e in item):
                    lines += [f"  {write(key)}:", *(f"    - {write(entry)}" for entry in item)]
                else:
                    lines.append(f"  {write(key)}: {write(item)}")
        else:
            lines.append(f"{write(name)}: {write(section)}")
    return "\n".join(lines) + "\n"


def _integer(text: str, base: int) -> int:
    # A limit on digits first: int() is quadratic in them.
    if len(text) > 80 or abs(number := int(text, base)) > _LARGEST:
        raise ValueError("is beyond 64 bits")
    return number


def _quote(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", escaped)


def to_text(value: Any) -> str:
    """A value as a message shows it: short, in YAML's own words."""
    return short(write(value))


def short(text: str) -> str:
    """As much of a text as a message shows."""
    return text if len(text) <= 100 else text[:97] + "..."
