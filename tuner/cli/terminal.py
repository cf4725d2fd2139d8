"""What the terminal can show: its width, its colours, JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import IO, Any

import click

from tuner.report.tabular.render import Style, plain

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


def width() -> int:
    """Columns of the terminal; 80 on a pipe unless $COLUMNS says otherwise."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def echo_json(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))
