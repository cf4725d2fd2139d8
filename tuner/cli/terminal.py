"""Where output goes: what the terminal can show, JSON, files."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

import click

from tuner.errors import InputError, Problem
from tuner.ledger.folder import write_atomically
from tuner.report.render import Style, plain, to_text
from tuner.report.table import Table

_ROLES: dict[str, dict[str, Any]] = {
    "title": {"bold": True},
    "head": {"bold": True},
    "best": {"fg": "green", "bold": True},
    "good": {"fg": "green"},
    "dim": {"dim": True},
    "bad": {"fg": "red"},
}


def style_for(stream: IO[str] | None = None) -> Style:
    """Colours on a terminal, none on a pipe or under NO_COLOR."""
    stream = stream or sys.stdout
    if not has_colours(stream):
        return plain
    return lambda text, role: click.style(text, **_ROLES.get(role, {}))


def has_colours(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that wants colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def can_redraw(stream: TextIO) -> bool:
    """Whether lines can be drawn over: on a terminal, where each character is one wide."""
    is_wide = (stream.encoding or "").lower().startswith("utf")
    return stream.isatty() and is_wide and os.environ.get("TERM") != "dumb"


def redraw(texts: Iterator[str]) -> None:
    """Each text in the place of the one before it; the last one stays."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), auto_refresh=False) as live:
        for text in texts:
            live.update(Text.from_ansi(text), refresh=True)


def width() -> int:
    """Columns of the terminal; 80 on a pipe unless $COLUMNS says otherwise."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def echo_json(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json_text(document), nl=False)


def json_text(document: Any) -> str:
    """One JSON document, ended by a line break."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def echo_tables(*tables: Table) -> None:
    """Tables for the terminal on stdout."""
    click.echo(to_text(*tables, width=width(), style=style_for()), nl=False)


def emit(text: str, output: Path | None) -> None:
    """To the terminal, or to a file.

    Raises:
        InputError: the file cannot be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    with writing(output):
        write_atomically(output, text)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says of which file it is that it cannot be written.

    Raises:
        InputError: it cannot.
    """
    try:
        yield
    except OSError as error:
        problem = Problem("cannot write", where=str(path), received=error.strerror or str(error))
        raise InputError(problem) from error
