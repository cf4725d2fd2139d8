"""How a run is shown: a panel on a terminal, plain lines where nothing can be redrawn.

Whatever fails in what is shown, the run goes on.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from tuner.cli.progress import DataLines, RunProgress, ShownTrial, data_text
from tuner.cli.terminal import can_redraw
from tuner.errors import unexpected
from tuner.execution.events import (
    EpochEnded,
    Event,
    Notice,
    RunEnded,
    RunStarted,
    TrialCompiled,
    TrialEnded,
    TrialStarted,
    TrialWaits,
    WorkerLost,
    WorkerReady,
)
from tuner.experiment.trial import TrialState
from tuner.ledger.records import RANKED_STATES
from tuner.ledger.workers import NodeRecord, WorkerRecord, is_told, nodes_of
from tuner.report import format
from tuner.report.curves import sparkline
from tuner.report.render import grid_lines
from tuner.report.table import Column, Table
from tuner.report.workers import busy_text

# Between two lines about epochs of one trial; a trial of a thousand short epochs stays readable.
_EPOCH_REST_SECONDS = 10.0
_FRAMES_PER_SECOND = 4
_HISTORY = 3  # lines above the panel that stay in sight
_FULL, _SHORT = 4, 2  # lines of a running trial, with room and without
_MAX_WIDTH = 100
_MAX_NODES = 4
_HERE = "this machine"
_HEAD = 2  # lines of the leaderboard's head at most: names of hyperparameters in two


def view_of(progress: RunProgress, *, quiet: bool) -> SafeView:
    """Redrawn on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        return SafeView(PlainLines(progress, lambda line: None))
    if not can_redraw(sys.stderr):
        return SafeView(PlainLines(progress, _say))
    return SafeView(LiveView(progress, Console(stderr=True)))


def view_in_python(progress: RunProgress, *, quiet: bool) -> SafeView:
    """For a run that a Python program began: lines, which leave its terminal its own.

    A notebook draws the panel, if it can: rich needs ipywidgets for that.
    """
    console = Console()
    if not quiet and console.is_jupyter and find_spec("ipywidgets") is not None:
        return SafeView(LiveView(progress, console))
    return SafeView(PlainLines(progress, (lambda line: None) if quiet else _say))


def _say(line: str) -> None:
    click.echo(line, err=True)


class SafeView:
    """Passes everything on to a view until that fails; then it is off, and the run goes on.

    A terminal can go away at any time, and a fault in what is shown is none of the run.
    """

    def __init__(self, view: LiveView | PlainLines) -> None:
        self._view = view
        told = "the progress of this run is no longer shown"
        self._guarded = Guarded(told, lambda: view.__exit__(None, None, None))

    def __enter__(self) -> Self:
        self._guarded(self._view.__enter__)
        return self

    def __exit__(self, *exception: object) -> None:
        self._guarded(self._view.__exit__, None, None, None)

    def __call__(self, event: Event) -> None:
        """One event."""
        self._guarded(self._view, event)

    def data_progress(self, what: str, num_bytes: int, total_bytes: int) -> None:
        """How far a data set is."""
        self._guarded(self._view.data_progress, what, num_bytes, total_bytes)


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


# ---------------------------------------------------------------------- plain lines


class PlainLines:
    """One line for each event that is worth one."""

    def __init__(self, progress: RunProgress, write: Callable[[str], None]) -> None:
        self._progress = progress
        self._write = write
        self._data_lines = DataLines(write)
        self._last_epoch_line = -_EPOCH_REST_SECONDS

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Takes an event and writes its line, if it has one."""
        trial = None
        if isinstance(event, TrialEnded) and event.worker is not None:
            trial = self._progress.running.get(event.worker)
        self._progress.take(event)
        line = self._line(event)
        if trial:
            seconds = self._progress.clock() - trial.started_at
            who = f" on worker {trial.worker}" if self._progress.workforce.is_many() else ""
            line = f"{line}  {format.seconds_text(seconds)}{who}{self._left()}"
        if line:
            self._write(line)

    def data_progress(self, what: str, num_bytes: int, total_bytes: int) -> None:
        """A line for every tenth."""
        self._progress.data = (what, num_bytes, total_bytes)
        self._data_lines(what, num_bytes, total_bytes)

    def _line(self, event: Event) -> str:
        match event:
            case RunStarted():
                return _run_line(event)
            case WorkerReady():
                seconds = format.seconds_text(event.seconds)
                threads = format.counted(event.threads, "thread") if event.threads else ""
                device = f"{event.device}, {threads}" if threads else event.device
                where = f"{device} on {event.node}" if event.node else device
                return f"worker {event.worker} ready in {seconds} ({format.printable(where)})"
            case TrialStarted():
                return _start_line(event)
            case TrialCompiled():
                return f"trial {event.number}: compiled in {format.seconds_text(event.seconds)}"
            case EpochEnded():
                return self._epoch_line(event)
            case TrialWaits():
                return self._wait_line(event)
            case TrialEnded():
                progress = self._progress
                total = "?" if progress.total is None else progress.total
                ended = ended_text(event, progress.metric)
                return f"[{progress.done + progress.ended}/{total}] {ended}"
            case WorkerLost():
                return lost_text(event)
            case Notice():
                return event.text
            case RunEnded():
                return workers_text(self._progress.workforce.records())
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
        last = format.score_text(trial.last if trial else None)
        return (
            f"trial {event.number}: waits after epoch {event.epoch}/{event.epochs}, "
            f"{self._progress.metric} {last}{self._left()}"
        )

    def _left(self) -> str:
        left = self._progress.seconds_left
        return f"  {format.clock_text(left)} left" if left else ""


def _run_line(event: RunStarted) -> str:
    to_run = format.counted(event.to_run, "trial") if event.to_run is not None else "trials"
    done = f", {event.done:,} done already" if event.done else ""
    workers = format.counted(event.workers, "worker")
    line = f"{event.name}: {to_run} to run{done}; {workers}; results in {event.folder}"
    return "\n".join([line, *(f"note: {note}" for note in event.notes)])


def _start_line(event: TrialStarted) -> str:
    """Only what takes time or surprises: a new program, or a trial that was begun before."""
    said = []
    if event.up_again:
        said.append(f"among the best after all, going on after epoch {event.epochs_done}")
    elif event.epochs_done:
        said.append(f"going on after epoch {event.epochs_done}")
    if event.first_of_structure:
        said.append(f"compiling a new structure ({format.values_text(event.values)})")
    return f"trial {event.number}: {', '.join(said)}" if said else ""


def workers_text(workers: Sequence[WorkerRecord]) -> str:
    """How well all workers together were used; nothing of a single one of this machine."""
    if not is_told(workers):
        return ""
    everyone = NodeRecord("", workers)
    return (
        f"{format.counted(len(workers), 'worker')}: {busy_text(everyone.utilization)} busy, "
        f"idle for {format.seconds_text(everyone.idle_seconds)} in all"
    )


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


# ---------------------------------------------------------------------- live


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

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)
        self._raise_what_drawing_raised()

    def __call__(self, event: Event) -> None:
        """Takes an event; what deserves to stay is printed above the panel."""
        self._raise_what_drawing_raised()
        with self._lock:
            self._progress.take(event)
            lines = lasting_lines(event, self._progress)
        # Trials stay on one line each; what is said once is read to its end.
        cut = isinstance(event, TrialEnded | TrialCompiled)
        for line in lines:
            self._console.print(line, no_wrap=cut, overflow="ellipsis" if cut else None, crop=True)

    def data_progress(self, what: str, num_bytes: int, total_bytes: int) -> None:
        """How far a data set is."""
        with self._lock:
            self._progress.data = (what, num_bytes, total_bytes)

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
        case RunEnded():
            told = workers_text(progress.workforce.records())
            return [Text(f"· {told}", "dim")] if told else []
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
    parts += _leader_lines(progress, inner, height - _HISTORY - len(parts) - 2)
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
        lines += [_head(trial, progress, width), _short_line(trial, progress, width)]
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


def _head(trial: ShownTrial, progress: RunProgress, width: int) -> Text:
    seed = f" · replicate {trial.replicate}" if trial.replicate else ""
    node = format.printable(progress.workforce.node(trial.worker))
    where = f" · worker {trial.worker}" if node or progress.workforce.is_many() else ""
    who = f"{seed}{where}{f' on {node}' if node else ''}"
    head = Text.assemble(
        (f"trial {trial.number}", "bold"), (who, "dim"), "  ", format.values_text(trial.values)
    )
    head.truncate(width, overflow="ellipsis")
    return head


def _trial_lines(trial: ShownTrial, progress: RunProgress, width: int) -> list[Text]:
    curve = _curve_line(trial, progress, width)
    return [_head(trial, progress, width), _epoch_line(trial, progress), curve]


def _epoch_line(trial: ShownTrial, progress: RunProgress) -> Text:
    if trial.is_compiling:
        seconds = format.clock_text(progress.clock() - trial.started_at)
        return Text(f"  compiling a new structure … {seconds}", "cyan")
    step_digits = len(str(trial.steps))
    line = _epoch_bar(trial)
    line.append(f" {trial.step:>{step_digits}}/{trial.steps}" if trial.steps else "", "dim")
    if not math.isnan(trial.loss):
        line.append_text(Text.assemble(("   loss ", "dim"), format.score_text(trial.loss)))
    return line


def _epoch_bar(trial: ShownTrial) -> Text:
    digits = len(str(trial.epochs))
    epoch = min(trial.epoch, trial.epochs)
    bar = _bar(trial.part, 10, "cyan")
    return Text.assemble(f"  epoch {epoch:>{digits}}/{trial.epochs} ", bar)


def _short_line(trial: ShownTrial, progress: RunProgress, width: int) -> Text:
    """Epoch, loss and objective on one line."""
    if trial.is_compiling:
        return _epoch_line(trial, progress)
    loss = format.score_text(None if math.isnan(trial.loss) else trial.loss)
    line = _epoch_bar(trial)
    line.append_text(Text.assemble(("  loss ", "dim"), loss))
    return line.append_text(_curve_line(trial, progress, width - line.cell_len))


def _curve_line(trial: ShownTrial, progress: RunProgress, width: int) -> Text:
    """Always one line, so that the panel keeps its height."""
    last = format.score_text(trial.last)
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
    lines += _worker_lines(progress)
    if progress.waiting:
        count = format.counted(len(progress.waiting), "trial")
        lines.append(Text.assemble(("waiting   ", "cyan"), f"{count} for others to compare with"))
    if progress.last_stopped is not None:
        last = progress.last_stopped
        told = f"{format.counted(progress.num_stopped, 'trial')}; trial {last.number}: "
        reason = format.first_line(last.reason)
        lines.append(Text.assemble(("stopped   ", "cyan"), told, (reason, "dim")))
    lines += _failure_lines(progress)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _worker_lines(progress: RunProgress) -> list[Text]:
    """All workers in one line, and where they are on several nodes, those of each in another."""
    workers = progress.workforce.records()
    if not is_told(workers):
        return []
    nodes = nodes_of(workers)
    on = f" on {format.counted(len(nodes), 'node')}" if nodes[-1].node else ""
    head = f"{len(workers):,}{on}: {_node_text(NodeRecord('', workers))}"
    lines = [Text.assemble(("workers   ", "cyan"), head)]
    if len(nodes) == 1:
        return lines
    widest = max(format.width(node.node or _HERE) for node in nodes[:_MAX_NODES])
    for node in nodes[:_MAX_NODES]:
        name = format.printable(node.node or _HERE)
        pad = " " * (widest - format.width(name))
        lines.append(Text(f"          {name}{pad}  {_node_text(node)}", "dim"))
    if hidden := len(nodes) - _MAX_NODES:
        lines += [Text(f"          and {hidden:,} more", "dim")] if hidden > 0 else []
    return lines


def _node_text(node: NodeRecord) -> str:
    parts = [f"{node.training:,} training"]
    parts += [f"{node.idle:,} idle"] if node.idle else []
    parts += [f"{node.starting:,} starting"] if node.starting else []
    return f"{', '.join(parts)} · {busy_text(node.utilization)} busy"


def _leader_lines(progress: RunProgress, width: int, room: int) -> list[Text]:
    """The best trials as a table in the rows that are free, with an empty one above it."""
    leaders = progress.leaders[: max(0, room - 1 - _HEAD)]
    if len(leaders) < 2:
        return []
    names = list(dict.fromkeys(name for leader in leaders for name in leader.values))
    short = format.short_names(names)
    columns = [
        Column("trial", "trial"),
        Column("score", "score", format.score_text),
        *(Column(name, short[name], format.value_text, rank=1) for name in names),
    ]
    rows = [
        (one.number, one.score, *(one.values.get(name, format.NOTHING) for name in names))
        for one in leaders
    ]
    lines = grid_lines(Table("", tuple(columns), tuple(rows)), width=width, rule=False)
    head = len(lines) - len(leaders)
    return [Text(""), *(Text(line, "dim" if i < head else "") for i, line in enumerate(lines))]


def _failure_lines(progress: RunProgress) -> list[Text]:
    lines = [
        Text.assemble(
            (f"{format.state_word(event.state):<10}", "red"),
            f"trial {event.number}: {format.first_line(event.reason)}",
        )
        for event in progress.failures
    ]
    hidden = progress.num_failures - len(lines)
    return [*lines, Text(f"          and {hidden} more", "dim")] if hidden else lines


def _idle_lines(progress: RunProgress) -> list[Text]:
    if progress.data is not None:
        what, num_bytes, total = progress.data
        share = min(1.0, num_bytes / total) if total else 0.0
        text = data_text(what, num_bytes, total)
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
