"""`tuner status`: one line per experiment."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuner.cli import terminal
from tuner.cli.options import all_versions_option, json_option, results_option
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder, run_folders
from tuner.ledger.workers import NodeRecord, is_told
from tuner.report import format
from tuner.report.render import grid_lines
from tuner.report.status import Status, status_of
from tuner.report.table import Column, Table
from tuner.report.workers import busy_text, workers_table

_UNCUT = 10_000  # columns: whoever reads from a pipe has no edge
_WATCH_SECONDS = 2.0
_INTERRUPTED = 130  # as `tail -f` ends


@click.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "-w", "--watch", "watches", is_flag=True, help="Look again every 2 seconds, until Ctrl-C."
)
@all_versions_option
@json_option
@results_option
def command(
    names: tuple[str, ...], watches: bool, all_versions: bool, as_json: bool, results_dir: Path
) -> int:
    """How far experiments are: state, trials done, best score, failures, time left.

    Without NAME, all experiments under --results.
    """
    if watches and as_json:
        what = "one document cannot grow"
        raise InputError(Problem(what, "--watch --json", mend="leave one of them out"))

    def text_of(statuses: Sequence[Status]) -> str:
        text = _text(statuses, all_versions=all_versions)
        return "\n".join([text, *_workers_lines(statuses)]) if names else text

    def look() -> list[Status]:
        folders = [RunFolder.open(name, results_dir) for name in names] or run_folders(results_dir)
        return [status_of(folder) for folder in folders]

    if watches:
        return _watch(look, text_of)
    statuses = look()
    if as_json:
        terminal.echo_json({"experiments": [_document(status) for status in statuses]})
    elif statuses:
        click.echo(text_of(statuses))
    else:
        click.echo(f"No results in {results_dir} yet: tuner run EXPERIMENT", err=True)
    return 0


def _text(statuses: Sequence[Status], *, all_versions: bool) -> str:
    table = status_table(statuses, all_versions=all_versions)
    wide = terminal.width() if sys.stdout.isatty() else _UNCUT
    return "\n".join(grid_lines(table, width=wide, style=terminal.style_for()))


def _workers_lines(statuses: Sequence[Status]) -> Iterator[str]:
    """Who does what, of experiments that run on several workers."""
    wide = terminal.width() if sys.stdout.isatty() else _UNCUT
    for status in statuses:
        table = workers_table(status.workers, is_running=True)
        if status.state == "running" and table is not None:
            head = [status.name] if len(statuses) > 1 else []
            yield from ["", *head, *grid_lines(table, width=wide, style=terminal.style_for())]


def _document(status: Status) -> dict[str, Any]:
    """What `--json` prints of an experiment."""
    workers = [
        {
            **asdict(worker),
            "does": worker.does,
            "idle_seconds": worker.idle_seconds,
            "utilization": NodeRecord(worker.node, [worker]).utilization,
        }
        for worker in status.workers
    ]
    profile = status.profile.document() if status.profile else None
    return asdict(status) | {"workers": workers, "profile": profile}


def _watch(look: Callable[[], list[Status]], text_of: Callable[[list[Status]], str]) -> int:
    """Drawn over on a terminal; on a pipe, what has changed."""
    texts = map(text_of, _looks(look))
    try:
        if terminal.can_redraw(sys.stdout):
            terminal.redraw(texts)
        else:
            for text, _ in itertools.groupby(texts):
                click.echo(text)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _looks(look: Callable[[], list[Status]]) -> Iterator[list[Status]]:
    while True:
        yield look()
        time.sleep(_WATCH_SECONDS)


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
        goes_on = status.state == "incomplete" and status.done == status.total
        parts.append(f"{status.stopped} stopped{', which may go on' * goes_on}")
    if status.seconds_left is not None:
        parts.append(f"{format.seconds_text(status.seconds_left)} left")
    if status.running:
        parts.append(f"{status.running} running")
    if status.waiting:
        parts.append(f"{status.waiting} waiting")
    if status.running and is_told(status.workers):
        everyone = NodeRecord("", status.workers)
        count = format.counted(len(status.workers), "worker")
        parts.append(f"{count} {busy_text(everyone.utilization)} busy")
    if all_versions and status.superseded:
        parts.append(f"{status.superseded} of earlier versions")
    return ", ".join(parts)
