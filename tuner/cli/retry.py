"""`tuner retry`: failed and diverged trials again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tuner.cli.options import running_options
from tuner.cli.run import run_with
from tuner.cli.run_options import RunOptions, refuse_unavailable
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.records import UNRANKED_STATES


@click.command("retry")
@click.argument("name")
@click.option("--stopped", is_flag=True, help="Also go on with trials that a rule has stopped.")
@running_options()
def command(name: str, results_dir: Path, stopped: bool, **others: Any) -> int:
    """Run the failed and diverged trials of NAME again, and whatever else is missing.

    A failed trial goes on from its last epoch, a diverged one begins anew; a stopped one goes on
    from its last epoch to its end, and no rule stops it again. The experiment is that in the
    folder of results, overrides included.
    """
    folder = RunFolder.open(name, results_dir)
    options = RunOptions(
        experiment=folder.experiment_file(),
        overrides=(),
        results_dir=folder.results_dir,
        max_trials=None,
        **others,
    )
    refuse_unavailable("local", options)
    states = (*UNRANKED_STATES, TrialState.STOPPED) if stopped else UNRANKED_STATES
    return run_with(options, retry=states)
