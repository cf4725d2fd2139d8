"""Plain tables of text under headings, as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.ledger.table import to_csv as csv_text
from tuner.report import words
from tuner.report.tabular.latex import latex_text
from tuner.report.tabular.render import Style, plain

_GAP = "  "
_SHORTEST = 8  # of a first column that has to give way


@dataclass(frozen=True)
class Section:
    """A heading, a table whose first column is text and whose others are numbers, and notes.

    `marked` are the places of rows that stand out; columns from `num_numeric` + 1 on are text.
    """

    title: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    marked: frozenset[int] = frozenset()
    num_numeric: int = 99

    def is_numeric(self, place: int) -> bool:
        """Whether a column is aligned to the right."""
        return 0 < place <= self.num_numeric


def to_text(sections: Sequence[Section], *, width: int, style: Style = plain) -> str:
    """Sections one below the other, at most `width` wide; long names are cut."""
    blocks = ["\n".join(_text_lines(section, width, style)) for section in sections]
    return "\n\n".join(blocks) + "\n"


def to_markdown(sections: Sequence[Section]) -> str:
    """Tables for a document."""
    escaped = words.markdown_text
    blocks = []
    for section in sections:
        lines = [f"**{escaped(section.title)}**", ""]
        if section.rows:
            marks = ["---:" if section.is_numeric(i) else "---" for i in range(len(section.heads))]
            lines += [_piped([escaped(head) for head in section.heads]), _piped(marks)]
            lines += [_piped([escaped(cell) for cell in row]) for row in section.rows]
            lines.append("")
        lines += [f"- {escaped(note)}" for note in section.notes]
        blocks.append("\n".join(lines).rstrip())
    return "\n\n".join(blocks) + "\n"


def to_latex(sections: Sequence[Section]) -> str:
    """One `tabular` with booktabs rules per table; titles and notes become paragraphs."""
    blocks = ["% \\usepackage{booktabs}"]
    for section in sections:
        lines = [f"\\paragraph{{{latex_text(section.title)}}}"]
        if section.rows:
            letters = ("r" if section.is_numeric(i) else "l" for i in range(len(section.heads)))
            lines += [
                f"\\begin{{tabular}}{{{''.join(letters)}}}",
                "\\toprule",
                _row(section.heads),
                "\\midrule",
                *(_row(row) for row in section.rows),
                "\\bottomrule",
                "\\end{tabular}",
            ]
        lines += [f"\\par {latex_text(note)}" for note in section.notes]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def to_csv(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """One header and its rows."""
    return csv_text(list(heads), [list(row) for row in rows])


def _text_lines(section: Section, width: int, style: Style) -> list[str]:
    lines = [style(line, "title") for line in _wrapped(section.title, width)]
    if section.rows:
        lines += _table_lines(section, width, style)
    for note in section.notes:
        lines += [style(line, "dim") for line in _wrapped(note, width)]
    return lines


def _table_lines(section: Section, width: int, style: Style) -> list[str]:
    rows = [[words.printable(cell) for cell in row] for row in section.rows]
    columns = list(zip(section.heads, *rows, strict=True))
    widths = [max(map(words.width, column)) for column in columns]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    if over > 0:
        widths[0] = max(min(widths[0], _SHORTEST), widths[0] - over)
    rule = _GAP.join("─" * wide for wide in widths)
    lines = [
        style(_line(section.heads, widths, section, width), "head"),
        style(rule[:width], "dim"),
    ]
    for place, row in enumerate(rows):
        line = _line(row, widths, section, width)
        lines.append(style(line, "best") if place in section.marked else line)
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], section: Section, width: int) -> str:
    texts = [clipped(cell, wide) for cell, wide in zip(cells, widths, strict=True)]
    padded = [
        " " * (wide - words.width(text)) + text
        if section.is_numeric(place)
        else text + " " * (wide - words.width(text))
        for place, (text, wide) in enumerate(zip(texts, widths, strict=True))
    ]
    return clipped(_GAP.join(padded).rstrip(), width)


def clipped(text: str, width: int) -> str:
    """The text in at most so many columns of a terminal."""
    if words.width(text) <= width:
        return text
    while words.width(text) >= width and text:
        text = text[:-1]
    return text + "…"


def _wrapped(text: str, width: int) -> list[str]:
    text = words.printable(text)
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False) or [""]


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(_minus(latex_text(cell)) for cell in cells) + " \\\\"


def _minus(cell: str) -> str:
    """A number's sign as a minus, not as a hyphen."""
    return re.sub(r"(^|\{\[\}|, )-(?=\d)", r"\1$-$", cell)
