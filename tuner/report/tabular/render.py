"""Tables as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuner.report import words
from tuner.report.tabular.columns import Column
from tuner.report.tabular.notes import notes, score_line, title, unranked_lines, untied
from tuner.report.tabular.tables import Table

Style = Callable[[str, str], str]  # (text, role) → text; roles: title, head, best, dim, bad

_GAP = "  "


def plain(text: str, role: str) -> str:
    """No colours: for pipes, files and tests."""
    return text


def to_text(table: Table, *, width: int, style: Style = plain) -> str:
    """The table with a title above and what it leaves out below, at most `width` wide."""
    cells = {c.name: [c.text(c.value(row)) for row in table.rows] for c in table.columns}
    widths = {c.name: max(map(words.width, (c.title, *cells[c.name]))) for c in table.columns}
    columns, dropped = _fitting(table.columns, widths, width)
    lines = [style(_clipped(title(table), width), "title"), ""]
    if table.rows:
        lines.insert(
            1, "\n".join(style(line, "dim") for line in _wrapped(score_line(table), width))
        )
        lines += _aligned(table, columns, cells, widths, width, style)
        lines.append("")
    for note in notes(table, dropped):
        lines += [style(line, "dim") for line in _wrapped(note, width)]
    if failures := unranked_lines(table):
        lines += ["", style("Not ranked", "head")]
        lines += [style(_clipped(text, width), "bad") for text in failures]
    return "\n".join(lines).rstrip() + "\n"


def finite(value: Any) -> Any:
    """A tree of plain values in which NaN and infinities, unknown to JSON, are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _fitting(
    columns: Sequence[Column], widths: Mapping[str, int], width: int
) -> tuple[list[Column], list[Column]]:
    """The columns that fit; those with the highest rank go first, values nearly never."""
    kept = list(columns)
    while sum(widths[c.name] + len(_GAP) for c in kept) - len(_GAP) > width:
        worst = max(reversed(kept), key=lambda column: column.rank)
        if worst.rank == 0:
            break
        kept.remove(worst)
    return kept, [column for column in columns if column not in kept]


def _aligned(
    table: Table,
    columns: Sequence[Column],
    cells: Mapping[str, Sequence[str]],
    widths: Mapping[str, int],
    width: int,
    style: Style,
) -> list[str]:
    def line(texts: Sequence[str]) -> str:
        padded = (_padded(text, widths[c.name], c) for text, c in zip(texts, columns, strict=True))
        return _clipped(_GAP.join(padded).rstrip(), width)

    rule = _GAP.join("─" * widths[column.name] for column in columns)
    lines = [style(line([c.title for c in columns]), "head"), style(rule[:width], "dim")]
    for place, row in enumerate(table.rows):
        text = line([cells[column.name][place] for column in columns])
        lines.append(style(text, "best") if row is table.best else text)
    return lines


def _padded(text: str, width: int, column: Column) -> str:
    blank = " " * (width - words.width(text))
    return blank + text if column.numeric else text + blank


def _wrapped(text: str, width: int) -> list[str]:
    return [untied(line) for line in textwrap.wrap(text, width, break_on_hyphens=False)]


def _clipped(text: str, width: int) -> str:
    if words.width(text) <= width:
        return text
    while words.width(text) >= width:
        text = text[:-1]
    return text + "…"
