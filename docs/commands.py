"""The page of the commands: what each says under `--help`."""

from __future__ import annotations

import click

from tuner.cli.main import COMMANDS
from tuner.cli.main import command as tuner

_INTRODUCTION = """\
# Commands

What `tuner COMMAND --help` says. NAME is a folder under `--results`, or a path. `NAME/12` and
`NAME 12` mean trial 12, `NAME/best` the best one. Results go to stdout and progress to stderr;
`--json` prints one JSON document, whose keys stay.

| exit status | means |
|---|---|
| 0 | done |
| 1 | something unexpected |
| 2 | the experiment or the command line is wrong; nothing has run |
| 3 | done, but some trials failed or diverged, or `doctor` has found problems |
| 130 | interrupted: everything finished is kept, and the line to continue is printed |
"""
_WIDTH = 88


def page() -> str:
    """Markdown of commands.md."""
    contents = "\n".join(f"- [{name}](#{name}): {text}" for name, (_, text) in COMMANDS.items())
    return "\n".join([_INTRODUCTION, contents, "", *map(_section, COMMANDS)])


def _section(name: str) -> str:
    with click.Context(tuner, info_name="tuner", **tuner.context_settings) as top:
        command = tuner.get_command(top, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=top, max_content_width=_WIDTH)
        context.terminal_width = _WIDTH
        return f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"
