"""`tuner run`: runs what is missing of an experiment, and shows how it goes.

`retry` and `confirm` run other experiments in the same manner.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.cli.options import command_line, experiment_argument, running_options, set_option
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.report import format

if TYPE_CHECKING:
    from tuner.cli.progress import RunProgress
    from tuner.cli.view import SafeView
    from tuner.execution.events import Event, Listener, RunEnded
    from tuner.experiment.experiment import Experiment
    from tuner.experiment.trial import TrialState

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SOME_FAILED = 3
_INTERRUPTED = 130


@click.command("run")
@experiment_argument()
@set_option()
@click.option(
    "--engine", default="local", show_default=True, metavar="local|ray", help="Where workers run."
)
@click.option(
    "-m",
    "--max-trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="Try at most N configurations (search.max_trials).",
)
@click.option(
    "--reuse",
    multiple=True,
    metavar="NAME",
    help="Take over equal finished trials of another experiment. May be given often.",
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Keep event files for TensorBoard in results/NAME/tensorboard.",
)
@click.option("--dry-run", is_flag=True, help="As tuner plan.")
@running_options()
def command(
    experiment: Path,
    overrides: tuple[str, ...],
    engine: str,
    dry_run: bool,
    **others: Any,
) -> int:
    """Run what is missing of an experiment.

    Run again to continue; after an edit only what is new runs. Ctrl-C ends cleanly, and everything
    finished is kept. Exit status: 0 done, 2 the experiment is wrong, 3 some trials failed or
    diverged, 130 interrupted.
    """
    _check_engine(engine)
    options = RunOptions(experiment=experiment, overrides=overrides, **others)
    if dry_run:
        return _dry_run(options)
    return run_with(options, command_line(command, click.get_current_context().params))


def _check_engine(engine: str) -> None:
    """What a later version will do is never silently ignored."""
    if engine == "ray":
        what, expected = "not available in this version", "local"
    elif engine != "local":
        what, expected = "there is no such engine", "local, ray"
    else:
        return
    raise InputError(Problem(what, "--engine", received=engine, expected=expected))


def exit_status(ended: RunEnded) -> int:
    """What the shell is told of how a run ended."""
    from tuner.ledger.records import UNRANKED_STATES

    if ended.ending == "interrupted":
        return _INTERRUPTED
    failures = sum(ended.counts.get(state, 0) for state in UNRANKED_STATES)
    return _SOME_FAILED if failures or ended.ending == "failed" else 0


@dataclass(frozen=True)
class RunOptions:
    """What was typed behind a command that trains."""

    experiment: Path
    results_dir: Path
    workers: int | None
    gpus: str | None
    budget_seconds: float | None
    data_dir: Path | None
    fail_fast: bool
    silence_seconds: float | None
    quiet: bool
    as_json: bool
    overrides: tuple[str, ...] = ()
    max_trials: int | None = None
    reuse: tuple[str, ...] = ()
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """GPUs are checked before anything takes time.

        Raises:
            InputError: they are none, or more than workers.
        """
        from tuner.execution.devices import chosen_gpus

        problems: list[Problem] = []
        if self.gpus is not None and not self.gpu_names:
            problems.append(Problem("not a list of GPUs", "--gpus", self.gpus, "indices as 0,1"))
        chosen_gpus(self.gpu_names, os.environ)
        if self.num_workers < len(self.gpu_names):
            expected = f"at least {len(self.gpu_names)} workers, so that no GPU is idle"
            mend = "leave -j out, or name fewer GPUs"
            received = f"-j {self.workers} --gpus {self.gpus}"
            problems.append(Problem("more GPUs than workers", "--gpus", received, expected, mend))
        if problems:
            raise InputError(problems)

    @property
    def all_overrides(self) -> tuple[str, ...]:
        """-S and those options that change the experiment."""
        if self.max_trials is None:
            return self.overrides
        return (*self.overrides, f"search.max_trials={self.max_trials}")

    @property
    def num_workers(self) -> int:
        """What was typed, or else a worker for each GPU that was named."""
        return self.workers or max(1, len(self.gpu_names))

    @property
    def gpu_names(self) -> tuple[str, ...]:
        """The GPUs of --gpus, one by one."""
        return tuple(name.strip() for name in (self.gpus or "").split(",") if name.strip())


def run_with(options: RunOptions, again: str, *, retry: Sequence[TrialState] = ()) -> int:
    """Run what is missing and trials in the states of `retry`; gives the exit status.

    `again` is the command that continues.
    """
    from tuner.actions.page import write_run_page
    from tuner.experiment.experiment import load_experiment

    experiment = load_experiment(options.experiment, options.all_overrides)
    ended, stop = run_shown(experiment, options, again, retry=retry)
    folder = RunFolder(options.results_dir, experiment.name)
    unwritten = write_run_page(folder)
    if not stop.terminal_is_gone:
        if unwritten:
            click.echo(unwritten, err=True)
        _print_results(folder, ended, options)
        shown = folder.path if unwritten else folder.report
        say_how_it_ended(shown, ended, again, quiet=options.quiet)
    return exit_status(ended)


def run_shown(
    experiment: Experiment,
    options: RunOptions,
    again: str,
    *,
    retry: Sequence[TrialState] = (),
) -> tuple[RunEnded, StopRequest]:
    """Run an experiment and show how it goes; `again` is the command that continues it."""
    from tuner.execution.run import run_experiment
    from tuner.execution.scheduler import SILENCE_SECONDS

    stop = StopRequest()
    folder = RunFolder(options.results_dir, experiment.name)
    progress = _progress(experiment)
    write_files = _tensorboard_files(folder) if options.tensorboard else None
    with (
        _stopping(stop, progress, again, quiet=options.quiet),
        _view(progress, quiet=options.quiet) as view,
    ):

        def listener(event: Event) -> None:
            view(event)
            if write_files is not None:
                write_files(event)

        ended = run_experiment(
            experiment,
            results_dir=options.results_dir,
            data_dir=options.data_dir,
            reuse=[RunFolder.open(name, options.results_dir) for name in options.reuse],
            workers=options.num_workers,
            gpus=options.gpu_names,
            budget_seconds=options.budget_seconds,
            fail_fast=options.fail_fast,
            retry=retry,
            listener=listener,
            download_progress=view.download,
            silence_seconds=options.silence_seconds or SILENCE_SECONDS,
            stop=stop,
        )
    return ended, stop


def _tensorboard_files(folder: RunFolder) -> Listener:
    """Keeps the files of TensorBoard up to date, a trial at its end."""
    from tuner.actions.tensorboard import write_tensorboard
    from tuner.cli.view import Guarded
    from tuner.execution.events import RunEnded, RunStarted, TrialEnded

    guarded = Guarded("the files for TensorBoard are not complete")

    def take(event: Event) -> None:
        if isinstance(event, RunStarted | RunEnded):
            guarded(write_tensorboard, folder)
        elif isinstance(event, TrialEnded):
            guarded(write_tensorboard, folder, event.number)

    return take


class StopRequest(threading.Event):
    """Set by the first signal; SIGHUP says that nobody is left to print to."""

    terminal_is_gone = False


def _dry_run(options: RunOptions) -> int:
    from tuner.cli.plan import print_plan

    print_plan(
        options.experiment,
        options.all_overrides,
        lists=False,
        workers=options.num_workers,
        as_json=options.as_json,
        results_dir=options.results_dir,
        data_dir=options.data_dir,
    )
    return 0


# ---------------------------------------------------------------------- meanwhile


def _progress(experiment: Experiment) -> RunProgress:
    from tuner.cli.progress import RunProgress

    return RunProgress(experiment.objective, time.monotonic)


def _view(progress: RunProgress, *, quiet: bool) -> SafeView:
    """Redrawn on a terminal, lines elsewhere, nothing when quiet."""
    from tuner.cli.view import PlainLines, SafeView

    if quiet:
        return SafeView(PlainLines(progress, lambda line: None))
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return SafeView(PlainLines(progress, lambda line: click.echo(line, err=True)))
    from rich.console import Console

    from tuner.cli.live import LiveView

    return SafeView(LiveView(progress, Console(stderr=True)))


@contextmanager
def _stopping(
    stop: StopRequest, progress: RunProgress, again: str, *, quiet: bool
) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP asks the scheduler to end, the second ends at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.terminal_is_gone |= number == signal.SIGHUP
        if stop.is_set():
            if number == signal.SIGHUP:
                return  # a closing terminal sends it to all, perhaps after a Ctrl-C
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            raise KeyboardInterrupt
        stop.set()
        progress.is_stopping = True
        if not stop.terminal_is_gone and (quiet or not sys.stderr.isatty()):
            # Not click.echo: a signal may come in the middle of another write.
            os.write(2, b"stopping; press Ctrl-C again to stop at once\n")

    previous = {n: signal.signal(n, on_signal) for n in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"stopped at once; to continue: {again}", err=True)
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------------- after


def _print_results(folder: RunFolder, ended: RunEnded, options: RunOptions) -> None:
    from tuner.cli.report import document, table_text
    from tuner.report.record import read_record
    from tuner.report.trials_table import TableOptions

    record = read_record(folder)
    if options.as_json:
        outcome = {
            "ending": ended.ending,
            "seconds": ended.seconds,
            "status": exit_status(ended),
            "estimated_seconds": ended.estimate.seconds if ended.estimate else None,
        }
        terminal.echo_json({**document([record], TableOptions()), **outcome})
    elif record.rows:
        if sys.stderr.isatty() and not options.quiet:
            click.echo("", err=True)
        click.echo(table_text(record, TableOptions(top=20), terminal.style_for()), nl=False)


def say_how_it_ended(results: Path, ended: RunEnded, again: str, *, quiet: bool) -> None:
    """The last line: where the results are, or how to continue."""
    says = {
        "interrupted": f"interrupted; to continue: {again}",
        "budget": f"the budget is used up; to continue: {again}",
        "failed": f"stopped at a failed trial; to continue: {again}",
    }
    if ended.ending in says:
        click.echo(says[ended.ending], err=True)
    elif not quiet:
        took = f"{format.seconds_text(ended.seconds)}{_against_estimate(ended)}"
        click.echo(f"\ndone in {took}; results in {results}", err=True)


def _against_estimate(ended: RunEnded) -> str:
    """How far off the estimate was, if there was one."""
    found = ended.estimate
    if found is None or not ended.seconds or found.seconds is None:
        return ""
    most = "at most " if found.is_most else ""
    share = round(100 * (found.seconds / ended.seconds - 1))
    off = f", {abs(share)} % {'more' if share > 0 else 'less'}" if share else ""
    return f" (the estimate was {most}{format.seconds_text(found.seconds)}{off})"
