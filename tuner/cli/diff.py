"""`tuner diff`: what differs between two trials."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, results_option
from tuner.report import diff


@click.command("diff")
@click.argument("one", metavar="NAME/TRIAL")
@click.argument("other", metavar="NAME/TRIAL")
@json_option
@results_option
def command(one: str, other: str, as_json: bool, results_dir: Path) -> None:
    """What differs between two trials: configuration, environment, result.

    NAME is a folder under --results, or a path; TRIAL a number, or best.
    """
    difference = diff.diff(diff.read_trial(one, results_dir), diff.read_trial(other, results_dir))
    if as_json:
        terminal.echo_json(diff.to_json(difference))
        return
    terminal.echo_tables(*diff.sections(difference))
