"""`tuner status`: one line per experiment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, results_option
from tuner.ledger.folder import RunFolder, run_folders
from tuner.report import words
from tuner.report.status import Status, status_of


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option()
@results_option()
def command(names: tuple[str, ...], as_json: bool, results_dir: Path) -> None:
    """How far experiments are: state, trials done, best score, failures, time left.

    Without NAME, all experiments under --results.
    """
    folders = [RunFolder.open(name, results_dir) for name in names] or run_folders(results_dir)
    found = [status_of(folder) for folder in folders]
    if as_json:
        terminal.echo_json({"experiments": [asdict(status) for status in found]})
    elif found:
        click.echo("\n".join(lines(found)))
    else:
        click.echo(f"No results in {results_dir} yet: tuner run EXPERIMENT", err=True)


def lines(found: list[Status]) -> list[str]:
    """Aligned lines, coloured on a terminal."""
    style = terminal.style_for()
    name_width = max(len(status.name) for status in found)
    progress_width = max(len(_progress(status)) for status in found)
    wide = terminal.width()
    roles = {"running": "good", "unreadable": "bad", "incomplete": "head"}
    rendered = []
    for status in found:
        state = style(f"{status.state:<10}", roles.get(status.state, "dim"))
        rest = f"{_progress(status):>{progress_width}}  {_details(status)}"
        room = wide - name_width - 14
        rendered.append(f"{words.printable(status.name):<{name_width}}  {state}  {rest[:room]}")
    return [line.rstrip() for line in rendered]


def _progress(status: Status) -> str:
    return f"{status.done}/{status.total if status.total is not None else '?'}"


def _details(status: Status) -> str:
    if status.problem:
        return words.first_line(status.problem)
    parts = []
    if status.best is not None:
        parts.append(f"{status.metric} {words.score_text(status.best)} (trial {status.best_trial})")
    if status.failures:
        parts.append(f"{status.failures} failed")
    if status.stopped:
        parts.append(f"{status.stopped} stopped")
    if status.seconds_left is not None:
        parts.append(f"{words.seconds_text(status.seconds_left)} left")
    if status.running:
        parts.append(f"{status.running} running")
    if status.waiting:
        parts.append(f"{status.waiting} waiting")
    return ", ".join(parts)
