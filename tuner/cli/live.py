"""The live view of a run on a terminal: how far, what runs, what is best, what went wrong."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from tuner.cli.progress import RunningTrial, RunProgress
from tuner.cli.view import download_text, ended_text, lost_text
from tuner.execution.events import Event, Notice, RunStarted, TrialCompiled, TrialEnded, WorkerLost
from tuner.experiment.trial import TrialState
from tuner.ledger.records import RANKED_STATES
from tuner.report import format
from tuner.report.curves import sparkline

_FRAMES_PER_SECOND = 4
_MAX_FAILURES = 2
_HISTORY = 3  # lines above the panel that stay in sight
_FULL, _SHORT = 4, 2  # lines of a running trial, with room and without
_MAX_WIDTH = 100


class LiveView:
    """Redraws a panel at the bottom; ended trials scroll above it as lines.

    Called with every event, from the thread of the scheduler; drawn from a thread of rich's.
    """

    def __init__(self, progress: RunProgress, console: Console) -> None:
        self._progress = progress
        self._lock = threading.RLock()
        self._console = console
        self._error: Exception | None = None
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)
        self._raise_what_drawing_raised()

    def __call__(self, event: Event) -> None:
        """Takes an event; what deserves to stay is printed above the panel."""
        self._raise_what_drawing_raised()
        with self._lock:
            self._progress.take(event)
            lines = lasting_lines(event, self._progress)
        for line in lines:
            self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def download(self, num_bytes: int, total_bytes: int) -> None:
        """How far the download of a data set is."""
        with self._lock:
            self._progress.downloaded = (num_bytes, total_bytes)

    def _draw(self) -> RenderableType:
        with self._lock:
            # Two columns stay free: the terminal's own ^C must not wrap, or redrawing goes wrong.
            width, height = self._console.width - 2, self._console.height
            try:
                return panel(self._progress, min(width, _MAX_WIDTH), height)
            except Exception as error:  # in a thread of rich's, where it would reach nobody
                self._error = error
                return Text("")

    def _raise_what_drawing_raised(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def lasting_lines(event: Event, progress: RunProgress) -> list[Text]:
    """What stays in the terminal's history, of events that deserve it."""
    match event:
        case TrialEnded():
            mark = _mark(event, progress)
            return [Text.assemble(mark, ended_text(event, progress.metric))]
        case TrialCompiled():
            seconds = format.seconds_text(event.seconds)
            return [Text(f"· trial {event.number}: new structure compiled in {seconds}", "dim")]
        case WorkerLost():
            return [Text(f"! {lost_text(event)}", "yellow")]
        case Notice():
            return [Text(f"! {format.printable(event.text)}", "yellow")]
        case RunStarted():
            return [Text(f"· {format.printable(note)}", "dim") for note in event.notes]
        case _:
            return []


def _mark(event: TrialEnded, progress: RunProgress) -> tuple[str, str]:
    if event.state not in RANKED_STATES:
        return "✗ ", "red"
    if progress.best is not None and progress.best.number == event.number:
        return "★ ", "bold green"
    return ("✓ ", "green") if event.state is TrialState.COMPLETED else ("▪ ", "cyan")


def panel(progress: RunProgress, width: int, height: int = 24) -> RenderableType:
    """The whole view for one moment, `width` columns wide, on a terminal of `height` lines."""
    inner = width - 4
    results = _result_lines(progress, inner)
    room = height - _HISTORY - len(results) - 5  # borders, progress, two empty lines
    parts: list[RenderableType] = [_progress_line(progress, inner)]
    parts += _running_lines(progress, inner, room) or [Text(""), *_idle_lines(progress)]
    parts += [Text(""), *results]
    subtitle = "stopping … Ctrl-C again to stop at once" if progress.is_stopping else "Ctrl-C stops"
    return Panel(
        Padding(Group(*parts), (0, 1)),
        title=Text(f" {format.printable(progress.name) or 'tuner'} ", "bold"),
        title_align="left",
        subtitle=Text(f" {subtitle} ", "yellow" if progress.is_stopping else "dim"),
        subtitle_align="right",
        border_style="yellow" if progress.is_stopping else "blue",
        width=width,
        padding=0,
    )


def _running_lines(progress: RunProgress, width: int, room: int) -> list[Text]:
    """Running trials in the order of their workers, as many as there is room for."""
    trials = [progress.running[worker] for worker in sorted(progress.running)]
    if len(trials) * _FULL <= room:
        return [
            line for trial in trials for line in (Text(""), *_trial_lines(trial, progress, width))
        ]
    shown = trials[: max(1, (room - 2) // _SHORT)]
    lines = [Text("")]
    for trial in shown:
        lines += [_head(trial, width), _short_line(trial, progress, width)]
    if hidden := len(trials) - len(shown):
        lines.append(Text(f"… and {hidden} more running", "dim"))
    return lines


def _progress_line(progress: RunProgress, width: int) -> Text:
    ended = progress.done + progress.ended
    total = f"/{progress.total}" if progress.total is not None else ""
    left = progress.seconds_left
    times = [format.clock_text(progress.elapsed)]
    if left:
        times.append(f"{format.clock_text(left)} left")
    count = f"{ended}{total} trials  {' · '.join(times)}"
    bar_width = max(10, width - len(count) - 2)
    return Text.assemble(_bar(progress.share or 0.0, bar_width, "blue"), "  ", count)


def _head(trial: RunningTrial, width: int) -> Text:
    seed = f" · replicate {trial.replicate}" if trial.replicate else ""
    head = Text.assemble(
        (f"trial {trial.number}", "bold"), (seed, "dim"), "  ", format.values_text(trial.values)
    )
    head.truncate(width, overflow="ellipsis")
    return head


def _trial_lines(trial: RunningTrial, progress: RunProgress, width: int) -> list[Text]:
    return [_head(trial, width), _epoch_line(trial, progress), _curve_line(trial, progress, width)]


def _epoch_line(trial: RunningTrial, progress: RunProgress) -> Text:
    if trial.is_compiling:
        seconds = format.clock_text(progress.clock() - trial.started_at)
        return Text(f"  compiling a new structure … {seconds}", "cyan")
    step_digits = len(str(trial.steps))
    line = _epoch_bar(trial)
    line.append(f" {trial.step:>{step_digits}}/{trial.steps}" if trial.steps else "", "dim")
    if not math.isnan(trial.loss):
        line.append_text(Text.assemble(("   loss ", "dim"), format.score_text(trial.loss)))
    return line


def _epoch_bar(trial: RunningTrial) -> Text:
    digits = len(str(trial.epochs))
    epoch = min(trial.epoch, trial.epochs)
    bar = _bar(trial.part, 10, "cyan")
    return Text.assemble(f"  epoch {epoch:>{digits}}/{trial.epochs} ", bar)


def _short_line(trial: RunningTrial, progress: RunProgress, width: int) -> Text:
    """Epoch, loss and objective on one line."""
    if trial.is_compiling:
        return _epoch_line(trial, progress)
    loss = format.score_text(None if math.isnan(trial.loss) else trial.loss)
    line = _epoch_bar(trial)
    line.append_text(Text.assemble(("  loss ", "dim"), loss))
    return line.append_text(_curve_line(trial, progress, width - line.cell_len))


def _curve_line(trial: RunningTrial, progress: RunProgress, width: int) -> Text:
    """Always one line, so that the panel keeps its height."""
    last = format.score_text(trial.curve[-1] if trial.curve else None)
    text = Text.assemble((f"  {progress.metric} ", "dim"), last, "  ")
    room = max(4, min(40, width - text.cell_len))
    return text.append(sparkline(trial.curve, room), "cyan")


def _result_lines(progress: RunProgress, width: int) -> list[Text]:
    lines = []
    if progress.best is not None:
        best = progress.best
        lines.append(
            Text.assemble(
                ("best      ", "green"),
                (f"{progress.metric} {format.score_text(best.score)}", "bold green"),
                f"  trial {best.number}  {format.values_text(best.values)}",
            )
        )
    else:
        lines.append(Text("best      no trial has ended yet", "dim"))
    if progress.waiting:
        count = format.counted(len(progress.waiting), "trial")
        lines.append(Text.assemble(("waiting   ", "cyan"), f"{count} for others to compare with"))
    if progress.stopped:
        last = progress.stopped[-1]
        told = f"{format.counted(len(progress.stopped), 'trial')}; trial {last.number}: "
        reason = format.first_line(last.reason)
        lines.append(Text.assemble(("stopped   ", "cyan"), told, (reason, "dim")))
    lines += _failure_lines(progress)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _failure_lines(progress: RunProgress) -> list[Text]:
    shown: Sequence[TrialEnded] = progress.failures[-_MAX_FAILURES:]
    lines = [
        Text.assemble(
            (f"{format.state_word(event.state):<10}", "red"),
            f"trial {event.number}: {format.first_line(event.reason)}",
        )
        for event in shown
    ]
    hidden = len(progress.failures) - len(shown)
    return [*lines, Text(f"          and {hidden} more", "dim")] if hidden else lines


def _idle_lines(progress: RunProgress) -> list[Text]:
    if progress.downloaded is not None:
        num_bytes, total = progress.downloaded
        share = min(1.0, num_bytes / total) if total else 0.0
        text = download_text(num_bytes, total)
        return [Text.assemble(_bar(share, 20, "cyan"), "  ", text)]
    if progress.total is not None and progress.done + progress.ended >= progress.total:
        return [Text("all trials have ended", "dim")]
    if progress.device:
        return [Text(f"waiting for the next trial on {progress.device}", "dim")]
    if not progress.name:
        return [Text("checking the experiment and its data", "dim")]
    return [Text("starting the worker: importing the framework, loading the data", "dim")]


def _bar(share: float, width: int, colour: str) -> Text:
    full = min(width, int(share * width))
    half = "╸" if full < width and share * width - full >= 0.5 else ""
    rest = width - full - len(half)
    return Text.assemble(("━" * full + half, colour), ("─" * rest, "dim"))
