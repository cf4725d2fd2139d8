"""Runs that a Python program or a notebook begins: shown, told to a callback, kept in a page."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.actions.page import LivePage, write_run_page
from tuner.cli.options import engine_problems, gpu_problems
from tuner.cli.progress import RunProgress
from tuner.cli.view import view_in_python
from tuner.errors import InputError, Problem
from tuner.execution.events import Event, RunEnded, RunStarted
from tuner.execution.run import run_experiment
from tuner.experiment.duration import seconds_of
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.report.settled import settles


def data_folder(given: str | Path | None) -> Path | None:
    """The folder of data sets that a call, or else the environment, names; None for none."""
    named = given or os.environ.get("TUNER_DATA_DIR")
    return Path(named).expanduser() if named else None


def check_counts(**counts: int | None) -> None:
    """Refuses numbers that a command would refuse; None is a default.

    Raises:
        InputError: one is no whole number of at least 1.
    """
    problems = [
        Problem("is no such number", name, repr(count), "a whole number, at least 1")
        for name, count in counts.items()
        if count is not None and (type(count) is not int or count < 1)
    ]
    if problems:
        raise InputError(problems)


@dataclass(frozen=True)
class CalledRun:
    """What a call that trains was given; `tuner.run` says what each of it means."""

    data_dir: str | Path | None
    workers: int | None
    gpus: Sequence[str | int]
    budget: str | float | None
    fail_fast: bool
    on_event: Callable[[Event], object] | None
    progress: bool
    engine: str
    ray_address: str | None
    profile: bool = False

    def run(
        self,
        experiment: Experiment,
        results_dir: Path,
        reuse: Sequence[RunFolder] = (),
        retry: Sequence[TrialState] = (),
    ) -> RunEnded:
        """Runs what is missing, and keeps the page of the run up to date; also if it is ended."""
        self._check()
        budget = seconds_of(self.budget, "budget")
        folder = RunFolder(results_dir, experiment.name)
        begun = False
        shown = RunProgress(experiment.objective)
        try:
            with (
                view_in_python(shown, quiet=not self.progress) as view,
                LivePage(folder) as page,
            ):

                def listener(event: Event) -> None:
                    nonlocal begun
                    begun = begun or isinstance(event, RunStarted)
                    view(event)
                    page.listen(event)
                    if self.on_event is not None:
                        self.on_event(event)

                return run_experiment(
                    experiment,
                    results_dir=results_dir,
                    data_dir=data_folder(self.data_dir),
                    workers=self._num_workers,
                    gpus=self._gpu_names,
                    engine=self.engine,
                    ray_address=self.ray_address or os.environ.get("RAY_ADDRESS"),
                    budget_seconds=budget,
                    fail_fast=self.fail_fast,
                    reuse=reuse,
                    retry=retry,
                    settles=settles,
                    profile=self.profile,
                    listener=listener,
                    data_progress=view.data_progress,
                )
        finally:
            if begun:  # or a page that was written meanwhile would say for ever that it runs
                write_page(folder)

    def _check(self) -> None:
        check_counts(workers=self.workers)
        problems = list(engine_problems(self.engine, self.ray_address))
        if self._num_workers is not None:
            problems += gpu_problems(self._num_workers, self._gpu_names)
        if problems:
            raise InputError(problems)

    @property
    def _num_workers(self) -> int | None:
        """None: as many as a cluster has room for."""
        if self.workers is None and self.engine != "ray":
            return max(1, len(self._gpu_names))
        return self.workers

    @property
    def _gpu_names(self) -> tuple[str, ...]:
        """As `--gpus` takes them; indices may be numbers here."""
        given = self.gpus.split(",") if isinstance(self.gpus, str) else self.gpus
        return tuple(str(gpu).strip() for gpu in given)


def write_page(folder: RunFolder, *faults: str) -> None:
    """Writes report.html; what went wrong, also before, is a warning, for it hides no result."""
    for fault in filter(None, (*faults, write_run_page(folder))):
        warnings.warn(fault, RuntimeWarning, stacklevel=2)
