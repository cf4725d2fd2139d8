"""`tuner run`: runs what is missing of an experiment, and shows how it goes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.cli.options import experiment_argument, running_options, set_option
from tuner.cli.run_options import RunOptions, continue_line, refuse_unavailable
from tuner.ledger.folder import RunFolder
from tuner.report import words

if TYPE_CHECKING:
    from tuner.cli.live import LiveView
    from tuner.cli.plain import PlainLines
    from tuner.cli.progress import RunProgress
    from tuner.execution.messages import Event, Listener, RunEnded
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
    options = RunOptions(experiment=experiment, overrides=overrides, **others)
    refuse_unavailable(engine, options)
    if dry_run:
        return _dry_run(options)
    return run_with(options)


def exit_status(ended: RunEnded) -> int:
    """What the shell is told of how a run ended."""
    from tuner.ledger.records import UNRANKED_STATES

    if ended.ending == "interrupted":
        return _INTERRUPTED
    failures = sum(ended.counts.get(state, 0) for state in UNRANKED_STATES)
    return _SOME_FAILED if failures or ended.ending == "failed" else 0


def run_with(options: RunOptions, *, retry: Sequence[TrialState] = ()) -> int:
    """Run what is missing and trials in the states of `retry`; gives the exit status."""
    from tuner.experiment.experiment import load_experiment

    experiment = load_experiment(options.experiment, options.all_overrides)
    again = continue_line(options)
    ended, stop = run_shown(experiment, options, again=again, retry=retry)
    unwritten = write_report(RunFolder(options.results_dir, experiment.name))
    if not stop.terminal_is_gone:
        if unwritten:
            click.echo(unwritten, err=True)
        _print_results(experiment, ended, options)
        folder = RunFolder(options.results_dir, experiment.name)
        shown = folder.path if unwritten else folder.report
        say_how_it_ended(shown, ended, again, quiet=options.quiet)
    return exit_status(ended)


def run_shown(
    experiment: Experiment,
    options: RunOptions,
    *,
    again: str,
    retry: Sequence[TrialState] = (),
) -> tuple[RunEnded, StopRequest]:
    """Run an experiment and show how it goes; `again` is the command that continues it."""
    from tuner.cli.sturdy import SturdyView
    from tuner.execution.run import run_experiment
    from tuner.execution.scheduler import SILENCE_SECONDS

    stop = StopRequest()
    progress = _progress(experiment)
    with (
        _stopping(stop, progress, again, quiet=options.quiet),
        _tensorboard(RunFolder(options.results_dir, experiment.name), options) as board,
        SturdyView(_view(progress, options)) as view,
    ):
        ended = run_experiment(
            experiment,
            results_dir=options.results_dir,
            data_dir=options.data_dir,
            reuse=options.reused(),
            workers=options.num_workers,
            gpus=options.gpu_names,
            budget_seconds=options.budget_seconds,
            fail_fast=options.fail_fast,
            retry=retry,
            listener=_all(view, board),
            download_progress=view.download,
            silence_seconds=options.silence_seconds or SILENCE_SECONDS,
            stop=stop,
        )
    return ended, stop


def _all(*listeners: Listener) -> Listener:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


@contextmanager
def _tensorboard(folder: RunFolder, options: RunOptions) -> Iterator[Listener]:
    """What writes for TensorBoard, if that was asked for."""
    if not options.tensorboard:
        yield lambda event: None
        return
    from tuner.execution.tensorboard import TensorBoardWriter, check_tensorboard

    check_tensorboard()
    writer = TensorBoardWriter(folder)
    try:
        yield writer
    finally:
        if error := writer.close():
            click.echo(f"the files for TensorBoard are not complete: {error}", err=True)


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


def _view(progress: RunProgress, options: RunOptions) -> LiveView | PlainLines:
    """Redrawn on a terminal, lines elsewhere, nothing when quiet."""
    from tuner.cli.plain import PlainLines

    if options.quiet:
        return PlainLines(progress, lambda line: None)
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return PlainLines(progress, lambda line: click.echo(line, err=True))
    from rich.console import Console

    from tuner.cli.live import LiveView

    return LiveView(progress, Console(stderr=True))


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


def write_report(folder: RunFolder) -> str:
    """Writes report.html; gives what went wrong, which must not hide what the run has found."""
    from tuner.report.page import write_page

    try:
        write_page([folder], folder.report)
    except OSError as error:
        reason = error.strerror or str(error)
        return f"report.html could not be written: {reason}; tuner report -f html writes it"
    return ""


def _print_results(experiment: Experiment, ended: RunEnded, options: RunOptions) -> None:
    from tuner.cli.report import document, table_text
    from tuner.report.record import read_record
    from tuner.report.tabular.tables import TableOptions

    record = read_record(RunFolder(options.results_dir, experiment.name))
    if options.as_json:
        found = document([record], TableOptions())
        outcome = {"ending": ended.ending, "seconds": ended.seconds, "status": exit_status(ended)}
        outcome["estimated_seconds"] = ended.estimate.seconds if ended.estimate else None
        terminal.echo_json({**found, **outcome})
    elif record.rows:
        if sys.stderr.isatty() and not options.quiet:
            click.echo("", err=True)
        click.echo(table_text(record, TableOptions(top=20)), nl=False)


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
        took = f"{words.seconds_text(ended.seconds)}{_against_estimate(ended)}"
        click.echo(f"\ndone in {took}; results in {results}", err=True)


def _against_estimate(ended: RunEnded) -> str:
    """How far off the estimate was, if there was one."""
    found = ended.estimate
    if found is None or not ended.seconds:
        return ""
    most = "at most " if found.is_most else ""
    share = round(100 * (found.seconds / ended.seconds - 1))
    off = f", {abs(share)} % {'more' if share > 0 else 'less'}" if share else ""
    return f" (the estimate was {most}{words.seconds_text(found.seconds)}{off})"
