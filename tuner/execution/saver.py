"""Writes checkpoints beside the training; an epoch is reported once its own is on the disk."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.execution.messages import Epoch
from tuner.ledger import checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class _Task:
    report: Epoch
    arrays: Mapping[str, NDArray[Any]]
    notes: Mapping[str, Any]


class Saver:
    """One thread that saves and then reports; at most one checkpoint waits for another."""

    def __init__(self, folder: Path, report: Callable[[Epoch], None]) -> None:
        self._folder = folder
        self._report = report
        self._tasks: queue.Queue[_Task] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        threading.Thread(target=self._work, daemon=True, name="saver").start()

    def put(
        self, report: Epoch, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]
    ) -> None:
        """Report this epoch with a checkpoint; waits while an earlier one is not yet begun."""
        self._raise()
        self._tasks.put(_Task(report, arrays, notes))

    def flush(self) -> None:
        """Everything that was put is on the disk and reported."""
        self._tasks.join()
        self._raise()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                self._report(self._saved(task))
            except BaseException as error:  # told to whoever puts or flushes next
                self._error = error
            finally:
                self._tasks.task_done()

    def _saved(self, task: _Task) -> Epoch:
        report = task.report
        # Another attempt never writes the file that the ledger names, so that it stays whole.
        name = f"{report.number}-{report.epoch}-{task.notes['attempt']}.npz"
        try:
            saved = checkpoint.save(self._folder, name, task.arrays, task.notes)
        except OSError as error:
            reason = error.strerror or str(error)
            return dataclasses.replace(report, not_saved=f"{self._folder / name}: {reason}")
        return dataclasses.replace(report, checkpoint=saved)

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
