"""Docstrings of this repository as Markdown: prose, formulas, sections and sources apart."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

_HEADING = re.compile(r"([A-Z][a-z]+(?: [a-z]+)?):")
# Emphasis and tags; a * or < between spaces is neither.
_MARKUP = re.compile(r"(?<! )\*|\*(?! )|<(?=[A-Za-z/!?])")
_ITEM = re.compile(r"(\*{0,2}[\w.]+(?:, [\w.]+)*): (.*)")
_SOURCE = re.compile(r"(?:^|(?<=\s))Sources?:\s+(.+?)(?=\n\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Docstring:
    """A docstring taken apart.

    Attributes:
        text: Markdown of the prose, with indented blocks (formulas, tables) in code fences.
        sections: of each heading such as `Args`, pairs of a name and its text; the name is empty
            where the section is plain text.
        source: where it comes from; empty where that is not said.
    """

    text: str
    sections: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    source: str = ""

    @property
    def first_line(self) -> str:
        """What it is, in a sentence."""
        return " ".join(self.text.partition("\n\n")[0].split())


def parse(docstring: str | None) -> Docstring:
    """The parts of a docstring; nothing gives empty parts."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = prose
    for line in inspect.cleandoc(docstring or "").splitlines():
        if heading := _HEADING.fullmatch(line):
            lines = sections.setdefault(heading[1], [])
            continue
        if line and not line.startswith(" "):
            lines = prose
        lines.append(line)
    text = "\n".join(prose)
    source = " ".join(" ".join(found.split()) for found in _SOURCE.findall(text))
    return Docstring(
        text=_to_markdown(_SOURCE.sub("", text)),
        sections={name: list(_items(lines)) for name, lines in sections.items()},
        source=escape(source),
    )


def escape(text: str) -> str:
    """Text outside of `code` with the signs escaped that Markdown would take for markup."""
    parts = text.split("`")
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)


def cell(text: str) -> str:
    """Text as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _items(lines: list[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of each item of a section; continuation lines are indented deeper."""
    text = textwrap.dedent("\n".join(lines)).strip()
    for item in re.split(r"\n(?=\S)", text):
        flat = " ".join(item.split())
        found = _ITEM.fullmatch(flat)
        yield (found[1], escape(found[2])) if found else ("", escape(flat))


def _to_markdown(text: str) -> str:
    blocks = [block for block in re.split(r"\n\s*\n", text.rstrip()) if block.strip()]
    return "\n\n".join(_fenced(_joined(blocks)))


def _joined(blocks: list[str]) -> Iterator[str]:
    """Neighbouring indented blocks as one: a formula may have empty lines."""
    pending: list[str] = []
    for block in blocks:
        if block.startswith("    "):
            pending.append(block)
            continue
        if pending:
            yield "\n\n".join(pending)
            pending = []
        yield block
    if pending:
        yield "\n\n".join(pending)


def _fenced(blocks: Iterator[str]) -> Iterator[str]:
    for block in blocks:
        if block.startswith("    "):
            yield f"```text\n{textwrap.dedent(block)}\n```"
        else:
            yield escape(block.strip())
