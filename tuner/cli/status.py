"""`tuner status`: one line per experiment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from tuner.cli import terminal
from tuner.cli.options import all_versions_option, json_option, results_option
from tuner.ledger.folder import RunFolder, run_folders
from tuner.report import format
from tuner.report.render import grid_lines
from tuner.report.status import Status, status_of
from tuner.report.table import Column, Table

_UNCUT = 10_000  # columns: whoever reads from a pipe has no edge


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@all_versions_option
@json_option
@results_option
def command(names: tuple[str, ...], all_versions: bool, as_json: bool, results_dir: Path) -> None:
    """How far experiments are: state, trials done, best score, failures, time left.

    Without NAME, all experiments under --results.
    """
    folders = [RunFolder.open(name, results_dir) for name in names] or run_folders(results_dir)
    found = [status_of(folder) for folder in folders]
    if as_json:
        terminal.echo_json({"experiments": [asdict(status) for status in found]})
    elif found:
        table = status_table(found, all_versions=all_versions)
        style = terminal.style_for()
        wide = terminal.width() if sys.stdout.isatty() else _UNCUT
        click.echo("\n".join(grid_lines(table, width=wide, style=style)))
    else:
        click.echo(f"No results in {results_dir} yet: tuner run EXPERIMENT", err=True)


def status_table(statuses: Sequence[Status], *, all_versions: bool = False) -> Table:
    """Name, state, how far, and the rest in words."""
    roles = {"running": "good", "unreadable": "bad", "incomplete": "head"}
    columns = (
        Column("name", "", numeric=False),
        Column("state", "", "{:<10}".format, False, role=lambda state: roles.get(state, "dim")),
        Column("progress", ""),
        Column("details", "", numeric=False, shrinks=True),
    )
    rows = [
        (s.name, s.state, f"{s.done}/{_total_text(s)}", _details(s, all_versions)) for s in statuses
    ]
    return Table("status", columns, tuple(rows))


def _total_text(status: Status) -> str:
    return "?" if status.total is None else str(status.total)


def _details(status: Status, all_versions: bool) -> str:
    if status.problem:
        return format.first_line(status.problem)
    parts = []
    if status.best is not None:
        parts.append(
            f"{status.metric} {format.score_text(status.best)} (trial {status.best_trial})"
        )
    if status.failures:
        parts.append(f"{status.failures} failed")
    if status.stopped:
        parts.append(f"{status.stopped} stopped")
    if status.seconds_left is not None:
        parts.append(f"{format.seconds_text(status.seconds_left)} left")
    if status.running:
        parts.append(f"{status.running} running")
    if status.waiting:
        parts.append(f"{status.waiting} waiting")
    if all_versions and status.superseded:
        parts.append(f"{status.superseded} of earlier versions")
    return ", ".join(parts)
