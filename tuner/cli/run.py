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
from tuner.cli.options import (
    command_line,
    count_option,
    engine_problems,
    experiment_argument,
    gpu_problems,
    running_options,
    set_option,
    with_typed_resources,
)
from tuner.errors import InputError, Problem
from tuner.execution.events import Event, Listener, RunEnded, RunStarted, TrialEnded
from tuner.ledger.folder import RunFolder
from tuner.ledger.records import UNRANKED_STATES
from tuner.report import format

if TYPE_CHECKING:
    from tuner.cli.progress import RunProgress
    from tuner.experiment.experiment import Experiment
    from tuner.experiment.trial import TrialState

# SIGUSR1 and SIGUSR2 are how batch systems say that the time is up soon.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_SOME_FAILED = 3
_INTERRUPTED = 130


@click.command("run")
@experiment_argument
@set_option
@count_option("-m", "--max-trials", text="Try at most N configurations (search.max_trials).")
@click.option(
    "--reuse",
    multiple=True,
    metavar="NAME",
    help="Take over equal finished trials of another experiment. May be repeated.",
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Keep event files for TensorBoard in results/NAME/tensorboard.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Say at the end where the time of each worker went, and how fast it trained.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would run, as tuner plan.")
@running_options
def command(
    experiment: Path,
    overrides: tuple[str, ...],
    dry_run: bool,
    **others: Any,
) -> int:
    """Run what is missing of an experiment.

    Run again to continue; after an edit only what is new runs. Ctrl-C ends cleanly, and everything
    finished is kept; so do SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2. Exit status: 0 done, 2 the
    experiment is wrong, 3 some trials failed or diverged, 130 interrupted.
    """
    options = RunOptions(experiment=experiment, overrides=overrides, **others)
    if not dry_run:
        return run_with(options, command_line(command, click.get_current_context().params))
    from tuner.cli.plan import print_plan

    places = (options.results_dir, options.data_dir)
    print_plan(options.load(), options.num_workers, *places, as_json=options.as_json)
    return 0


def exit_status(ended: RunEnded) -> int:
    """What the shell is told of how a run ended."""
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
    engine: str
    ray_address: str | None
    shared_from_bytes: int | None
    fail_fast: bool
    silence_seconds: float | None
    quiet: bool
    as_json: bool
    overrides: tuple[str, ...] = ()
    max_trials: int | None = None
    reuse: tuple[str, ...] = ()
    tensorboard: bool = False
    profile: bool = False
    cpus_per_worker: int | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        """Engine and GPUs are checked before anything takes time.

        Raises:
            InputError: they are none, or more than workers.
        """
        from tuner.execution.devices import chosen_gpus

        problems = list(self._engine_problems())
        if self.gpus is not None and not self.gpu_names:
            problems.append(Problem("not a list of GPUs", "--gpus", self.gpus, "indices as 0,1"))
        chosen_gpus(self.gpu_names, os.environ)
        problems += gpu_problems(self.num_workers, self.gpu_names)
        if problems:
            raise InputError(problems)
        if self.engine == "ray":
            from tuner.execution.ray_cluster import check_installed, check_reachable

            check_installed()
            if self.address is not None:
                check_reachable(self.address)

    @property
    def address(self) -> str | None:
        """Of the Ray cluster, if there is one already."""
        return self.ray_address or os.environ.get("RAY_ADDRESS") or None

    def _engine_problems(self) -> Iterator[Problem]:
        yield from engine_problems(self.engine, self.ray_address)
        if self.engine == "local" and self.shared_from_bytes is not None:
            what = "workers of this machine have the folder anyway"
            size = f"{self.shared_from_bytes:,} bytes"
            yield Problem(what, "--shared-from", size, "", "--engine ray")
        elif self.engine == "ray" and self.gpus is not None:
            mend = "--gpus-per-worker N, or hide some with CUDA_VISIBLE_DEVICES where Ray starts"
            what = "on a cluster Ray chooses the GPUs"
            yield Problem(what, "--gpus", self.gpus, "", mend)

    def load(self) -> Experiment:
        """The experiment with -S and those options that change it."""
        from tuner.experiment.experiment import load_experiment

        limit = [] if self.max_trials is None else [f"search.max_trials={self.max_trials}"]
        return self.on_workers(load_experiment(self.experiment, (*self.overrides, *limit)))

    def on_workers(self, experiment: Experiment) -> Experiment:
        """The experiment with the resources of a worker that were typed."""
        return with_typed_resources(experiment, self.cpus_per_worker, self.gpus_per_worker)

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

    experiment = options.load()
    with going_on_by(again):
        ended, stop = run_shown(experiment, options, retry=retry)
        folder = RunFolder(options.results_dir, experiment.name)
        unwritten = write_run_page(folder)
        if not stop.terminal_is_gone:
            if unwritten:
                click.echo(unwritten, err=True)
            _print_results(folder, ended, options)
            shown = folder.path if unwritten else folder.report
            say_how_it_ended(shown, ended, again, quiet=options.quiet)
    return exit_status(ended)


@contextmanager
def going_on_by(again: str) -> Iterator[None]:
    """Whoever interrupts at once is told how to continue, also while results are written."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"stopped at once; to continue: {again}", err=True)
        raise


def run_shown(
    experiment: Experiment, options: RunOptions, *, retry: Sequence[TrialState] = ()
) -> tuple[RunEnded, StopRequest]:
    """Run an experiment and show how it goes."""
    from tuner.actions.page import LivePage
    from tuner.cli.progress import RunProgress
    from tuner.cli.view import view_of
    from tuner.execution.run import run_experiment
    from tuner.execution.scheduler import SILENCE_SECONDS
    from tuner.report.settled import settles

    stop = StopRequest()
    folder = RunFolder(options.results_dir, experiment.name)
    progress = RunProgress(experiment.objective, time.monotonic)
    write_files = _tensorboard_files(folder) if options.tensorboard else None
    with (
        _stopping(stop, progress, quiet=options.quiet),
        view_of(progress, quiet=options.quiet) as view,
        LivePage(folder) as page,
    ):

        def listener(event: Event) -> None:
            view(event)
            page.listen(event)
            if write_files is not None:
                write_files(event)

        ended = run_experiment(
            experiment,
            results_dir=options.results_dir,
            data_dir=options.data_dir,
            reuse=[RunFolder.open(name, options.results_dir) for name in options.reuse],
            workers=options.workers if options.engine == "ray" else options.num_workers,
            gpus=options.gpu_names,
            engine=options.engine,
            ray_address=options.address,
            shared_from_bytes=options.shared_from_bytes,
            budget_seconds=options.budget_seconds,
            fail_fast=options.fail_fast,
            retry=retry,
            listener=listener,
            data_progress=view.data_progress,
            silence_seconds=options.silence_seconds or SILENCE_SECONDS,
            settles=settles,
            profile=options.profile,
            stop=stop,
        )
    return ended, stop


def _tensorboard_files(folder: RunFolder) -> Listener:
    """Keeps the files of TensorBoard up to date, a trial at its end."""
    from tuner.actions.tensorboard import write_tensorboard
    from tuner.cli.view import Guarded

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


# ---------------------------------------------------------------------- meanwhile


@contextmanager
def _stopping(stop: StopRequest, progress: RunProgress, *, quiet: bool) -> Iterator[None]:
    """The first signal asks the scheduler to end; Ctrl-C after it ends at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.terminal_is_gone |= number == signal.SIGHUP
        if stop.is_set():
            if number != signal.SIGINT:
                return  # batch systems, shells that pass them on and terminals send several
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
            "left_out": ended.left_out.to_json() if ended.left_out else None,
            "enough": ended.enough or None,
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
        "budget": ended.used_up or f"the budget is used up; to continue: {again}",
        "failed": f"stopped at a failed trial; to continue: {again}",
    }
    if ended.ending in says:
        click.echo(says[ended.ending], err=True)
    elif not quiet:
        took = f"{format.seconds_text(ended.seconds)}{_against_estimate(ended)}"
        click.echo(f"\ndone in {took}\nresults in {results}", err=True)
        if ended.enough:
            click.echo(f"search.enough has ended the search: {ended.enough}", err=True)


def _against_estimate(ended: RunEnded) -> str:
    """How far off the estimate was, if there was one."""
    estimate = ended.estimate
    if estimate is None or not ended.seconds or estimate.seconds is None:
        return ""
    most = "at most " if estimate.is_most else ""
    ratio = ended.seconds / estimate.seconds
    if 0.995 < ratio < 1.005:
        return ", as estimated"
    return f", {ratio:.2g} times the estimate ({most}{format.seconds_text(estimate.seconds)})"
