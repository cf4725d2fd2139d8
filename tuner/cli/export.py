"""`tuner export`: the trained network of a trial, for any Keras program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.cli.options import find_trial, json_option, results_option
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report import format

if TYPE_CHECKING:
    from tuner.actions.export import Exported


@click.command("export")
@click.argument("name", metavar="NAME")
@click.argument("trial", default="best", metavar="[TRIAL|best]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .keras file. Default: NAME-TRIAL.keras, here.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option(
    "--probabilities", is_flag=True, help="Let the model end in a softmax. Default: logits."
)
@click.option(
    "--keep-layers",
    is_flag=True,
    help="Keep tuner's own layers, with all that training needs: loads with `import tuner.layers`.",
)
@json_option()
@results_option()
def command(
    name: str,
    trial: str,
    output: Path | None,
    force: bool,
    probabilities: bool,
    keep_layers: bool,
    as_json: bool,
    results_dir: Path,
) -> None:
    """The trained network of a trial as a file that plain Keras loads.

    It is that of the trial's best epoch; without TRIAL, the best one's. It takes pixels from 0 to
    255 and normalizes them itself. Beside it lies the experiment that made it, every value closed.

    Wherever that is exact, and it is compared before anything is written, layers of tuner become
    layers of Keras, and the file loads where tuner is not installed.
    """
    from tuner.actions.export import ENDING, check_target, export

    folder = RunFolder.open(name, results_dir)
    path = output or Path(f"{folder.name}-{trial}{ENDING}")
    check_target(path, force=force)
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = find_trial(ledger, folder, trial)
    found = export(folder, row, path, standard=not keep_layers, probabilities=probabilities)
    if found.model.kept_because:
        told = f"layers of tuner were kept: {format.printable(found.model.kept_because)}"
        click.echo(told, err=True)
    if found.model.needs:
        click.echo(_needs(found), err=True)
    if not found.is_same_trial:
        told = "was edited, or code was changed, since this trial was trained; it would train anew"
        click.echo(f"{found.recipe}: the experiment {told}", err=True)
    if as_json:
        terminal.echo_json(_document(found))
    else:
        click.echo("\n".join(_lines(found)))


def _needs(found: Exported) -> str:
    imports = "; ".join(f"import {format.printable(module)}" for module in found.model.needs)
    return f"{found.path} needs `{imports}` to load"


def _lines(found: Exported) -> list[str]:
    shape = "×".join(map(str, found.image_shape))
    parameters = format.count_text(found.model.parameters)
    return [
        f"{found.path}: trial {found.trial}, {parameters} parameters; from pixels in 0..255, "
        f"(batch, {shape.replace('×', ', ')}), to {found.gives} of {found.num_classes} classes",
        f"{found.recipe}: the experiment that made it",
    ]


def _document(found: Exported) -> dict[str, Any]:
    return {
        "trial": found.trial,
        "model": str(found.path),
        "experiment": str(found.recipe),
        "image_shape": list(found.image_shape),
        "num_classes": found.num_classes,
        "gives": found.gives,
        "parameters": found.model.parameters,
        "needs": list(found.model.needs),
        "difference": found.model.difference,
        "is_same_trial": found.is_same_trial,
    }
