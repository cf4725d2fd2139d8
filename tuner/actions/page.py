"""report.html of a run, while it is on and when it has ended: a view, which must hide nothing."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from tuner.errors import unexpected
from tuner.execution.events import Event, TrialProgress
from tuner.ledger.folder import RunFolder

PAUSE_SECONDS = 30.0
# Of the time that writing takes: a page of many trials is written less often.
_PAUSES = 20


def write_run_page(folder: RunFolder) -> str:
    """Write report.html; what went wrong and how to write it later, or nothing."""
    try:
        from tuner.report.page import write_page

        write_page([folder], folder.report)
    except OSError as error:
        reason, hint = error.strerror or str(error), ""
    except Exception as error:
        reason, hint = unexpected(error)
    else:
        return ""
    told = f"report.html could not be written: {reason}; tuner report -f html writes it"
    return f"{told}; {hint}" if hint else told


class LivePage:
    """Writes report.html again while a run is on, where something has changed.

    In a thread of its own, with its own connection to the ledger: training waits for nothing. What
    goes wrong is told by the last page, which is written when the run has ended.
    """

    def __init__(self, folder: RunFolder, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._folder = folder
        self._pause_seconds = pause_seconds
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="page")

    def listen(self, event: Event) -> None:
        """Takes note of what would change the page."""
        if not isinstance(event, TrialProgress):
            self._changed.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if kind is None:  # Whoever gives up does not wait for a page that is half written.
            self._thread.join()

    def _work(self) -> None:
        pause = self._pause_seconds
        while not self._ended.wait(pause):
            if self._changed.is_set():
                self._changed.clear()
                started = time.perf_counter()
                write_run_page(self._folder)
                took = time.perf_counter() - started
                pause = max(self._pause_seconds, _PAUSES * took)
