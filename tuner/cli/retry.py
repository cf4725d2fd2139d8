"""`tuner retry`: failed and diverged trials again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuner.cli.options import Duration, data_option, json_option, results_option
from tuner.cli.run import run_with
from tuner.cli.run_options import RunOptions, refuse_unavailable
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.kept import experiment_file
from tuner.ledger.records import UNRANKED_STATES


@click.command("retry")
@click.argument("name")
@click.option("-j", "--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes.")
@click.option("--gpus", metavar="0,1", help="GPUs to use, by index.")
@click.option(
    "--budget", "budget_seconds", type=Duration(), metavar="TIME", help="No new trial after it."
)
@results_option()
@data_option()
@click.option("--stopped", is_flag=True, help="Also go on with trials that a rule has stopped.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failed trial.")
@click.option(
    "--hang-timeout",
    "silence_seconds",
    type=Duration(),
    metavar="TIME",
    help="Replace a worker that says nothing for so long. Default: 30m.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, only the result.")
@json_option()
def command(name: str, results_dir: Path, stopped: bool, **others: Any) -> int:
    """Run the failed and diverged trials of NAME again, and whatever else is missing.

    A failed trial goes on from its last epoch, a diverged one begins anew; a stopped one goes on
    from its last epoch to its end, and no rule stops it again. The experiment is that in the
    folder of results, overrides included.
    """
    folder = RunFolder.open(name, results_dir)
    options = RunOptions(
        experiment=experiment_file(folder),
        overrides=(),
        results_dir=folder.results_dir,
        max_trials=None,
        **others,
    )
    refuse_unavailable("local", options)
    states = (*UNRANKED_STATES, TrialState.STOPPED) if stopped else UNRANKED_STATES
    return run_with(options, retry=states)
