"""`tuner plan`: what a run would do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.options import (
    count_option,
    data_option,
    experiment_argument,
    json_option,
    results_option,
    set_option,
)
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report import format
from tuner.report.render import Style, grid_lines, hidden_titles, wrapped
from tuner.report.table import Column, Table

if TYPE_CHECKING:
    from tuner.actions.plan import Plan, PlannedStructure
    from tuner.data.dataset import DatasetInfo
    from tuner.execution.estimate import Here
    from tuner.execution.rehearsal import Measured
    from tuner.experiment.experiment import Experiment

_MAX_STRUCTURES = 30


@click.command("plan")
@experiment_argument
@set_option
@click.option("--list", "lists", is_flag=True, help="One line for every trial.")
@count_option("-j", "--workers", default=1, text="Worker processes that the time is estimated for.")
@click.option(
    "--measure", is_flag=True, help="First train some structures for seconds, to know the time."
)
@json_option
@results_option
@data_option
def command(
    experiment: Path,
    overrides: tuple[str, ...],
    lists: bool,
    workers: int,
    measure: bool,
    as_json: bool,
    results_dir: Path,
    data_dir: Path | None,
) -> None:
    """What a run would do: trials and which are done, structures, their cost and time.

    A structure is what shapes a network (depth, width, batch size, optimizer, …): it is compiled
    once, for all trials that share it.

    Trains nothing; --measure trains for some seconds, and keeps only how fast that was. The time is
    estimated from what earlier runs on this machine have measured.
    """
    from tuner.experiment.experiment import load_experiment

    loaded = load_experiment(experiment, overrides)
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
    from tuner.cli.progress import DataLines

    plan = make_plan(
        experiment,
        results_dir=results_dir,
        data_dir=data_dir,
        here=_here(workers),
        progress=DataLines(lambda line: click.echo(line, err=True)),
    )
    if as_json:
        told = {"time": plan.time.summary(), "left_out": plan.left_out.to_json()}
        terminal.echo_json({**asdict(plan), **told})
        return
    click.echo("\n".join(_plan_lines(plan, terminal.style_for())))
    if lists:
        click.echo("")
        for line in _trial_lines(experiment, results_dir, data_dir):
            click.echo(line)


def _plan_lines(plan: Plan, style: Style) -> Iterator[str]:
    """The plan in words and a table of structures."""
    from tuner.search.search import MAX_STRUCTURES

    to_run, structures = "as many trials as the search proposes", plan.num_structures
    if plan.to_run is not None:
        total = f" of {plan.total:,}" if plan.total is not None and plan.done else ""
        to_run = f"{format.counted(plan.to_run, 'trial')} to run{total}"
    yield style(f"{plan.name}: {to_run}", "title")
    yield from (f"  {text}" for text in _details(plan))
    count = f"more than {MAX_STRUCTURES:,} structures"
    if structures is not None:
        count = format.counted(structures, "structure")
    yield from ("", style(f"{count} to compile, once each", "head"))
    table, width = _structures_table(plan), terminal.width()
    yield from grid_lines(table, width=width, indent="  ", rule=False)
    if gone := hidden_titles(table, width - 2):
        yield from wrapped(f"Not shown at this width: {gone} (--json has all).", width, "  ")
    if structures is None:
        yield f"  … and many more (--json has {len(plan.structures)})"
    elif hidden := structures - len(table.rows):
        has = "all" if len(plan.structures) == structures else f"{len(plan.structures)}"
        yield f"  … and {hidden:,} more (--json has {has})"
    yield from (style(f"Note: {note}", "dim") for note in plan.notes)


def _details(plan: Plan) -> list[str]:
    texts = [data_text(plan.data)] if plan.data.source else []
    if plan.done:
        texts.append(f"{plan.done:,} done already")
    if plan.excluded:
        texts.append(f"{format.counted(plan.excluded, 'configuration')} excluded by constraints")
    if plan.replicates > 1:
        texts.append(f"every configuration under {plan.replicates} seeds")
    if plan.epochs is not None:
        texts.append(f"{format.counted(plan.epochs, 'epoch')} to train in all")
    if plan.to_run != 0:
        texts += _time_texts(plan)
    if plan.disk_bytes is not None:
        checkpoints = format.bytes_text(plan.checkpoint_bytes)
        of = f", {checkpoints} of it checkpoints" if plan.checkpoint_bytes else ""
        texts.append(f"about {format.bytes_text(plan.disk_bytes)} on disk{of}")
    return texts


def data_text(data: DatasetInfo) -> str:
    """What a person's own data set was found to be."""
    shape = "x".join(map(str, data.image_shape))
    classes = f"{data.num_classes} classes"
    if data.class_names:
        classes += f" ({format.listed(data.class_names)})"
    test = f", {format.counted(data.num_test, 'test image')}" if data.num_test else ""
    images = f"{format.counted(data.num_train, 'image')} of {shape} in {data.pixels}"
    return f"{images}, {classes}{test}; from {format.printable(data.source)}"


def _time_texts(plan: Plan) -> list[str]:
    """How long it takes and how that is known, or how it may be known."""
    from tuner.execution.estimate import estimate_text

    estimate = plan.time
    if estimate.seconds is None and plan.to_run is None:
        return ["time unknown: the search cannot tell how many trials it proposes"]
    if estimate.seconds is None:
        return ["time unknown: nothing like it was measured on this machine (--measure does)"]
    with_workers = f" with {estimate.workers} workers" if estimate.workers > 1 else ""
    return [f"{estimate_text(estimate)}{with_workers}", f"  {estimate.basis}"]


def _structures_table(plan: Plan) -> Table:
    """The first structures: their values, how many configurations share each, and its cost."""
    shown = plan.structures[:_MAX_STRUCTURES]
    names = list(dict.fromkeys(name for structure in shown for name in structure.values))
    short = format.short_names(names)
    columns = [_value_column(name, short[name], shown) for name in names]
    rows = [[s.values.get(name, format.NOTHING) for name in names] for s in shown]
    if any(structure.configurations is not None for structure in shown):
        columns.append(Column("configurations", "configurations", _known_count, rank=3))
        rows = [[*row, s.configurations] for row, s in zip(rows, shown, strict=True)]
    columns += [
        Column("parameters", "params", format.count_text),
        Column("macs", "MACs", format.count_text, rank=4),
        Column("memory_bytes", "memory", format.bytes_text, rank=2),
    ]
    cells = ((*r, s.parameters, s.macs, s.memory_bytes) for r, s in zip(rows, shown, strict=True))
    return Table("structures", tuple(columns), tuple(cells))


def _value_column(name: str, title: str, shown: Sequence[PlannedStructure]) -> Column:
    """One that tells structures apart goes last; what is the same wherever it stands goes first."""
    values = {repr(structure.values[name]) for structure in shown if name in structure.values}
    rank = 1 if len(values) > 1 else 5
    return Column(name, title, format.value_text, rank=rank)


def _known_count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


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
    from tuner.execution.rehearsal import measure

    click.echo("measuring; starting a worker", err=True)
    measure(
        experiment,
        results_dir=results_dir,
        data_dir=data_dir,
        here=_here(workers),
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


def _here(workers: int) -> Here:
    """This machine with so many workers, and the GPUs that they share out, as in a run."""
    from tuner.execution.devices import visible_gpus
    from tuner.execution.estimate import Here

    return Here(workers, visible_gpus(os.environ) if workers > 1 else [], os.environ)
