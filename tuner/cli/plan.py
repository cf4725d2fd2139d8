"""`tuner plan`: what a run would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.options import (
    data_option,
    experiment_argument,
    json_option,
    results_option,
    set_option,
)
from tuner.errors import TunerError
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report import words
from tuner.report.render import Style

if TYPE_CHECKING:
    from tuner.execution.plan import Plan, PlannedStructure
    from tuner.experiment.experiment import Experiment

_MAX_STRUCTURES = 30


@click.command("plan")
@experiment_argument()
@set_option()
@click.option("--list", "lists", is_flag=True, help="One line for every trial.")
@json_option()
@results_option()
@data_option()
def command(
    experiment: Path,
    overrides: tuple[str, ...],
    lists: bool,
    as_json: bool,
    results_dir: Path,
    data_dir: Path | None,
) -> None:
    """What a run would do: trials and which are done, structures, their cost. Runs nothing."""
    print_plan(
        experiment,
        overrides,
        lists=lists,
        as_json=as_json,
        results_dir=results_dir,
        data_dir=data_dir,
    )


def print_plan(
    path: Path,
    overrides: tuple[str, ...],
    *,
    lists: bool,
    as_json: bool,
    results_dir: Path,
    data_dir: Path | None,
) -> None:
    """Loads, plans and prints: for `plan` and `run --dry-run`."""
    from tuner.execution.plan import make_plan
    from tuner.experiment.experiment import load_experiment

    experiment = load_experiment(path, overrides)
    plan = make_plan(experiment, results_dir=results_dir, data_dir=data_dir)
    seconds = _estimated_seconds(plan, results_dir)
    if as_json:
        terminal.echo_json({**asdict(plan), "estimated_seconds": seconds})
        return
    click.echo("\n".join(plan_lines(plan, seconds, terminal.style_for(), terminal.width())))
    if lists:
        click.echo("")
        for line in _trial_lines(experiment, results_dir, data_dir):
            click.echo(line)


def plan_lines(plan: Plan, seconds: float | None, style: Style, width: int) -> list[str]:
    """The plan in words and a table of structures."""
    title = f"{plan.name}: {_to_run_text(plan)}"
    details = _details(plan, seconds)
    lines = [style(title, "title"), *(f"  {text}" for text in details), ""]
    count = words.counted(len(plan.structures), "structure")
    lines.append(style(f"{count} to compile, once each", "head"))
    lines += _structure_lines(plan.structures, width)
    lines += [style(f"Note: {note}", "dim") for note in plan.notes]
    return lines


def _to_run_text(plan: Plan) -> str:
    if plan.to_run is None:
        return "as many trials as the search proposes"
    total = f" of {plan.total:,}" if plan.total is not None and plan.done else ""
    return f"{words.counted(plan.to_run, 'trial')} to run{total}"


def _details(plan: Plan, seconds: float | None) -> list[str]:
    texts = []
    if plan.done:
        texts.append(f"{plan.done:,} done already")
    if plan.excluded:
        texts.append(f"{words.counted(plan.excluded, 'configuration')} excluded by constraints")
    if plan.replicates > 1:
        texts.append(f"every configuration under {plan.replicates} seeds")
    if plan.epochs is not None:
        texts.append(f"{words.counted(plan.epochs, 'epoch')} to train in all")
    if seconds is not None:
        texts.append(f"about {words.seconds_text(seconds)}, by the pace of the trials done so far")
    if plan.disk_bytes is not None:
        texts.append(f"about {words.bytes_text(plan.disk_bytes)} on disk")
    return texts


def _structure_lines(structures: tuple[PlannedStructure, ...], width: int) -> list[str]:
    shown = structures[:_MAX_STRUCTURES]
    names = list(dict.fromkeys(name for structure in shown for name in structure.values))
    short = words.short_names(names)
    counted = any(structure.configurations is not None for structure in shown)
    head = [short[name] for name in names] + ["configurations"] * counted
    head += ["params", "MACs", "memory"]
    rows = [_structure_row(structure, names, counted=counted) for structure in shown]
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = [
        "  " + "  ".join(cell.rjust(wide) for cell, wide in zip(cells, widths, strict=True))
        for cells in (head, *rows)
    ]
    lines = [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
    hidden = len(structures) - len(shown)
    return [*lines, f"  … and {hidden:,} more (--json has all)"] if hidden else lines


def _structure_row(structure: PlannedStructure, names: list[str], *, counted: bool) -> list[str]:
    values = structure.values
    count = structure.configurations
    return [
        *(words.value_text(values[name]) if name in values else words.NOTHING for name in names),
        *([f"{count:,}" if count is not None else "?"] if counted else []),
        words.count_text(structure.parameters),
        words.count_text(structure.macs),
        words.bytes_text(structure.memory_bytes),
    ]


def _estimated_seconds(plan: Plan, results_dir: Path) -> float | None:
    """The mean time of ended trials for every one to come; None before there are any."""
    path = RunFolder(results_dir, plan.name).ledger
    if plan.to_run is None or not path.is_file():
        return None
    try:
        with Ledger.open_read_only(path) as ledger:
            mean = ledger.mean_seconds()
    except TunerError:
        return None
    return mean * plan.to_run if mean is not None else None


def _trial_lines(experiment: Experiment, results_dir: Path, data_dir: Path | None) -> Iterator[str]:
    from tuner.execution.plan import planned_trials

    known = {}
    path = RunFolder(results_dir, experiment.name).ledger
    if path.is_file():
        with Ledger.open_read_only(path) as ledger:
            known = ledger.by_key()
    trials = planned_trials(experiment, data_dir=data_dir)
    for place, trial in enumerate(trials, start=1):
        found = known.get(trial.key)
        state = f"{words.state_word(found.state)} (trial {found.number})" if found else "to run"
        seed = f", replicate {trial.replicate}" if experiment.search.replicates > 1 else ""
        yield f"{place:>6}  {state:<9}  {words.values_text(trial.configuration.values)}{seed}"
