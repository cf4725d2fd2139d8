"""`tuner retry`: failed and diverged trials again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuner.cli.options import command_line, running_options
from tuner.cli.run import RunOptions, run_with
from tuner.cli.run import command as run
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.records import UNRANKED_STATES


@click.command("retry")
@click.argument("name")
@click.option("--stopped", is_flag=True, help="Also go on with trials that a rule has stopped.")
@running_options
def command(name: str, results_dir: Path, stopped: bool, **others: Any) -> int:
    """Run the failed and diverged trials of NAME again, and whatever else is missing.

    A failed trial goes on from its last epoch, a diverged one begins anew; a stopped one goes on
    from its last epoch to its end, and no rule stops it again. The experiment is that in the
    folder of results, overrides included.
    """
    folder = RunFolder.open(name, results_dir)
    experiment = folder.experiment_file()
    options = RunOptions(experiment=experiment, results_dir=folder.results_dir, **others)
    states = (*UNRANKED_STATES, TrialState.STOPPED) if stopped else UNRANKED_STATES
    # To be continued as a run: a trial that has failed again is not tried a third time.
    again = command_line(run, asdict(options))
    return run_with(options, again, retry=states)
