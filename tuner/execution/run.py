"""One run of an experiment, from the checks before it to the tables after it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tuner.data.dataset import DatasetInfo, Progress
from tuner.data.images import check, fetch
from tuner.execution.checks import check_backend, check_networks, check_sizes
from tuner.execution.costs import TrialCosts
from tuner.execution.data_guard import check_same_data, check_worker_data
from tuner.execution.local import LocalPool
from tuner.execution.messages import (
    Event,
    Listener,
    Notice,
    Ready,
    RunEnded,
    RunStarted,
    WorkerSetup,
)
from tuner.execution.plan import count_planned, notes, settle_plan, total_trials
from tuner.execution.queue import TrialQueue
from tuner.execution.scheduler import SILENCE_SECONDS, Scheduler
from tuner.experiment.experiment import Experiment
from tuner.ledger import checkpoint
from tuner.ledger.environment import environment_record
from tuner.ledger.environment import gpus as installed_gpus
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, UNRANKED_STATES
from tuner.ledger.table import TrialsCsv
from tuner.search import make_method


def _unheard(event: Event) -> None:
    return None


def run_experiment(
    experiment: Experiment,
    *,
    results_dir: Path,
    data_dir: Path | None = None,
    workers: int = 1,
    gpus: Sequence[str] = (),
    budget_seconds: float | None = None,
    fail_fast: bool = False,
    retry: bool = False,
    silence_seconds: float = SILENCE_SECONDS,
    listener: Listener = _unheard,
    download_progress: Progress | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RunEnded:
    """Run what is missing of an experiment; its folder is results_dir/NAME.

    Raises:
        InputError: the experiment, its data or its folder is wrong; nothing was written.
        TunerError: another process runs it, or workers cannot start.
    """
    started = clock()
    method = make_method(experiment)
    check_backend(experiment)
    info = check(experiment.data, data_dir)
    check_sizes(experiment, info)
    check_networks(experiment, info)
    stop = stop or threading.Event()
    fetch(experiment.data, data_dir, _until(stop, download_progress))
    folder = RunFolder(results_dir, experiment.name)
    folder.prepare()
    with folder.lock(), Ledger.create_or_open(folder.ledger, experiment.name) as ledger:
        where = experiment.where("data.dataset")
        ledger.keep_data_record(check_same_data(ledger.data_record, experiment.data, info, where))
        write_atomically(folder.experiment, experiment.to_yaml())
        ledger.keep_experiment(experiment.to_yaml())
        begun = _begin(experiment, ledger, folder, info, workers, retry=retry)
        listener(begun)
        queue = TrialQueue(experiment, method, ledger.by_key(), info.fingerprint)
        csv = TrialsCsv(folder.trials_csv, ledger)
        ending = "done"
        try:
            if not queue.is_empty():
                scheduler = Scheduler(
                    experiment,
                    queue,
                    _pool(experiment, folder, data_dir, workers, gpus),
                    ledger,
                    csv=csv,
                    cost=TrialCosts(info),
                    listener=listener,
                    on_ready=_environment_writer(experiment, folder, ledger, info),
                    checkpoints=folder.checkpoints,
                    silence_seconds=silence_seconds,
                    clock=clock,
                )
                budget = _least(budget_seconds, experiment.search.budget_seconds)
                ending = scheduler.run(workers, stop, budget_seconds=budget, fail_fast=fail_fast)
        finally:
            _write_csv(csv, listener)
        ended = RunEnded(
            ending=ending,
            counts=count_planned(experiment, info.fingerprint, ledger),
            best=next(iter(ledger.top(1)), None),
            seconds=clock() - started,
            to_run=begun.to_run,
        )
    listener(ended)
    return ended


def _begin(
    experiment: Experiment,
    ledger: Ledger,
    folder: RunFolder,
    info: DatasetInfo,
    workers: int,
    *,
    retry: bool,
) -> RunStarted:
    """Put all in order after whatever ended the last run, and count what there is to do."""
    ledger.set_objective(experiment.objective.metric, experiment.objective.direction)
    ledger.interrupted()
    if retry:
        ledger.retry(UNRANKED_STATES)
    named = {row.file for row in ledger.checkpoints()}
    checkpoint.remove(folder.checkpoints, checkpoint.rubbish(folder.checkpoints, named))
    outcomes = settle_plan(experiment, info.fingerprint, ledger)
    done = sum(outcomes[state] for state in FINISHED_STATES)
    total = total_trials(experiment)
    ledger.begin_run(total=total, done=done, workers=workers)
    return RunStarted(
        name=experiment.name,
        total=total,
        done=done,
        to_run=None if total is None else total - done,
        workers=workers,
        folder=str(folder.path),
        epochs=_epochs(experiment),
        notes=tuple(notes(experiment, total)),
    )


def _write_csv(csv: TrialsCsv, listener: Listener) -> None:
    """The table follows from the ledger: a full disk must not hide what else there is to say."""
    try:
        csv.write()
    except OSError as error:
        reason = error.strerror or str(error)
        listener(Notice(f"trials.csv could not be written: {reason}; the next run writes it"))


def _until(stop: threading.Event, progress: Progress | None) -> Progress:
    """Progress of a download that ends when the person asks for it."""

    def on_bytes(done: int, total: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        if progress:
            progress(done, total)

    return on_bytes


def _pool(
    experiment: Experiment,
    folder: RunFolder,
    data_dir: Path | None,
    workers: int,
    gpus: Sequence[str],
) -> LocalPool:
    setup = WorkerSetup(experiment.backend, experiment.data, data_dir, folder.checkpoints)
    environment = dict(os.environ)
    if workers > 1 and not gpus:
        gpus = visible_gpus(environment)
    return LocalPool(setup, workers=workers, logs=folder.logs, environment=environment, gpus=gpus)


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that several workers share out: those of CUDA_VISIBLE_DEVICES, or all."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(gpu.index) for gpu in installed_gpus()]


def _epochs(experiment: Experiment) -> int:
    """The longest training in the space, for a front end's first guess."""
    branches = experiment.space.branches
    closed = [int(branch.training["epochs"]) for branch in branches]
    opened = [
        max(axis.support) for b in branches for axis in b.axes if axis.name == "training.epochs"
    ]
    return int(max(closed + opened))


def _least(*budgets: float | None) -> float | None:
    given = [budget for budget in budgets if budget is not None]
    return min(given, default=None)


def _environment_writer(
    experiment: Experiment, folder: RunFolder, ledger: Ledger, info: DatasetInfo
) -> Callable[[Ready], None]:
    """Writes environment.json once a run, when the first worker has read the data.

    The file is of the last run; the ledger's events keep those of all. Every later worker must
    have read the same data.
    """
    first: Mapping[str, str] | None = None

    def write(ready: Ready) -> None:
        nonlocal first
        check_worker_data(info, first, ready.hashes)
        if first is not None:
            return
        first = ready.hashes
        record = environment_record(
            backend=experiment.backend,
            precision=experiment.precision,
            data={**ready.hashes, "num_classes": info.num_classes},
            device=ready.device,
        )
        ledger.event("environment", record)
        write_atomically(folder.environment, json.dumps(record, indent=2) + "\n")

    return write
