"""One run of an experiment, from the checks before it to the tables after it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from tuner.data.dataset import DatasetInfo, Progress
from tuner.data.images import fetch
from tuner.errors import TunerError
from tuner.execution.checks import (
    PACKAGES,
    TrialCosts,
    check_backend,
    check_engine,
    check_same_data,
    check_worker_data,
    notes,
    worker_setup,
)
from tuner.execution.current import mark_current
from tuner.execution.devices import check_shares
from tuner.execution.estimate import (
    Here,
    estimate_begun,
    estimate_text,
    keep_speeds,
    rough_text,
)
from tuner.execution.events import Event, Listener, Notice, RunEnded, RunStarted
from tuner.execution.half_precision import precision_notes
from tuner.execution.networks import CheckedExperiment, check_experiment
from tuner.execution.pools import LocalPool, Pool
from tuner.execution.profiler import Profiler
from tuner.execution.protocol import Ready, not_finite
from tuner.execution.queue import TrialQueue, read_history, unfinished_trials, why_enough
from tuner.execution.recorder import Recorder
from tuner.execution.reuse import take_over
from tuner.execution.scheduler import SILENCE_SECONDS, Scheduler
from tuner.experiment.experiment import Experiment
from tuner.experiment.schema import AshaStop
from tuner.experiment.trial import Trial, TrialState
from tuner.ledger import checkpoint
from tuner.ledger.backup import keep_copy
from tuner.ledger.environment import environment_record
from tuner.ledger.estimate import Estimate
from tuner.ledger.folder import RunFolder, network_file_system, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import OTHER, PREPARING, Stopwatch
from tuner.ledger.records import FINISHED_STATES, RANKED_STATES
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost
from tuner.search import Search
from tuner.search.enough import Settles
from tuner.search.stopping import StoppingRule, make_rule

if TYPE_CHECKING:
    from tuner.execution.ray_cluster import RayCluster


def _unheard(event: Event) -> None:
    return None


def run_experiment(
    experiment: Experiment,
    *,
    results_dir: Path,
    data_dir: Path | None = None,
    workers: int | None = 1,
    gpus: Sequence[str] = (),
    engine: str = "local",
    ray_address: str | None = None,
    shared_from_bytes: int | None = None,
    budget_seconds: float | None = None,
    fail_fast: bool = False,
    retry: Sequence[TrialState] = (),
    reuse: Sequence[RunFolder] = (),
    silence_seconds: float = SILENCE_SECONDS,
    settles: Settles | None = None,
    profile: bool = False,
    listener: Listener = _unheard,
    data_progress: Progress | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RunEnded:
    """Run what is missing of an experiment; its folder is results_dir/NAME.

    With the engine `ray` workers are on the cluster at `ray_address`, or on a Ray that is started
    for this run; without a number of `workers` there are as many as it has room for, and no more
    than trials. Checkpoints of `shared_from_bytes` and more go through the results folder, which
    all its nodes must share. Trials in the states of `retry` are run again; finished ones of the
    experiments in `reuse` are taken over. `settles` is what `search.enough: {rule: settled}` asks
    (`tuner.report.settled`). With `profile` the ledger keeps where the time went.

    Raises:
        InputError: the experiment, its data or its folder is wrong; nothing was written.
        TunerError: another process runs it, or workers cannot start.
    """
    started, stopwatch = clock(), Stopwatch(PREPARING, clock)
    check_backend(experiment)
    stop = stop or threading.Event()
    progress = _until(stop, data_progress)
    check_engine(engine, gpus)
    with _machines(engine, ray_address, experiment, workers) as cluster:
        here = _here(experiment, workers, gpus, cluster)
        checked = check_experiment(experiment, data_dir, progress)
        experiment, search = checked.experiment, checked.search()
        fetch(experiment.data, data_dir, progress)
        folder = RunFolder(results_dir, experiment.name)
        shared = (listener, clock, settles, stopwatch, profile)
        with _opened(folder, checked, search, *shared) as parts:
            _take_over(parts, reuse)
            _put_in_order(parts, retry)
            most = _num_left(parts)
            if cluster and not workers:
                here = replace(here, workers=min(here.workers, most or here.workers))
            train = partial(
                _train,
                parts,
                _pool(parts, data_dir, here, cluster, shared_from_bytes, most),
                workers if cluster else here.workers,
                stop,
                budget_seconds=_least(budget_seconds, experiment.search.budget_seconds),
                fail_fast=fail_fast,
                silence_seconds=silence_seconds,
            )
            ended = _train_and_tell(parts, here, train, started)
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
    settles: Settles | None
    profile: bool

    @property
    def experiment(self) -> Experiment:
        """Without what cannot be built."""
        return self.checked.experiment

    @property
    def info(self) -> DatasetInfo:
        """Of its data."""
        return self.checked.info


@contextmanager
def _opened(
    folder: RunFolder,
    checked: CheckedExperiment,
    search: Search,
    listener: Listener,
    clock: Callable[[], float],
    settles: Settles | None,
    stopwatch: Stopwatch,
    profile: bool,
) -> Iterator[_RunParts]:
    """The folder, where nobody else runs, with the ledger of what it is."""
    experiment = checked.experiment
    folder.prepare(experiment.source)
    opened = partial(Ledger.create_or_open, folder.ledger, experiment.name, stopwatch=stopwatch)
    with folder.lock(), opened() as ledger:
        if notice := keep_copy(folder.ledger):
            listener(Notice(notice))
        parts = _RunParts(checked, search, folder, ledger, listener, clock, settles, profile)
        _keep_what_it_is(parts)
        yield parts


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


def _put_in_order(parts: _RunParts, retry: Sequence[TrialState]) -> None:
    """After whatever ended the last run."""
    ledger, folder = parts.ledger, parts.folder.checkpoints
    ledger.interrupted()
    named = {row.file for row in ledger.checkpoints()}
    checkpoint.remove(folder, checkpoint.rubbish(folder, named))
    if retry:
        ledger.retry(retry)


def _train_and_tell(
    parts: _RunParts, here: Here, train: Callable[[], str], started: float
) -> RunEnded:
    """Train, and say before what there is to do, and afterwards what became of it."""
    experiment, ledger, listener = parts.experiment, parts.ledger, parts.listener
    enough = why_enough(parts.search, ledger, parts.settles)
    only = unfinished_trials(parts.search, ledger) if enough else None
    begun = _begin(parts, here.workers, enough, only)
    estimate, networks = estimate_begun(
        parts.search, parts.info, ledger, done=begun.done, here=here, only=only
    )
    if begun.to_run != 0:
        also = here.notes(experiment, ledger.threads())
        slower = precision_notes(experiment, here, estimate, is_new=False)
        begun = replace(begun, notes=(*begun.notes, *also, *slower))
    listener(_with_estimate(begun, estimate))
    ending = train()
    if ending == "done":
        ledger.note_all_done()
    keep_speeds(ledger, networks, experiment, here)
    _say_what_else_is_left_out(parts.checked, begun, listener)
    ended = _end_search(parts, here.workers) if ending == "done" else ""
    return RunEnded(
        ending=ending,
        counts=ledger.counts(),
        best=next(iter(ledger.top(1)), None),
        seconds=parts.clock() - started,
        to_run=begun.to_run,
        used_up=_used_up(experiment, ledger) if ending == "budget" else "",
        estimate=estimate if ending == "done" and estimate.seconds and not ended else None,
        left_out=parts.checked.left_out_so_far(),
        enough=ended,
    )


def _train(
    parts: _RunParts,
    pool: Pool,
    workers: int | None,
    stop: threading.Event,
    *,
    budget_seconds: float | None,
    fail_fast: bool,
    silence_seconds: float,
) -> str:
    """Run what is missing; the table is kept however it ends."""
    experiment, folder, ledger = parts.experiment, parts.folder, parts.ledger
    csv = TrialsCsv(folder.trials_csv, ledger)
    parts.search.think_aside()
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
            settles=parts.settles,
            profile=parts.profile,
        )
        with ledger.stopwatch.phase(OTHER):
            return scheduler.run(
                workers,
                stop,
                budget_seconds=budget_seconds,
                budget_epochs=_epochs_left(experiment, ledger),
                fail_fast=fail_fast,
            )
    finally:
        _write_csv(csv, parts.listener)


def _begin(parts: _RunParts, workers: int, enough: str, only: Sequence[Trial] | None) -> RunStarted:
    """Count what there is to do: where the search has seen enough, `only` these."""
    experiment, folder, ledger = parts.experiment, parts.folder, parts.ledger
    done = _num_done(ledger)
    left_out = parts.checked.looked_ahead(parts.search)
    total, planned = parts.search.total_trials, parts.search.planned_epochs
    to_run = None if total is None else max(0, total - done)
    shown = total
    if only is not None:
        to_run, shown = len(only), done + len(only)
        # One of them may be so good that the search goes on: only its end says what was enough.
        total = total if only else done
    epochs_to_run = None if planned is None else max(0, planned - ledger.trained_epochs())
    takes_up = any(isinstance(stop, AshaStop) for stop in experiment.search.stops)
    if total == done and ledger.last_run.get("takes_up") is False:
        takes_up = False  # an earlier run has seen the end
    ledger.begin_run(
        total=total, done=done, workers=workers, epochs_to_run=epochs_to_run, takes_up=takes_up
    )
    return RunStarted(
        name=experiment.name,
        total=shown,
        done=done,
        to_run=to_run,
        workers=workers,
        folder=str(folder.path),
        notes=(
            *notes(experiment, None if enough else total, parts.info),
            *([f"search.enough has ended the search: {enough}"] if enough else ()),
            *left_out.notes(),
            *_superseded(ledger),
            *_on_network(folder),
        ),
        epochs_to_run=epochs_to_run,
        epochs_trained=ledger.trained_epochs(),
        best=next(iter(ledger.top(1)), None),
    )


def _end_search(parts: _RunParts, workers: int) -> str:
    """Why the search has seen enough, which the ledger keeps, and what going on would take."""
    ledger, total = parts.ledger, parts.search.total_trials
    reason, done = why_enough(parts.search, ledger, parts.settles), _num_done(ledger)
    if not reason or (total is not None and done >= total):
        return ""
    ledger.end_run(total=done, reason=reason)
    if total is None:
        return reason
    left = total - done
    seconds = [row.train_seconds for row in ledger.rows(RANKED_STATES) if row.train_seconds]
    time = f", about {rough_text(fmean(seconds) * left / workers)}" if seconds else ""
    more = f"{left:,} more trial{'s' * (left != 1)}"
    return f"{reason}; going on would take {more}{time}"


def _used_up(experiment: Experiment, ledger: Ledger) -> str:
    """The limit of the experiment itself that nothing but a change of it moves."""
    left = _epochs_left(experiment, ledger)
    if left is None or left > 0:
        return ""
    return f"search.max_epochs: {experiment.search.max_epochs:,} is used up; to go on, raise it"


def _num_done(ledger: Ledger) -> int:
    outcomes = ledger.counts()
    return sum(outcomes[state] for state in FINISHED_STATES)


def _num_left(parts: _RunParts) -> int | None:
    """Trials that may still run; None where the search cannot know."""
    total = parts.search.total_trials
    return None if total is None else max(0, total - _num_done(parts.ledger))


def _on_network(folder: RunFolder) -> Iterator[str]:
    if kind := network_file_system(folder.path):
        where = f"{folder.path} is on a network file system ({kind})"
        mend = "use --results on a disk of this machine, as docs/clusters.md says"
        yield f"{where}, where a ledger may be damaged; {mend}"


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
    note = f"it takes {estimate_text(estimate)} ({estimate.basis})"
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


@contextmanager
def _machines(
    engine: str, address: str | None, experiment: Experiment, workers: int | None
) -> Iterator[RayCluster | None]:
    """The cluster that workers are on, looked at before anything else is done; None: they are here.

    Raises:
        InputError: it does not answer, cannot hold a worker, or a node of it cannot train.
    """
    if engine == "local":
        yield None
        return
    from tuner.execution.ray_cluster import connected

    with connected(address or os.environ.get("RAY_ADDRESS") or None) as cluster:
        cluster.check(experiment.resources, workers)
        cluster.check_nodes(experiment.resources, PACKAGES[experiment.backend])
        yield cluster


def _here(
    experiment: Experiment,
    workers: int | None,
    gpus: Sequence[str],
    cluster: RayCluster | None,
) -> Here:
    """Where workers are to be.

    Raises:
        InputError: this machine cannot hold them.
    """
    if cluster is not None:
        resources = cluster.resources(experiment.resources, experiment.backend)
        num_workers = workers or cluster.room(experiment.resources)
        return Here(num_workers, (), os.environ, resources, is_cluster=True)
    here = Here.of(experiment, workers or 1, gpus, os.environ)
    check_shares(experiment, here.workers, here.gpus, os.environ)
    return here


def _pool(
    parts: _RunParts,
    data_dir: Path | None,
    here: Here,
    cluster: RayCluster | None,
    shared_from_bytes: int | None,
    most: int | None,
) -> Pool:
    experiment, folder = parts.experiment, parts.folder
    setup = replace(worker_setup(experiment, data_dir, folder.checkpoints), profile=parts.profile)
    if cluster is not None:
        from tuner.execution.ray_pool import RayPool

        return RayPool(
            setup,
            cluster,
            logs=folder.logs,
            resources=experiment.resources,
            shared_from_bytes=shared_from_bytes,
            most=most,
        )
    return LocalPool(
        setup,
        workers=here.workers,
        logs=folder.logs,
        environment=dict(here.environment),
        gpus=here.gpus,
        resources=here.resources,
    )


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
    settles: Settles | None = None,
    profile: bool = False,
) -> Scheduler:
    """A scheduler for what is missing of an experiment; `mark_current` comes before.

    `checkpoints` is their folder; see `Recorder` and `Scheduler`.
    """
    experiment = search.experiment
    queue = TrialQueue(search, read_history(search, ledger), settles)
    profiler = Profiler(experiment.precision, ledger.stopwatch, clock) if profile else None
    recorder = Recorder(
        ledger,
        objective=experiment.objective,
        csv=csv,
        cost=cost,
        checkpoints=checkpoints,
        listener=listener,
        clock=clock,
        profiler=profiler,
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
    for epoch in ledger.epochs():
        if not not_finite(epoch.metrics):
            rule.note(epoch.number, epoch.epoch, epoch.metrics)
    for known in ledger.by_key().values():
        if known.state in FINISHED_STATES and known.state is not TrialState.STOPPED:
            rule.end(known.number)
    for row in ledger.rows([TrialState.STOPPED]):
        rule.stop(row.number, row.reason)
    return rule
