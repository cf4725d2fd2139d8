"""`tuner logs`: what the workers printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from tuner.cli.options import results_option
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.logs import LogLine, log_lines
from tuner.ledger.trial_name import find_trial, folder_and_trial
from tuner.report import format


@click.command("logs")
@click.argument("name", metavar="NAME[/TRIAL]")
@click.argument("trial", required=False, metavar="[TRIAL|best]")
@results_option
def command(name: str, trial: str | None, results_dir: Path) -> None:
    """What the workers of NAME printed; with TRIAL, only while they trained it.

    That is whatever your own code and the framework print, and the traceback of a failed trial.
    """
    folder, trial = folder_and_trial(name, trial, results_dir)
    number = None
    if trial is not None:
        with Ledger.open_read_only(folder.ledger) as ledger:
            number = find_trial(ledger, folder, trial).number
    is_empty = True
    for line in shown_lines(log_lines(folder.logs), number):
        click.echo(line)
        is_empty = False
    if is_empty:
        click.echo(_nothing(folder, number), err=True)


def shown_lines(lines: Iterator[LogLine], number: int | None) -> Iterator[str]:
    """Lines for people, of a trial or of all; each worker's begin with its name."""
    worker = ""
    for line in lines:
        if number is not None and line.trial != number:
            continue
        if line.worker != worker:
            worker = line.worker
            yield f"--- {worker}"
        yield format.printable(line.text, keep="\t")


def _nothing(folder: RunFolder, number: int | None) -> str:
    if number is None:
        return f"no log is in {folder.logs}"
    others = "; an older version did not note which trial printed what"
    return (
        f"the logs in {folder.logs} have nothing of trial {number}"
        f"{others if any(True for _ in log_lines(folder.logs)) else ''}"
    )
