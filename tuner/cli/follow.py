"""`tuner show --follow`: a trial as it trains, read from the ledger of a run elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import click

from tuner.cli import terminal
from tuner.cli.curves import curve_lines
from tuner.errors import InputError, Problem
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, EpochRow, TrialRow
from tuner.report import words
from tuner.report.tabular.render import Style

INTERRUPTED = 130  # as `tail -f` ends
_SECONDS = 1.0
_LINES_OF_A_PAIR = 7
_LINES_BESIDE = 6  # head, values, empty lines, the prompt


@dataclass(frozen=True)
class Sight:
    """A trial as the ledger has it at one moment; `is_run` while its run goes on."""

    row: TrialRow
    epochs: list[EpochRow]
    metric: str
    is_run: bool

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be seen."""
        return self.row.state in FINISHED_STATES or not self.is_run

    @property
    def planned(self) -> int:
        """Epochs that the trial is to have."""
        found = self.row.configuration.get("training.epochs")
        return found if isinstance(found, int) else self.row.epochs


def follow(folder: RunFolder, number: int | None) -> int:
    """Show a trial, or the newest that runs, until it ends; gives the exit status."""
    sights = seen(folder, number, time.sleep)
    try:
        if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            _redraw(sights)
        else:
            for line in lines(sights):
                click.echo(line)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def seen(
    folder: RunFolder, number: int | None, sleep: Callable[[float], object]
) -> Iterator[Sight]:
    """The trial, once a second until it is over.

    Every look opens the ledger anew and holds a lock for the length of a query, so that the run
    never waits for it.

    Raises:
        InputError: there is no such trial, or none was named and nothing runs.
    """
    while (sight := _look(folder, number)) is None:
        sleep(_SECONDS)
    yield sight
    while not sight.is_over:
        sleep(_SECONDS)
        sight = _look(folder, sight.row.number) or sight
        yield sight


def lines(sights: Iterator[Sight]) -> Iterator[str]:
    """A line for every epoch, each once, and one for the end."""
    shown = 0
    for sight in sights:
        for epoch in sight.epochs:
            if epoch.epoch > shown:
                yield _epoch_text(sight, epoch)
        shown = max(shown, sight.row.epochs)
        if sight.is_over:
            yield _state_text(sight)


def _look(folder: RunFolder, number: int | None) -> Sight | None:
    """None while the run has not begun a trial."""
    is_run = folder.holder() is not None
    with Ledger.open_read_only(folder.ledger) as ledger:
        if number is None:
            running = ledger.rows([TrialState.RUNNING]) if is_run else []
            row = max(running, key=lambda row: row.started_at or "", default=None)
        else:
            row = ledger.row(number)
        if row is not None:
            return Sight(row, ledger.epochs(row.number), ledger.objective.metric, is_run)
    if number is None and is_run:
        return None
    raise InputError(_nothing(folder, number))


def _nothing(folder: RunFolder, number: int | None) -> Problem:
    if number is not None:
        return Problem("there is no such trial", where=folder.name, received=str(number))
    what, mend = "nothing runs", f"name a trial: tuner show {folder.name} 1"
    return Problem(what, where=folder.name, mend=mend)


# ---------------------------------------------------------------------- how it looks


def _redraw(sights: Iterator[Sight]) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        for sight in sights:
            text = "\n".join(frame(sight, console.width, console.height, terminal.style_for()))
            live.update(Text.from_ansi(text), refresh=True)


def frame(sight: Sight, width: int, height: int, style: Style) -> list[str]:
    """The trial on a terminal of that size."""
    most = max(1, (height - _LINES_BESIDE) // _LINES_OF_A_PAIR)
    values = {n: v for n, v in sight.row.configuration.items() if n in sight.row.values}
    head = [style(_state_text(sight)[:width], "title")]
    head += [style(words.values_text(values)[: width - 1], "dim")] if values else []
    if not sight.epochs:
        return [*head, "", "no epoch has ended yet"]
    return [*head, "", *curve_lines(sight.epochs, width, most_pairs=most)]


def _state_text(sight: Sight) -> str:
    row, metric = sight.row, sight.metric
    at = f"epoch {row.epochs}/{sight.planned}"
    if row.state not in FINISHED_STATES:
        state = words.state_word(row.state) if sight.is_run else "the run has ended"
        return f"Trial {row.number}: {state}, {at}{_last(sight.epochs, metric)}"
    if row.score is None:
        return f"Trial {row.number}: {words.state_word(row.state)}: {words.first_line(row.reason)}"
    score = f"{metric} {words.score_text(row.score)} in epoch {row.best_epoch}"
    return f"Trial {row.number}: {words.state_word(row.state)} after {at}, {score}"


def _last(epochs: Sequence[EpochRow], metric: str) -> str:
    found = epochs[-1].metrics.get(metric) if epochs else None
    return "" if found is None else f", {metric} {words.score_text(found)}"


def _epoch_text(sight: Sight, epoch: EpochRow) -> str:
    metrics = [f"{name} {words.score_text(value)}" for name, value in epoch.metrics.items()]
    parts = [*metrics, words.seconds_text(epoch.seconds)]
    return f"trial {epoch.number}: epoch {epoch.epoch}/{sight.planned}, {', '.join(parts)}"
