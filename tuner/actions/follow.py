"""A trial as it trains, read from the ledger of a run elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tuner.errors import InputError, Problem
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, EpochRow, TrialRow

_SECONDS = 1.0


@dataclass(frozen=True)
class FollowedTrial:
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
        epochs = self.row.configuration.get("training.epochs")
        return epochs if isinstance(epochs, int) else self.row.epochs


def follow_trial(
    folder: RunFolder, number: int | None, sleep: Callable[[float], object]
) -> Iterator[FollowedTrial]:
    """The trial, once a second until it is over.

    Every look opens the ledger anew and holds a lock for the length of a query, so that the run
    never waits for it.

    Raises:
        InputError: there is no such trial, or none was named and nothing runs.
    """
    while (followed := _look(folder, number)) is None:
        sleep(_SECONDS)
    yield followed
    while not followed.is_over:
        sleep(_SECONDS)
        followed = _look(folder, followed.row.number) or followed
        yield followed


def _look(folder: RunFolder, number: int | None) -> FollowedTrial | None:
    """None while the run has not begun a trial."""
    is_run = folder.holder() is not None
    with Ledger.open_read_only(folder.ledger) as ledger:
        if number is None:
            running = ledger.rows([TrialState.RUNNING]) if is_run else []
            row = max(running, key=lambda row: (row.started_at or "", row.number), default=None)
        else:
            row = ledger.row(number)
        if row is not None:
            return FollowedTrial(row, ledger.epochs(row.number), ledger.objective.metric, is_run)
    if number is None and is_run:
        return None
    if number is not None:
        problem = Problem("there is no such trial", where=folder.name, received=str(number))
    else:
        mend = f"name a trial: tuner show {shlex.quote(folder.typed)} 1"
        problem = Problem("nothing runs", where=folder.name, mend=mend)
    raise InputError(problem)
