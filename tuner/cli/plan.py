"""`tuner plan`: what a run would do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.options import (
    count_option,
    cpus_option,
    data_option,
    experiment_argument,
    gpus_option,
    json_option,
    results_option,
    set_option,
    with_typed_resources,
)
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report import format

if TYPE_CHECKING:
    from tuner.execution.rehearsal import Measured
    from tuner.experiment.experiment import Experiment


@click.command("plan")
@experiment_argument
@set_option
@click.option("--list", "lists", is_flag=True, help="Also list every trial.")
@count_option("-j", "--workers", default=1, text="Worker processes that the time is estimated for.")
@cpus_option
@gpus_option
@click.option(
    "--measure", is_flag=True, help="First train some networks for seconds, to know the time."
)
@json_option
@results_option
@data_option
def command(
    experiment: Path,
    overrides: tuple[str, ...],
    lists: bool,
    workers: int,
    cpus_per_worker: int | None,
    gpus_per_worker: float | None,
    measure: bool,
    as_json: bool,
    results_dir: Path,
    data_dir: Path | None,
) -> None:
    """Say what a run would do: its trials, which are done, the networks, their cost and time.

    A structure is what shapes the compiled program (depth, width, batch size, optimizer, …): it is
    compiled once, for all trials that share it.

    Trains nothing. The time is estimated from earlier runs on this machine. --measure trains for
    some seconds to know it, and keeps nothing but the speed.
    """
    from tuner.experiment.experiment import load_experiment

    loaded = load_experiment(experiment, overrides)
    loaded = with_typed_resources(loaded, cpus_per_worker, gpus_per_worker)
    if measure:
        _measure(loaded, workers, results_dir, data_dir)
    print_plan(loaded, workers, results_dir, data_dir, lists=lists, as_json=as_json)


def print_plan(
    experiment: Experiment,
    workers: int,
    results_dir: Path,
    data_dir: Path | None,
    *,
    as_json: bool,
    lists: bool = False,
) -> None:
    """Plans and prints: for `plan` and `run --dry-run`."""
    from tuner.actions.plan import make_plan
    from tuner.actions.plan_text import to_text
    from tuner.cli.progress import DataLines
    from tuner.execution.estimate import Here

    plan = make_plan(
        experiment,
        results_dir=results_dir,
        data_dir=data_dir,
        here=Here.of(experiment, workers, (), os.environ),
        progress=DataLines(lambda line: click.echo(line, err=True)),
    )
    if as_json:
        told = {"time": plan.time.summary(), "left_out": plan.left_out.to_json()}
        terminal.echo_json({**asdict(plan), **told})
        return
    click.echo(to_text(plan, terminal.width(), terminal.style_for()), nl=False)
    if lists:
        click.echo("")
        for line in _trial_lines(experiment, results_dir, data_dir):
            click.echo(line)


def _trial_lines(experiment: Experiment, results_dir: Path, data_dir: Path | None) -> Iterator[str]:
    from tuner.actions.plan import planned_trials

    known = {}
    path = RunFolder(results_dir, experiment.name).ledger
    if path.is_file():
        with Ledger.open_read_only(path) as ledger:
            known = ledger.by_key(all_versions=True)
    trials = planned_trials(experiment, data_dir=data_dir)
    for trial in trials:
        # A trial has its number from when it begins, which depends on who is free: none before.
        found = known.get(trial.key)
        number = f"trial {found.number}" if found else ""
        state = format.state_word(found.state) if found else "to run"
        seed = f", replicate {trial.replicate}" if experiment.search.replicates > 1 else ""
        yield f"{number:>12}  {state:<9}  {format.values_text(trial.configuration.values)}{seed}"


# ---------------------------------------------------------------------- --measure


def _measure(
    experiment: Experiment, workers: int, results_dir: Path, data_dir: Path | None
) -> None:
    """Trains some structures for seconds, with a line on stderr for each."""
    from tuner.execution.estimate import Here
    from tuner.execution.rehearsal import measure

    click.echo("measuring; starting a worker", err=True)
    measure(
        experiment,
        results_dir=results_dir,
        data_dir=data_dir,
        here=Here.of(experiment, workers, (), os.environ),
        tell=lambda measured: click.echo(measured_text(measured), err=True),
    )


def measured_text(measured: Measured) -> str:
    """One line of the progress of `--measure`."""
    network = measured.network
    if network is None:
        return f"ready; {format.counted(measured.total, 'structure')} to measure"
    what = f"{network.family}, {format.count_text(network.macs)} MACs, batch {network.batch_size}"
    place = f"[{measured.place}/{measured.total}] {format.printable(what)}"
    if measured.reason:
        return f"{place}: not measured: {format.first_line(measured.reason)}"
    compiling, epoch = map(format.seconds_text, (measured.compile_seconds, measured.epoch_seconds))
    return f"{place}: compiled in {compiling}, {epoch} an epoch"
