"""`tuner confirm`: the leaders of a search on fresh seeds, full data and the test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuner.cli import terminal
from tuner.cli.options import command_line, count_option, running_options
from tuner.cli.run import RunOptions, exit_status, going_on_by, run_shown, say_how_it_ended
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder


@click.command("confirm")
@click.argument("name")
@count_option("--top", default=5, text="How many configurations, the best ones.")
@count_option("--seeds", default=5, text="How many new seeds each is trained under.")
@count_option("--epochs", text="Epochs to train for. Default: as in the search.")
@count_option(
    "--train-images",
    text="How many images to train on. Default: all training images, none held out.",
)
@running_options
def command(
    name: str,
    top: int,
    seeds: int,
    epochs: int | None,
    train_images: int | None,
    results_dir: Path,
    **others: Any,
) -> int:
    """Train the best configurations of NAME again, and read the test set.

    Each of the --top configurations is trained on all training images under --seeds new seeds.
    Says the test figures with intervals, which differences are real, how far the search's score was
    off, which classes are hard or confused, and whether its probabilities can be relied on. Run
    again to continue; failed trials are tried again, too. The trials are in NAME/confirm, with what
    they predict of each test image as CSV.
    """
    from tuner.actions.confirm import conclude, plan_confirmation
    from tuner.actions.page import write_run_page
    from tuner.report import prediction_document
    from tuner.report.confirmation import to_text

    folder = RunFolder.open(name, results_dir)
    planned = plan_confirmation(
        folder, top=top, seeds=seeds, epochs=epochs, train_images=train_images
    )
    options = RunOptions(experiment=folder.experiment, results_dir=folder.path, **others)
    again = command_line(command, click.get_current_context().params)
    with going_on_by(again):
        # As nothing else can run them again: a search knows no experiment with the test images.
        experiment = options.on_workers(planned.experiment)
        ended, stop = run_shown(experiment, options, retry=(TrialState.FAILED,))
        concluded = conclude(planned, folder, options.data_dir, ended.ending)
        unwritten = concluded.unwritten or write_run_page(folder)
        if not stop.terminal_is_gone:
            for problem in filter(None, (concluded.lost, unwritten)):
                click.echo(problem, err=True)
            if options.as_json:
                terminal.echo_json(concluded.document)
            else:
                wide, style = terminal.width(), terminal.style_for()
                click.echo(to_text(concluded.confirmation, wide, style), nl=False)
                if said := concluded.predictions:
                    click.echo("\n" + prediction_document.to_text(said, wide, style), nl=False)
            where = folder.path / planned.experiment.name
            say_how_it_ended(where, ended, again, quiet=options.quiet)
    return exit_status(ended)
