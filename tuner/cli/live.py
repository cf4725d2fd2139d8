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

from tuner.cli.plain import download_text, ended_text
from tuner.cli.progress import RunningTrial, RunProgress
from tuner.execution.messages import Event, TrialCompiled, TrialEnded, WorkerLost
from tuner.ledger.records import RANKED_STATES
from tuner.report import words
from tuner.report.curves import sparkline

_FRAMES_PER_SECOND = 4
_MAX_SHOWN = 4  # running trials; the rest is counted
_MAX_FAILURES = 2
_MAX_WIDTH = 100


class LiveView:
    """Redraws a panel at the bottom; ended trials scroll above it as lines.

    Called with every event, from the thread of the scheduler; drawn from a thread of rich's.
    """

    def __init__(self, progress: RunProgress, console: Console) -> None:
        self._progress = progress
        self._lock = threading.RLock()
        self._console = console
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

    def __call__(self, event: Event) -> None:
        """Takes an event; what deserves to stay is printed above the panel."""
        with self._lock:
            previous = self._progress.best
            self._progress.take(event)
            is_best = self._progress.best is not previous
            line = lasting_line(event, self._progress, is_best=is_best)
        if line is not None:
            self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def download(self, num_bytes: int, total_bytes: int) -> None:
        """How far the download of a data set is."""
        with self._lock:
            self._progress.downloaded = (num_bytes, total_bytes)

    def _draw(self) -> RenderableType:
        with self._lock:
            # Two columns stay free: the terminal's own ^C must not wrap, or redrawing goes wrong.
            return panel(self._progress, min(self._console.width - 2, _MAX_WIDTH))


def lasting_line(event: Event, progress: RunProgress, *, is_best: bool) -> Text | None:
    """The line that stays in the terminal's history, for events that deserve one."""
    match event:
        case TrialEnded():
            good = event.state in RANKED_STATES
            mark = ("★ " if is_best else "✓ ") if good else "✗ "
            colour = ("bold green" if is_best else "green") if good else "red"
            return Text.assemble((mark, colour), ended_text(event, progress.metric))
        case TrialCompiled():
            seconds = words.seconds_text(event.seconds)
            return Text(f"· trial {event.number}: new structure compiled in {seconds}", "dim")
        case WorkerLost():
            return Text(f"! {progress.notes[-1]}", "yellow")
        case _:
            return None


def panel(progress: RunProgress, width: int) -> RenderableType:
    """The whole view for one moment, `width` columns wide."""
    inner = width - 4
    parts: list[RenderableType] = [_progress_line(progress, inner)]
    shown = list(progress.running.values())[:_MAX_SHOWN]
    for trial in shown:
        parts += [Text(""), *_trial_lines(trial, progress, inner)]
    if len(progress.running) > len(shown):
        parts.append(Text(f"… and {len(progress.running) - len(shown)} more running", "dim"))
    if not shown:
        parts += [Text(""), *_idle_lines(progress)]
    parts += [Text(""), *_result_lines(progress, inner)]
    subtitle = "stopping … Ctrl-C again to stop at once" if progress.is_stopping else "Ctrl-C stops"
    return Panel(
        Padding(Group(*parts), (0, 1)),
        title=Text(f" {words.printable(progress.name) or 'tuner'} ", "bold"),
        title_align="left",
        subtitle=Text(f" {subtitle} ", "yellow" if progress.is_stopping else "dim"),
        subtitle_align="right",
        border_style="yellow" if progress.is_stopping else "blue",
        width=width,
        padding=0,
    )


def _progress_line(progress: RunProgress, width: int) -> Text:
    ended = progress.done + progress.ended
    total = f"/{progress.total}" if progress.total is not None else ""
    left = progress.seconds_left
    times = [words.clock_text(progress.elapsed)]
    if left:
        times.append(f"{words.clock_text(left)} left")
    count = f"{ended}{total} trials  {' · '.join(times)}"
    bar_width = max(10, width - len(count) - 2)
    return Text.assemble(_bar(progress.share or 0.0, bar_width, "blue"), "  ", count)


def _trial_lines(trial: RunningTrial, progress: RunProgress, width: int) -> list[Text]:
    seed = f" · replicate {trial.replicate}" if trial.replicate else ""
    head = Text.assemble(
        (f"trial {trial.number}", "bold"), (seed, "dim"), "  ", words.values_text(trial.values)
    )
    head.truncate(width, overflow="ellipsis")
    if trial.is_compiling:
        seconds = words.clock_text(progress.clock() - trial.started_at)
        note = Text(f"  compiling a new structure … {seconds}", "cyan")
        return [head, note, _curve_line(trial, progress, width)]
    epoch = min(trial.epoch, trial.epochs)
    within = trial.step / trial.steps if trial.steps else 0.0
    digits = len(str(trial.epochs))
    step_digits = len(str(trial.steps))
    line = Text.assemble(
        f"  epoch {epoch:>{digits}}/{trial.epochs} ",
        _bar(within, 10, "cyan"),
        (f" {trial.step:>{step_digits}}/{trial.steps}" if trial.steps else "", "dim"),
    )
    if not math.isnan(trial.loss):
        line.append_text(Text.assemble(("   loss ", "dim"), words.score_text(trial.loss)))
    return [head, line, _curve_line(trial, progress, width)]


def _curve_line(trial: RunningTrial, progress: RunProgress, width: int) -> Text:
    """Always one line, so that the panel keeps its height."""
    last = words.score_text(trial.curve[-1] if trial.curve else None)
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
                (f"{progress.metric} {words.score_text(best.score)}", "bold green"),
                f"  trial {best.number}  {words.values_text(best.values)}",
            )
        )
    else:
        lines.append(Text("best      no trial has ended yet", "dim"))
    lines += _failure_lines(progress)
    lines += [Text(f"note      {note}", "yellow") for note in progress.notes[-1:]]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _failure_lines(progress: RunProgress) -> list[Text]:
    shown: Sequence[TrialEnded] = progress.failures[-_MAX_FAILURES:]
    lines = [
        Text.assemble(
            (f"{words.state_word(event.state):<10}", "red"),
            f"trial {event.number}: {words.first_line(event.reason)}",
        )
        for event in shown
    ]
    hidden = progress.num_failures - len(shown)
    return [*lines, Text(f"          and {hidden} more", "dim")] if hidden else lines


def _idle_lines(progress: RunProgress) -> list[Text]:
    if progress.downloaded is not None:
        num_bytes, total = progress.downloaded
        share = min(1.0, num_bytes / total) if total else 0.0
        text = download_text(num_bytes, total)
        return [Text.assemble(_bar(share, 20, "cyan"), "  ", text)]
    if progress.share == 1.0:
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
