"""`tuner schema`: the JSON Schema of experiment files."""

from __future__ import annotations

import click

from tuner.cli import terminal


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of experiment files, for editors that complete and check YAML.

    tuner schema > tuner.schema.json writes the file to which the first line of a starter
    experiment points.
    """
    from tuner.experiment.json_schema import json_schema

    terminal.echo_json(json_schema())
