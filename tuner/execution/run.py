"""One run of an experiment, from the checks before it to the tables after it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tuner.data.dataset import DatasetInfo, Progress
from tuner.data.images import fetch
from tuner.errors import TunerError
from tuner.execution.checks import (
    TrialCosts,
    check_backend,
    check_same_data,
    check_worker_data,
    notes,
    worker_setup,
)
from tuner.execution.current import mark_current
from tuner.execution.devices import chosen_gpus, visible_gpus
from tuner.execution.estimate import (
    Here,
    estimate_begun,
    estimate_text,
    keep_speeds,
)
from tuner.execution.events import Event, Listener, Notice, RunEnded, RunStarted
from tuner.execution.networks import CheckedExperiment, check_experiment
from tuner.execution.pools import LocalPool, Pool
from tuner.execution.protocol import Ready, not_finite
from tuner.execution.queue import TrialQueue, read_history
from tuner.execution.recorder import Recorder
from tuner.execution.reuse import take_over
from tuner.execution.scheduler import SILENCE_SECONDS, Scheduler
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Trial, TrialState
from tuner.ledger import checkpoint
from tuner.ledger.backup import keep_copy
from tuner.ledger.environment import environment_record
from tuner.ledger.estimate import Estimate
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost
from tuner.search import Search
from tuner.search.stopping import StoppingRule, make_rule


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
    retry: Sequence[TrialState] = (),
    reuse: Sequence[RunFolder] = (),
    silence_seconds: float = SILENCE_SECONDS,
    listener: Listener = _unheard,
    data_progress: Progress | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RunEnded:
    """Run what is missing of an experiment; its folder is results_dir/NAME.

    Trials in the states of `retry` are run again; finished ones of the experiments in `reuse` are
    taken over.

    Raises:
        InputError: the experiment, its data or its folder is wrong; nothing was written.
        TunerError: another process runs it, or workers cannot start.
    """
    started = clock()
    gpus = chosen_gpus(gpus, os.environ)
    check_backend(experiment)
    stop = stop or threading.Event()
    progress = _until(stop, data_progress)
    checked = check_experiment(experiment, data_dir, progress)
    experiment, info, search = checked.experiment, checked.info, checked.search()
    fetch(experiment.data, data_dir, progress)
    folder = RunFolder(results_dir, experiment.name)
    folder.prepare(experiment.source)
    with folder.lock(), Ledger.create_or_open(folder.ledger, experiment.name) as ledger:
        if notice := keep_copy(folder.ledger):
            listener(Notice(notice))
        parts = _RunParts(checked, search, folder, ledger, listener, clock)
        _keep_what_it_is(parts)
        _take_over(parts, reuse)
        begun = _begin(parts, workers, retry=retry)
        gpus = gpus or (visible_gpus(os.environ) if workers > 1 else [])
        here = Here(workers, gpus, os.environ)
        estimate, networks = estimate_begun(search, info, ledger, done=begun.done, here=here)
        listener(_with_estimate(begun, estimate))
        ending = _train(
            parts,
            _pool(experiment, folder, data_dir, workers, gpus),
            workers,
            stop,
            budget_seconds=_least(budget_seconds, experiment.search.budget_seconds),
            fail_fast=fail_fast,
            silence_seconds=silence_seconds,
        )
        keep_speeds(ledger, networks, experiment, here)
        _say_what_else_is_left_out(checked, begun, listener)
        ended = RunEnded(
            ending=ending,
            counts=ledger.counts(),
            best=next(iter(ledger.top(1)), None),
            seconds=clock() - started,
            to_run=begun.to_run,
            estimate=estimate if ending == "done" and estimate.seconds else None,
            left_out=checked.left_out_so_far(),
        )
    listener(ended)
    return ended


@dataclass(frozen=True)
class _RunParts:
    """What the parts of a run share."""

    checked: CheckedExperiment
    search: Search
    folder: RunFolder
    ledger: Ledger
    listener: Listener
    clock: Callable[[], float]

    @property
    def experiment(self) -> Experiment:
        """Without what cannot be built."""
        return self.checked.experiment

    @property
    def info(self) -> DatasetInfo:
        """Of its data."""
        return self.checked.info


def _keep_what_it_is(parts: _RunParts) -> None:
    """Experiment and data, for whoever reads the results or goes on with them.

    Which trials are current comes with it, so that whatever stops the run after this leaves a
    folder whose experiment and results belong together.
    """
    experiment, ledger = parts.experiment, parts.ledger
    where = experiment.where("data.dataset")
    record = check_same_data(ledger.data_record, experiment.data, parts.info, where)
    ledger.keep_data_record(record)
    write_atomically(parts.folder.experiment, experiment.to_yaml())
    ledger.keep_experiment(experiment.to_yaml())
    ledger.set_objective(experiment.objective)
    mark_current(parts.search, ledger)
    for row in () if parts.checked.is_whole else ledger.rows():
        if row.state is not TrialState.FAILED:
            parts.checked.networks.trust(row.configuration)


def _take_over(parts: _RunParts, others: Sequence[RunFolder]) -> None:
    for other in others:
        count = take_over(parts.search, parts.ledger, other)
        parts.listener(Notice(f"{count} finished trials taken over from {other.path}"))


def _train(
    parts: _RunParts,
    pool: Pool,
    workers: int,
    stop: threading.Event,
    *,
    budget_seconds: float | None,
    fail_fast: bool,
    silence_seconds: float,
) -> str:
    """Run what is missing; the table is kept however it ends."""
    experiment, folder, ledger = parts.experiment, parts.folder, parts.ledger
    csv = TrialsCsv(folder.trials_csv, ledger)
    try:
        scheduler = make_scheduler(
            parts.search,
            ledger,
            pool,
            csv=csv,
            checkpoints=folder.checkpoints,
            cost=TrialCosts(parts.info),
            listener=parts.listener,
            on_ready=_environment_writer(experiment, folder, ledger, parts.info),
            silence_seconds=silence_seconds,
            clock=parts.clock,
        )
        return scheduler.run(
            workers,
            stop,
            budget_seconds=budget_seconds,
            budget_epochs=_epochs_left(experiment, ledger),
            fail_fast=fail_fast,
        )
    finally:
        _write_csv(csv, parts.listener)


def _begin(parts: _RunParts, workers: int, *, retry: Sequence[TrialState]) -> RunStarted:
    """Put all in order after whatever ended the last run, and count what there is to do."""
    experiment, folder, ledger = parts.experiment, parts.folder, parts.ledger
    ledger.interrupted()
    named = {row.file for row in ledger.checkpoints()}
    checkpoint.remove(folder.checkpoints, checkpoint.rubbish(folder.checkpoints, named))
    if retry:
        ledger.retry(retry)
    outcomes = ledger.counts()
    done = sum(outcomes[state] for state in FINISHED_STATES)
    left_out = parts.checked.looked_ahead(parts.search)
    total, planned = parts.search.total_trials, parts.search.planned_epochs
    epochs_to_run = None if planned is None else max(0, planned - ledger.trained_epochs())
    ledger.begin_run(total=total, done=done, workers=workers, epochs_to_run=epochs_to_run)
    return RunStarted(
        name=experiment.name,
        total=total,
        done=done,
        to_run=None if total is None else total - done,
        workers=workers,
        folder=str(folder.path),
        notes=(*notes(experiment, total, parts.info), *left_out.notes(), *_superseded(ledger)),
        epochs_to_run=epochs_to_run,
        epochs_trained=ledger.trained_epochs(),
        best=next(iter(ledger.top(1)), None),
    )


def _superseded(ledger: Ledger) -> Iterator[str]:
    """What an edit supersedes is never thrown away, nor counted where it does not belong."""
    if number := ledger.num_superseded():
        count = f"{number:,} trial{'s' * (number > 1)}"
        yield f"{count} of earlier versions of this experiment are kept, and count no more"


def _say_what_else_is_left_out(
    checked: CheckedExperiment, begun: RunStarted, listener: Listener
) -> None:
    """What turned up on the way and was not said at the beginning."""
    for note in checked.left_out_so_far().notes():
        if note not in begun.notes:
            listener(Notice(note))


def _with_estimate(begun: RunStarted, estimate: Estimate) -> RunStarted:
    """Says it beside the other notes."""
    if estimate.seconds is None:
        return replace(begun, estimate=estimate)
    note = f"it takes {estimate_text(estimate)}; {estimate.basis}"
    return replace(begun, estimate=estimate, notes=(*begun.notes, note))


def _write_csv(csv: TrialsCsv, listener: Listener) -> None:
    """The table follows from the ledger: a full disk must not hide what else there is to say."""
    try:
        csv.write()
    except (OSError, TunerError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        listener(Notice(f"trials.csv could not be written: {reason}; the next run writes it"))


def _until(stop: threading.Event, progress: Progress | None) -> Progress:
    """Progress of a download or a reading, which ends when the person asks for it."""

    def on_bytes(what: str, done: int, total: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        if progress:
            progress(what, done, total)

    return on_bytes


def _pool(
    experiment: Experiment,
    folder: RunFolder,
    data_dir: Path | None,
    workers: int,
    gpus: Sequence[str],
) -> LocalPool:
    setup = worker_setup(experiment, data_dir, folder.checkpoints)
    environment = dict(os.environ)
    return LocalPool(setup, workers=workers, logs=folder.logs, environment=environment, gpus=gpus)


def _epochs_left(experiment: Experiment, ledger: Ledger) -> int | None:
    most = experiment.search.max_epochs
    return None if most is None else most - ledger.epochs_here()


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
            data={
                **ready.hashes,
                "num_classes": info.num_classes,
                "num_test": info.num_test,
            },
            device=ready.device,
        )
        if info.source:
            record["images"] = {
                "source": info.source,
                "pixels": str(info.pixels),
                "class_names": list(info.class_names),
            }
        ledger.event("environment", record)
        write_atomically(folder.environment, json.dumps(record, indent=2) + "\n")

    return write


# ---------------------------------------------------------------------- a scheduler, put together


def make_scheduler(
    search: Search,
    ledger: Ledger,
    pool: Pool,
    *,
    csv: TrialsCsv,
    checkpoints: Path,
    cost: Callable[[Trial], Cost | None],
    listener: Listener,
    on_ready: Callable[[Ready], None],
    silence_seconds: float = SILENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Scheduler:
    """A scheduler for what is missing of an experiment; `mark_current` comes before.

    `checkpoints` is their folder; see `Recorder` and `Scheduler`.
    """
    experiment = search.experiment
    queue = TrialQueue(search, read_history(search, ledger))
    recorder = Recorder(
        ledger,
        objective=experiment.objective,
        csv=csv,
        cost=cost,
        checkpoints=checkpoints,
        listener=listener,
    )
    return Scheduler(
        queue,
        pool,
        recorder,
        on_ready=on_ready,
        rule=_restored(make_rule(experiment), ledger),
        exempt=ledger.exempt,
        silence_seconds=silence_seconds,
        clock=clock,
    )


def _restored(rule: StoppingRule | None, ledger: Ledger) -> StoppingRule | None:
    """A rule that knows every epoch of the ledger."""
    if rule is None:
        return None
    for row in ledger.epochs():
        if not not_finite(row.metrics):
            rule.note(row.number, row.epoch, row.metrics)
    for known in ledger.by_key().values():
        if known.state in FINISHED_STATES:
            rule.end(known.number)
    return rule
