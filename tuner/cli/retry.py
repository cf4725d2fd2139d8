"""`tuner retry`: failed and diverged trials again."""

from __future__ import annotations

import json
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
from tuner.report.status import Status, status_of


@click.command("retry")
@click.argument("name")
@click.option("--stopped", is_flag=True, help="Also continue trials that a rule has stopped.")
@running_options
def command(name: str, results_dir: Path, stopped: bool, **others: Any) -> int:
    """Run the failed and diverged trials of NAME again, and whatever else is missing.

    A failed trial continues after its last epoch, a diverged one starts again. With --stopped a
    stopped one continues to its end, and no rule stops it again. The experiment is the one that is
    kept in the folder of results, with all that -S has changed.
    """
    from tuner.experiment.experiment import load_experiment

    folder = RunFolder.open(name, results_dir)
    status = status_of(folder)
    is_idle = status.state == "done" and not (status.failures or (stopped and status.stopped))
    if is_idle and not others["as_json"]:  # that gets the document of a run without trials
        click.echo(_nothing_to_do(status, stopped=stopped), err=True)
        return 0
    experiment = folder.experiment_file()
    is_other = load_experiment(experiment).name != folder.name  # a copy, or renamed
    options = RunOptions(
        experiment=experiment,
        results_dir=folder.results_dir,
        overrides=(f"name={json.dumps(folder.name)}",) if is_other else (),
        **others,
    )
    states = (*UNRANKED_STATES, TrialState.STOPPED) if stopped else UNRANKED_STATES
    # To be continued as a run: a trial that has failed again is not tried a third time.
    again = command_line(run, asdict(options))
    return run_with(options, again, retry=states)


def _nothing_to_do(status: Status, *, stopped: bool) -> str:
    text = f"{status.name}: nothing to do: none of {status.done} trials failed or diverged"
    if stopped:
        return f"{text}, and no rule stopped one"
    more = f"; --stopped continues the {status.stopped} that a rule has stopped"
    return text + (more if status.stopped else "")
