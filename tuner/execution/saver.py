"""The saver: a worker's thread that reports epochs, and now and then writes the trial's state."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.execution.protocol import Epoch, Report, Saved
from tuner.experiment.objective import Objective
from tuner.ledger import checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = Mapping[str, "NDArray[Any]"]

CHECKPOINT_SECONDS = 5.0
"""Between two checkpoints of a trial; what a crash costs, beside the epoch that it interrupts."""


@dataclasses.dataclass(frozen=True, eq=False)
class _EpochState:
    """The state after an epoch, in the host's memory and not yet written."""

    number: int
    epoch: int
    arrays: Arrays
    notes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class _Ended:
    """An epoch that was trained; `copy` gives its state, which nobody else changes."""

    report: Epoch
    copy: Callable[[], Arrays]
    notes: Mapping[str, Any]
    is_due: bool


class Saver:
    """Copies each epoch's state to the host while the next one trains, and reports the epochs.

    A checkpoint is written with the last epoch of an assignment, and otherwise `seconds` after the
    one before: epochs may be shorter than a disk takes. The newest state and that of the best epoch
    wait in memory for it, and are written when a trial is given up.
    """

    def __init__(
        self,
        folder: Path,
        report: Callable[[Report], None],
        *,
        seconds: float = CHECKPOINT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._report = report
        self._seconds = seconds
        self._clock = clock
        self._saved_at = clock()
        self._is_writing = False  # a checkpoint, or about to
        self._objective: Objective | None = None
        self._best_score: tuple[int, float] | None = None  # epoch and score
        self._newest: _EpochState | None = None
        self._best: _EpochState | None = None
        self._tasks: queue.Queue[_Ended] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        threading.Thread(target=self._work, daemon=True, name="saver").start()

    def begin(self, objective: Objective | None, notes: Mapping[str, Any] | None) -> None:
        """A trial begins, or goes on from the checkpoint with these notes."""
        self.forget()
        self._objective = objective
        notes = notes or {}
        best = notes.get("best") if notes.get("objective") == self._told_objective() else None
        self._best_score = (best[0], best[1]) if best else None
        self._saved_at = self._clock()

    def put(
        self,
        report: Epoch,
        copy: Callable[[], Arrays],
        notes: Mapping[str, Any],
        *,
        must_save: bool,
    ) -> None:
        """Report this epoch; waits while an earlier one is not yet begun."""
        self._raise()
        now = self._clock()
        is_due = must_save or (not self._is_writing and now - self._saved_at >= self._seconds)
        if is_due:
            self._saved_at, self._is_writing = now, True
        self._tasks.put(_Ended(report, copy, notes, is_due))

    def flush(self) -> None:
        """Everything that was put is reported, and written if it was due."""
        self._tasks.join()
        self._raise()

    def give_up(self) -> None:
        """Write what nobody has written yet, so that a trial that is given up loses no epoch."""
        try:
            self.flush()
            self._save_best()
            if self._newest is not None:
                self._report(self._saved(self._newest))
        finally:
            self.forget()

    def forget(self) -> None:
        """Nobody will ask for the trial's states any more."""
        self._newest = self._best = None

    def _work(self) -> None:
        while True:
            ended = self._tasks.get()
            try:
                self._take(ended)
            except BaseException as error:  # told to whoever puts or flushes next
                self._error = error
            finally:
                del ended  # and with it the state on the device
                self._tasks.task_done()

    def _take(self, ended: _Ended) -> None:
        report = ended.report
        is_best = self._note(report)
        notes = {
            **ended.notes,
            "best": self._best_score,
            "objective": self._told_objective(),  # another one has another best epoch
        }
        state = _EpochState(report.number, report.epoch, ended.copy(), notes)
        self._newest = state
        if is_best:
            self._best = state
        if ended.is_due:
            self._save_best()
            saved = self._saved(state)
            self._is_writing = False
            report = dataclasses.replace(
                report, checkpoint=saved.checkpoint, not_saved=saved.not_saved
            )
        self._report(report)

    def _told_objective(self) -> list[str] | None:
        return [self._objective.metric, self._objective.direction] if self._objective else None

    def _note(self, report: Epoch) -> bool:
        """Whether it is the best epoch so far, the earliest in a tie, as the scheduler sees it."""
        score = report.metrics.get(self._objective.metric) if self._objective else None
        if self._objective is None or score is None:
            return False
        before = self._best_score[1] if self._best_score else None
        is_best = self._objective.is_better(score, before)
        if is_best:
            self._best_score = report.epoch, score
        return is_best

    def _save_best(self) -> None:
        """Where it is not the newest, which is saved next."""
        if self._best is not None and self._best is not self._newest:
            self._report(self._saved(self._best))

    def _saved(self, state: _EpochState) -> Saved:
        saved = Saved(state.number, state.epoch)
        # Another attempt never writes the file that the ledger names, so that it stays whole.
        name = f"{state.number}-{state.epoch}-{state.notes['attempt']}.npz"
        try:
            written = checkpoint.save(self._folder, name, state.arrays, state.notes)
        except OSError as error:
            reason = error.strerror or str(error)
            return dataclasses.replace(saved, not_saved=f"{self._folder / name}: {reason}")
        self._best = None if state is self._best else self._best
        self._newest = None if state is self._newest else self._newest
        return dataclasses.replace(saved, checkpoint=written)

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
