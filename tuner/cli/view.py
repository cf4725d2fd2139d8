"""How a run is shown: as plain lines, where nothing can be redrawn; and what keeps a view safe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import click

from tuner.cli.progress import RunProgress
from tuner.errors import unexpected
from tuner.execution.events import (
    EpochEnded,
    Event,
    Notice,
    RunStarted,
    TrialCompiled,
    TrialEnded,
    TrialStarted,
    TrialWaits,
    WorkerLost,
    WorkerReady,
)
from tuner.experiment.trial import TrialState
from tuner.report import format

if TYPE_CHECKING:
    from tuner.cli.live import LiveView

# Between two lines about epochs of one trial; a trial of a thousand short epochs stays readable.
_EPOCH_REST_SECONDS = 10.0


class PlainLines:
    """One line for each event that is worth one."""

    def __init__(self, progress: RunProgress, write: Callable[[str], None]) -> None:
        self._progress = progress
        self._write = write
        self._last_epoch_line = -_EPOCH_REST_SECONDS

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Takes an event and writes its line, if it has one."""
        started = self._progress.running.copy()
        self._progress.take(event)
        line = self._line(event)
        if isinstance(event, TrialEnded) and event.worker in started:
            seconds = self._progress.clock() - started[event.worker].started_at
            line = f"{line}  {format.seconds_text(seconds)}{self._left()}"
        if line:
            self._write(line)

    def download(self, num_bytes: int, total_bytes: int) -> None:
        """A line for every tenth of a download."""
        before, _ = self._progress.downloaded or (-1, 0)
        self._progress.downloaded = (num_bytes, total_bytes)
        if total_bytes and num_bytes * 10 // total_bytes != before * 10 // total_bytes:
            self._write(download_text(num_bytes, total_bytes))

    def _line(self, event: Event) -> str:
        match event:
            case RunStarted():
                return _run_line(event)
            case WorkerReady():
                seconds = format.seconds_text(event.seconds)
                return f"worker {event.worker} ready in {seconds} ({event.device})"
            case TrialStarted():
                return _start_line(event)
            case TrialCompiled():
                return f"trial {event.number}: compiled in {format.seconds_text(event.seconds)}"
            case EpochEnded():
                return self._epoch_line(event)
            case TrialWaits():
                return self._wait_line(event)
            case TrialEnded():
                return f"{self._place()} {ended_text(event, self._progress.metric)}"
            case WorkerLost():
                return lost_text(event)
            case Notice():
                return event.text
            case _:
                return ""

    def _epoch_line(self, event: EpochEnded) -> str:
        now = self._progress.clock()
        is_last = event.epoch == event.epochs
        if is_last or now - self._last_epoch_line < _EPOCH_REST_SECONDS:
            return ""
        self._last_epoch_line = now
        metrics = ", ".join(
            f"{name} {format.score_text(event.metrics[name])}"
            for name in dict.fromkeys(("loss", self._progress.metric))
            if name in event.metrics
        )
        return (
            f"trial {event.number}: epoch {event.epoch}/{event.epochs}, {metrics}, "
            f"{format.seconds_text(event.seconds)}"
        )

    def _wait_line(self, event: TrialWaits) -> str:
        trial = self._progress.waiting.get(event.number)
        last = format.score_text(trial.curve[-1] if trial and trial.curve else None)
        return (
            f"trial {event.number}: waits after epoch {event.epoch}/{event.epochs}, "
            f"{self._progress.metric} {last}{self._left()}"
        )

    def _place(self) -> str:
        progress = self._progress
        total = progress.total if progress.total is not None else "?"
        return f"[{progress.done + progress.ended}/{total}]"

    def _left(self) -> str:
        left = self._progress.seconds_left
        return f"  {format.clock_text(left)} left" if left else ""


def download_text(num_bytes: int, total_bytes: int) -> str:
    """How far the download of a data set is."""
    whole = f" of {format.bytes_text(total_bytes)}" if total_bytes else ""
    return f"downloading the data set: {format.bytes_text(num_bytes)}{whole}"


def lost_text(event: WorkerLost) -> str:
    """A worker that has died, and with which trial."""
    trial = f" with trial {event.number}" if event.number is not None else ""
    return f"worker {event.worker} was lost{trial}: {event.reason}"


def ended_text(event: TrialEnded, metric: str) -> str:
    """How a trial ended, on one line: its score, its reason, its values."""
    values = format.values_text(event.values)
    beside = f"  ({values})" if values else ""
    reason = format.first_line(event.reason)
    if event.state is TrialState.COMPLETED:
        return f"trial {event.number}: {metric} {format.score_text(event.score)}{beside}"
    if event.state is TrialState.STOPPED:
        score = f"{metric} {format.score_text(event.score)}, " if event.score is not None else ""
        at = f" after epoch {event.epochs}" if event.epochs else ""
        why = f"; {reason}" if reason else ""
        return f"trial {event.number}: {score}stopped{at}{beside}{why}"
    return f"trial {event.number}: {format.state_word(event.state)}: {reason}{beside}"


def _run_line(event: RunStarted) -> str:
    to_run = format.counted(event.to_run, "trial") if event.to_run is not None else "trials"
    done = f", {event.done:,} done already" if event.done else ""
    workers = format.counted(event.workers, "worker")
    line = f"{event.name}: {to_run} to run{done}; {workers}; results in {event.folder}"
    return "\n".join([line, *(f"note: {note}" for note in event.notes)])


def _start_line(event: TrialStarted) -> str:
    """Only what takes time or surprises: a new program, or a trial that was begun before."""
    said = []
    if event.epochs_done:
        said.append(f"going on after epoch {event.epochs_done}")
    if event.first_of_structure:
        said.append(f"compiling a new structure ({format.values_text(event.values)})")
    return f"trial {event.number}: {', '.join(said)}" if said else ""


# ---------------------------------------------------------------------- safety


class SafeView:
    """Passes everything on to a view until that fails; then it is off, and the run goes on.

    A terminal can go away at any time, and a fault in what is shown is none of the run.
    """

    def __init__(self, view: LiveView | PlainLines) -> None:
        self._view = view
        self._guarded = Guarded("the progress of this run is no longer shown", self._close)

    def __enter__(self) -> Self:
        self._guarded(self._view.__enter__)
        return self

    def __exit__(self, *exception: object) -> None:
        self._guarded(self._view.__exit__, None, None, None)

    def __call__(self, event: Event) -> None:
        """One event."""
        self._guarded(self._view, event)

    def download(self, num_bytes: int, total_bytes: int) -> None:
        """Progress of a download."""
        self._guarded(self._view.download, num_bytes, total_bytes)

    def _close(self) -> None:
        self._view.__exit__(None, None, None)


class Guarded:
    """Makes calls until one raises: that is told in one line, and nothing is called any more."""

    def __init__(self, told: str, close: Callable[[], None] = lambda: None) -> None:
        self._told = told
        self._close = close
        self._is_broken = False

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> None:
        """A call whose error must not end the run."""
        if self._is_broken:
            return
        try:
            call(*arguments)
        except Exception as error:
            self._is_broken = True
            with suppress(Exception):
                self._close()
            with suppress(OSError):  # the terminal may be gone: then there is nobody to tell
                click.echo(f"{self._told}: {_reason(error)}", err=True)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "; ".join(unexpected(error))
