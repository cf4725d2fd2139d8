"""`tuner run --tensorboard`: the trials of a run as TensorBoard reads them, while they train.

Each trial is a run of TensorBoard's in results/NAME/tensorboard/: a scalar for each metric and
epoch, and its searched values in the HParams tab. All of it is taken from the ledger, so that
trials of earlier runs are there, too, and a trial that is continued has every epoch once.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import InputError, Problem
from tuner.execution.messages import EpochEnded, Event, RunStarted, TrialEnded, TrialStarted
from tuner.experiment.trial import canonical
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, RANKED_STATES, EpochRow, TrialRow

if TYPE_CHECKING:
    from tuner.execution.event_file import EventFile

_DONE = "done"  # beside a trial's events: when the trial ended that they show
_PATIENCE_SECONDS = 30.0  # for the last events, when the run is over


def check_tensorboard() -> None:
    """That it is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        what, mend = "tensorboard is not installed", "pip install 'convtuner[tensorboard]'"
        raise InputError(Problem(what, "--tensorboard", mend=mend)) from error


class TensorBoardWriter:
    """A listener that keeps TensorBoard's files; a thread of its own writes them.

    An error ends the writing and not the run: `close` gives its text.
    """

    def __init__(self, folder: RunFolder, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._files: dict[int, EventFile] = {}
        self._error = ""
        self._thread = threading.Thread(target=self._work, daemon=True, name="tensorboard")
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Takes an event, and returns at once."""
        if isinstance(event, RunStarted | TrialStarted | EpochEnded | TrialEnded):
            self._events.put(event)

    def close(self) -> str:
        """Writes what is left; what went wrong, or nothing."""
        self._events.put(None)
        self._thread.join(_PATIENCE_SECONDS)
        return self._error

    def _work(self) -> None:
        try:
            while (event := self._events.get()) is not None:
                self._take(event)
            for file in self._files.values():
                file.close()
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._catch_up()
            case TrialStarted():
                self._begin(event.number, event.epochs_done)
            case EpochEnded():
                self._epoch(event)
            case TrialEnded():
                self._end(event.number)

    def _catch_up(self) -> None:
        """Trials of earlier runs that are not shown yet as they ended."""
        with Ledger.open_read_only(self._folder.ledger) as ledger:
            for row in ledger.rows(FINISHED_STATES):
                if not self._is_shown(row):
                    self._write_whole(row, ledger.epochs(row.number))

    def _is_shown(self, row: TrialRow) -> bool:
        try:
            return self._mark(row.number).read_text(encoding="utf-8") == _end_of(row)
        except OSError:
            return False

    def _begin(self, number: int, epochs_done: int) -> None:
        """A trial is on a worker: with the epochs behind it, and none that it has lost."""
        row, epochs = self._read(number)
        if (before := self._files.pop(number, None)) is not None:
            before.close()
        behind = [epoch for epoch in epochs if epoch.epoch <= epochs_done]
        self._files[number] = self._written(row, behind, self._clock())
        self._files[number].flush()

    def _epoch(self, event: EpochEnded) -> None:
        file = self._files.get(event.number)
        if file is None or event.epoch <= file.last_step:  # trained again from further back
            self._begin(event.number, event.epoch - 1)
            file = self._files[event.number]
        file.scalars(event.metrics, event.epoch, self._clock())
        file.flush()

    def _end(self, number: int) -> None:
        row, epochs = self._read(number)
        file = self._files.pop(number, None)
        if file is None:  # its end is all that this run has done for it
            self._write_whole(row, epochs)
            return
        self._finish(file, row, self._clock())

    def _write_whole(self, row: TrialRow, epochs: list[EpochRow]) -> None:
        at = _seconds(row.started_at or row.finished_at, self._clock())
        file = self._written(row, epochs, at)
        self._finish(file, row, _seconds(row.finished_at, at))

    def _written(self, row: TrialRow, epochs: list[EpochRow], at: float) -> EventFile:
        """A new file with a trial's values and the epochs behind it, one after the other."""
        from tuner.execution.event_file import EventFile

        self._mark(row.number).unlink(missing_ok=True)
        file = EventFile(self._place(row.number), self._clock())
        file.begin(row.values, _group(row), at)
        for epoch in epochs:
            at += epoch.seconds
            file.scalars(epoch.metrics, epoch.epoch, at)
        return file

    def _finish(self, file: EventFile, row: TrialRow, at: float) -> None:
        if row.score is not None:
            file.scalars({"score": row.score}, row.best_epoch or row.epochs, at)
        file.end(good=row.state in RANKED_STATES, at=at)
        file.close()
        self._mark(row.number).write_text(_end_of(row), encoding="utf-8")

    def _read(self, number: int) -> tuple[TrialRow, list[EpochRow]]:
        with Ledger.open_read_only(self._folder.ledger) as ledger:
            row = ledger.row(number)
            assert row is not None
            return row, ledger.epochs(number)

    def _place(self, number: int) -> Path:
        return self._folder.path / "tensorboard" / f"trial-{number:05d}"

    def _mark(self, number: int) -> Path:
        return self._place(number) / _DONE


def _group(row: TrialRow) -> str:
    """Replicates of a configuration are sessions of one group."""
    return hashlib.sha256(canonical(dict(row.configuration)).encode()).hexdigest()[:16]


def _end_of(row: TrialRow) -> str:
    return f"{row.state.value} {row.finished_at}"


def _seconds(text: str | None, otherwise: float) -> float:
    return datetime.fromisoformat(text).timestamp() if text else otherwise
