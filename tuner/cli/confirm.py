"""`tuner confirm`: the leaders of a search on fresh seeds, full data and the test set."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.cli.options import running_options
from tuner.cli.run import exit_status, run_shown, say_how_it_ended, write_report
from tuner.cli.run_options import RunOptions, refuse_unavailable
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import RANKED_STATES
from tuner.report.page.confirmed import CONFIRMED
from tuner.report.tabular import render

if TYPE_CHECKING:
    from tuner.execution.confirm import Leader
    from tuner.experiment.experiment import Experiment
    from tuner.report.confirmation import Confirmation


@click.command("confirm")
@click.argument("name")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="So many leaders.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Each is trained under so many fresh seeds.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train for so long. Default: as searched.",
)
@click.option(
    "--train-images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train on so many images. Default: on all training images, none held out.",
)
@running_options()
def command(
    name: str,
    top: int,
    seeds: int,
    epochs: int | None,
    train_images: int | None,
    results_dir: Path,
    **others: Any,
) -> int:
    """Train the best configurations of NAME again, and read the test set for the only time.

    Each of the --top configurations is trained on all training images under --seeds fresh seeds.
    Reports test figures with intervals, which differences hold, and how optimistic the search was.
    Run again to continue. The trials lie in NAME/confirm.
    """
    from tuner.execution.confirm import confirming, leaders
    from tuner.experiment.experiment import load_experiment

    folder = RunFolder.open(name, results_dir)
    searched = load_experiment(folder.experiment_file())
    with Ledger.open_read_only(folder.ledger) as ledger:
        chosen = leaders(searched, ledger, top, epochs)
        trials = sum(ledger.counts()[state] for state in RANKED_STATES)
    experiment = confirming(searched, chosen, seeds=seeds, epochs=epochs, train_images=train_images)
    options = RunOptions(
        experiment=folder.experiment,
        overrides=(),
        results_dir=folder.path,
        max_trials=None,
        **others,
    )
    refuse_unavailable("local", options)
    again = _again(name, results_dir, top, seeds, epochs, train_images, options)
    ended, stop = run_shown(experiment, options, again=again)
    found = _confirmation(searched, experiment, chosen, folder, trials)
    document = _document(found, ended.ending)
    unwritten = _keep(document, folder) or write_report(folder)
    if not stop.terminal_is_gone:
        if unwritten:
            click.echo(unwritten, err=True)
        if options.as_json:
            terminal.echo_json(document)
        else:
            from tuner.report.confirmation import to_text

            click.echo(to_text(found, terminal.width(), terminal.style_for()), nl=False)
        where = folder.path / experiment.name
        say_how_it_ended(where, ended, again, quiet=options.quiet)
    return exit_status(ended)


def _confirmation(
    searched: Experiment,
    experiment: Experiment,
    chosen: Sequence[Leader],
    folder: RunFolder,
    trials: int,
) -> Confirmation:
    from tuner.execution.confirm import test_scores
    from tuner.report.confirmation import Searched, confirmation

    with Ledger.open_read_only(RunFolder(folder.path, experiment.name).ledger) as ledger:
        test = test_scores(experiment, ledger)
    return confirmation(
        searched.name,
        [Searched(c.configuration.values, c.mean, len(c.scores)) for c in chosen],
        test,
        seeds=experiment.search.replicates,
        metric=experiment.objective.metric,
        searched_metric=searched.objective.metric,
        direction=searched.objective.direction,
        trials=trials,
    )


def _document(found: Confirmation, ending: str) -> dict[str, Any]:
    from tuner.report.confirmation import to_json

    return {**to_json(found), "ending": ending}


def _keep(document: dict[str, Any], folder: RunFolder) -> str:
    """Writes what the search's page shows of this; gives what went wrong, which hides nothing."""
    path = folder.path / CONFIRMED
    try:
        write_atomically(path, json.dumps(render.finite(document), indent=2) + "\n")
    except OSError as error:
        return f"{path} could not be written: {error.strerror or error}"
    return ""


def _again(
    name: str,
    results_dir: Path,
    top: int,
    seeds: int,
    epochs: int | None,
    train_images: int | None,
    options: RunOptions,
) -> str:
    typed = ["tuner", "confirm", name, "--top", str(top), "--seeds", str(seeds)]
    if epochs is not None:
        typed += ["--epochs", str(epochs)]
    if train_images is not None:
        typed += ["--train-images", str(train_images)]
    if options.workers is not None:
        typed += ["-j", str(options.workers)]
    if options.gpus:
        typed += ["--gpus", options.gpus]
    if results_dir != Path("results"):
        typed += ["--results", str(results_dir)]
    return shlex.join(typed)
