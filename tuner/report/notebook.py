"""Tables as HTML for notebooks: what `_repr_html_` gives."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from tuner.report.render import untied
from tuner.report.table import Table

_NUMBER = ' style="text-align: right"'
_TEXT = ' style="text-align: left"'


def to_html(*tables: Table) -> str:
    """Tables one below the other, with every column; all that they hold is text."""
    return "\n".join(_html(table) for table in tables)


def paragraphs(texts: Iterable[str]) -> str:
    """Plain texts, each in a paragraph of its own."""
    return "\n".join(f"<p>{escape(untied(text))}</p>" for text in texts if text)


def _html(table: Table) -> str:
    parts = [f"<p><b>{escape(table.title)}</b></p>"] if table.rows else []
    parts += [paragraphs([table.about] if table.rows else [table.title])]
    if table.rows:
        parts.append(_grid(table))
    notes = (*table.all_notes, *table.unranked)
    parts += [f"<p><small>{escape(untied(note))}</small></p>" for note in notes]
    return "\n".join(part for part in parts if part)


def _grid(table: Table) -> str:
    sides = [_NUMBER if column.numeric else _TEXT for column in table.columns]
    lines = ["<table>"]
    if any(column.title for column in table.columns):
        heads = zip(sides, (column.title for column in table.columns), strict=True)
        lines.append(
            f"<tr>{''.join(f'<th{side}>{escape(text)}</th>' for side, text in heads)}</tr>"
        )
    for place, texts in enumerate(table.texts()):
        mark = ("<b>", "</b>") if place in table.marked else ("", "")
        cells = zip(sides, texts, strict=True)
        row = "".join(f"<td{side}>{mark[0]}{escape(t)}{mark[1]}</td>" for side, t in cells)
        lines.append(f"<tr>{row}</tr>")
    return "\n".join([*lines, "</table>"])
