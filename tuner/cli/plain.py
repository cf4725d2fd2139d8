"""A run as plain lines: for pipes, log files and terminals that cannot redraw."""

from __future__ import annotations

from collections.abc import Callable

from tuner.cli.progress import RunProgress
from tuner.execution.messages import (
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
from tuner.report import words

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
            line = f"{line}  {words.seconds_text(seconds)}{self._left()}"
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
                seconds = words.seconds_text(event.seconds)
                return f"worker {event.worker} ready in {seconds} ({event.device})"
            case TrialStarted():
                return _start_line(event)
            case TrialCompiled():
                return f"trial {event.number}: compiled in {words.seconds_text(event.seconds)}"
            case EpochEnded():
                return self._epoch_line(event)
            case TrialWaits():
                return self._wait_line(event)
            case TrialEnded():
                return f"{self._place()} {ended_text(event, self._progress.metric)}"
            case WorkerLost():
                return self._progress.notes[-1]
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
            f"{name} {words.score_text(event.metrics[name])}"
            for name in dict.fromkeys(("loss", self._progress.metric))
            if name in event.metrics
        )
        return (
            f"trial {event.number}: epoch {event.epoch}/{event.epochs}, {metrics}, "
            f"{words.seconds_text(event.seconds)}"
        )

    def _wait_line(self, event: TrialWaits) -> str:
        trial = self._progress.waiting.get(event.number)
        last = words.score_text(trial.curve[-1] if trial and trial.curve else None)
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
        return f"  {words.clock_text(left)} left" if left else ""


def download_text(num_bytes: int, total_bytes: int) -> str:
    """How far the download of a data set is."""
    whole = f" of {words.bytes_text(total_bytes)}" if total_bytes else ""
    return f"downloading the data set: {words.bytes_text(num_bytes)}{whole}"


def ended_text(event: TrialEnded, metric: str) -> str:
    """How a trial ended, on one line: its score, its reason, its values."""
    values = words.values_text(event.values)
    beside = f"  ({values})" if values else ""
    reason = words.first_line(event.reason)
    if event.state is TrialState.COMPLETED:
        return f"trial {event.number}: {metric} {words.score_text(event.score)}{beside}"
    if event.state is TrialState.STOPPED:
        score = f"{metric} {words.score_text(event.score)}, " if event.score is not None else ""
        at = f" after epoch {event.epochs}" if event.epochs else ""
        why = f"; {reason}" if reason else ""
        return f"trial {event.number}: {score}stopped{at}{beside}{why}"
    return f"trial {event.number}: {words.state_word(event.state)}: {reason}{beside}"


def _run_line(event: RunStarted) -> str:
    to_run = words.counted(event.to_run, "trial") if event.to_run is not None else "trials"
    done = f", {event.done:,} done already" if event.done else ""
    workers = words.counted(event.workers, "worker")
    line = f"{event.name}: {to_run} to run{done}; {workers}; results in {event.folder}"
    return "\n".join([line, *(f"note: {note}" for note in event.notes)])


def _start_line(event: TrialStarted) -> str:
    """Only what takes time or surprises: a new program, or a trial that was begun before."""
    said = []
    if event.epochs_done:
        said.append(f"going on after epoch {event.epochs_done}")
    if event.first_of_structure:
        said.append(f"compiling a new structure ({words.values_text(event.values)})")
    return f"trial {event.number}: {', '.join(said)}" if said else ""
