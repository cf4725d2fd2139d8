"""`tuner ensemble`: several trained networks together."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli import terminal
from tuner.cli.options import data_option, json_option, quiet_option, results_option
from tuner.ledger.folder import RunFolder


@click.command("ensemble")
@click.argument("name", metavar="NAME")
@click.option(
    "--top",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    metavar="N",
    help="How many networks to average at most, of those whose checkpoint is kept.",
)
@quiet_option
@json_option
@results_option
@data_option
def command(
    name: str,
    top: int,
    quiet: bool,
    as_json: bool,
    results_dir: Path,
    data_dir: Path | None,
) -> None:
    """The best trained networks of NAME averaged, on the validation images.

    Averages the probabilities that the --top best trials give, and compares the ensemble with each
    of them, image by image. Nothing is trained, and the test images are not read.
    """
    from tuner.actions.ensemble import predictions
    from tuner.experiment.experiment import load_experiment

    folder = RunFolder.open(name, results_dir)
    experiment = load_experiment(folder.experiment_file())

    def on_member(number: int, done: int, count: int) -> None:
        if not quiet:
            click.echo(f"trial {number} predicts ({done + 1}/{count})", err=True)

    made = predictions(experiment, folder, top=top, data_dir=data_dir, on_member=on_member)
    from tuner.report import ensembling

    figures = ensembling.ensemble_figures(
        folder.name,
        made.labels,
        [
            (member.row.number, dict(member.row.values), probabilities)
            for member, probabilities in zip(made.members, made.probabilities, strict=True)
        ],
    )
    if as_json:
        terminal.echo_json(ensembling.to_json(figures))
        return
    click.echo(ensembling.to_text(figures, terminal.width(), terminal.style_for()), nl=False)
