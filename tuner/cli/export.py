"""`tuner export`: the trained network of a trial, for any Keras program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, results_option
from tuner.ledger.ledger import Ledger
from tuner.ledger.trial_name import find_trial, folder_and_trial
from tuner.report import format

if TYPE_CHECKING:
    from tuner.actions.export import Exported


@click.command("export")
@click.argument("name", metavar="NAME[/TRIAL]")
@click.argument("trial", required=False, metavar="[TRIAL|best]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .keras file. Default: NAME-TRIAL.keras, here.",
)
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@click.option(
    "--probabilities", is_flag=True, help="Let the model end in a softmax. Default: logits."
)
@click.option(
    "--keep-layers",
    is_flag=True,
    help="Keep tuner's own layers, with all that training needs: loads with `import tuner.layers`.",
)
@json_option
@results_option
def command(
    name: str,
    trial: str | None,
    output: Path | None,
    force: bool,
    probabilities: bool,
    keep_layers: bool,
    as_json: bool,
    results_dir: Path,
) -> None:
    """Write the trained network of a trial to a file that plain Keras loads.

    It is the network of the trial's best epoch; without TRIAL, of the best trial. It takes pixels
    as the data have them, and normalizes them itself unless data.normalize is false. FILE.yaml
    beside it is the experiment that made it, with every value fixed; of NAME/confirm, that of the
    search. Only files that export wrote are ever replaced.

    Layers of tuner are replaced by layers of Keras where both give exactly the same, which is
    checked first; then the file loads where tuner is not installed.
    """
    from tuner.actions.export import ENDING, check_target, export

    folder, trial = folder_and_trial(name, trial, results_dir)
    trial = trial or "best"
    path = output or Path(f"{folder.name}-{trial}{ENDING}")
    check_target(path, force=force)
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = find_trial(ledger, folder, trial)
    exported = export(folder, row, path, standard=not keep_layers, probabilities=probabilities)
    for note in _notes(exported):
        click.echo(note, err=True)
    if as_json:
        terminal.echo_json(_document(exported))
        return
    shape = ", ".join(map(str, exported.image_shape))
    parameters = format.count_text(exported.model.parameters)
    whose = "of its search" if exported.is_final else "that made it"
    click.echo(
        f"{exported.path}: trial {exported.trial}, {parameters} parameters; from pixels in "
        f"{exported.pixels}, (batch, {shape}), to {exported.gives} of {_classes(exported)}\n"
        f"{exported.recipe}: the experiment {whose}"
    )


def _classes(exported: Exported) -> str:
    count = f"{exported.num_classes} classes"
    return f"{count} ({format.listed(exported.class_names)})" if exported.class_names else count


def _notes(exported: Exported) -> Iterator[str]:
    """What the file needs, and how it is not what one may think."""
    model = exported.model
    if model.kept_because:
        yield f"layers of tuner were kept: {format.printable(model.kept_because)}"
    if model.needs:
        imports = "; ".join(f"import {format.printable(module)}" for module in model.needs)
        yield f"{exported.path} needs `{imports}` to load"
    if not exported.is_same_code:
        told = "the code of the network has changed since this trial was trained; the weights fit"
        yield f"{exported.path}: {told}, but what it predicts may not be what was recorded"
    if exported.is_final:
        yield f"{exported.recipe}: it trains as the search did, and not on all training images"
    elif not exported.is_same_trial:
        told = "was edited, or code was changed, since; it would train another trial"
        yield f"{exported.recipe}: the experiment {told}"


def _document(exported: Exported) -> dict[str, Any]:
    return {
        "trial": exported.trial,
        "model": str(exported.path),
        "experiment": str(exported.recipe),
        "image_shape": list(exported.image_shape),
        "num_classes": exported.num_classes,
        "class_names": list(exported.class_names),
        "pixels": [0.0, exported.pixels.high],
        "gives": exported.gives,
        "parameters": exported.model.parameters,
        "needs": list(exported.model.needs),
        "difference": exported.model.difference,
        "is_same_trial": exported.is_same_trial,
        "is_same_code": exported.is_same_code,
        "is_final": exported.is_final,
    }
