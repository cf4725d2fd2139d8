"""`tuner retry`: failed and diverged trials again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuner.cli.options import Duration, data_option, json_option, results_option
from tuner.cli.run import run_with
from tuner.cli.run_options import RunOptions, refuse_unavailable
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder


@click.command("retry")
@click.argument("name")
@click.option("-j", "--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes.")
@click.option("--gpus", metavar="0,1", help="GPUs to use, by index.")
@click.option(
    "--budget", "budget_seconds", type=Duration(), metavar="TIME", help="No new trial after it."
)
@results_option()
@data_option()
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
def command(name: str, results_dir: Path, **others: Any) -> int:
    """Run the failed and diverged trials of NAME again, and whatever else is missing.

    A failed trial goes on from its last epoch, a diverged one begins anew. The experiment is that
    in the folder of results, overrides included.
    """
    folder = RunFolder.open(name, results_dir)
    if not folder.experiment.is_file():
        what = "the experiment of these results is missing"
        mend = "tuner run EXPERIMENT continues them"
        raise InputError(Problem(what, str(folder.experiment), mend=mend))
    options = RunOptions(
        experiment=folder.experiment,
        overrides=(),
        results_dir=folder.results_dir,
        max_trials=None,
        **others,
    )
    refuse_unavailable("local", None, options)
    return run_with(options, retry=True)
