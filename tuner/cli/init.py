"""`tuner init`: a commented starter experiment."""

from __future__ import annotations

import os
import shlex
from importlib import resources
from pathlib import Path

import click

from tuner.cli import terminal
from tuner.errors import InputError, Problem, nearest

_DEFAULT = "quickstart"
SCHEMA_FILE = "tuner.schema.json"


@click.command("init")
@click.argument("path", required=False, type=click.Path(path_type=Path), metavar="[PATH]")
@click.option(
    "--template",
    default=_DEFAULT,
    show_default=True,
    metavar="NAME",
    help="quickstart, resnet-grid, densenet-grid or random.",
)
def command(path: Path | None, template: str) -> None:
    """Write a commented starter experiment to PATH (default: experiments/TEMPLATE.yaml).

    tuner.schema.json is written beside it, with which editors complete and check it. Nothing is
    overwritten.
    """
    text = template_text(template)
    target = _target(path, template)
    if not target.suffix:
        target = target.with_suffix(".yaml")
    _check_name(target)
    text = text.replace(f"tuner run {template}.yaml", shlex.join(["tuner", "run", str(target)]))
    with terminal.writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            what = "this file is there already; nothing was written"
            mend = "give another path, or remove the file first"
            raise InputError(Problem(what, str(target), mend=mend)) from error
    click.echo(f"Wrote {target}")
    if _write_schema(target.with_name(SCHEMA_FILE)):
        click.echo(
            f"  {target.with_name(SCHEMA_FILE)}: lets editors complete and check it", err=True
        )
    click.echo(f"  tuner plan {shlex.quote(str(target))}   what it would do", err=True)
    click.echo(f"  tuner run {shlex.quote(str(target))}    do it", err=True)


def _check_name(target: Path) -> None:
    """The file's name becomes the experiment's."""
    from pydantic import ValidationError

    from tuner.experiment.schema import Head

    try:
        Head(name=target.stem)
    except ValidationError as error:
        what = "the file's name, without its ending, cannot be the experiment's"
        expected = "letters, digits, . _ - ; at most 80"
        raise InputError(Problem(what, str(target), target.stem, expected)) from error


def _write_schema(path: Path) -> bool:
    """Puts the schema where the first line of a starter points, unless a file is there."""
    from tuner.experiment.json_schema import json_schema

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(terminal.json_text(json_schema()))
    except OSError:
        return False  # an editor completes nothing then; the experiment is as good
    return True


def template_names() -> list[str]:
    """Names of all templates."""
    files = resources.files("tuner.cli") / "templates"
    return sorted(Path(file.name).stem for file in files.iterdir() if file.name.endswith(".yaml"))


def template_text(name: str) -> str:
    """A template by its name.

    Raises:
        InputError: there is none of that name.
    """
    known = template_names()
    if name not in known:
        guess = nearest(name, known)
        raise InputError(
            Problem(
                "there is no such template",
                where="--template",
                received=name,
                expected=", ".join(known),
                mend=f"did you mean {guess}?" if guess else "",
            )
        )
    return (resources.files("tuner.cli") / "templates" / f"{name}.yaml").read_text("utf-8")


def _target(path: Path | None, template: str) -> Path:
    if path is None:
        return Path("experiments") / f"{template}.yaml"
    return path / f"{template}.yaml" if os.path.isdir(path) else path
