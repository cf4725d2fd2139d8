"""Measures how fast an experiment's structures train here, before any trial of them is run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from tuner.data.dataset import DatasetInfo, Progress
from tuner.data.images import check, fetch
from tuner.errors import InputError, TunerError
from tuner.execution.checks import check_backend, check_networks, check_sizes
from tuner.execution.estimate.estimating import Here, networks_of, past_in, setting_of
from tuner.execution.estimate.speeds import SpeedRecord, this_machine
from tuner.execution.estimate.stopwatch import Stopwatch
from tuner.execution.estimate.workload import Network, Workload, workload_of
from tuner.execution.messages import (
    Compiled,
    Finished,
    Lost,
    Ready,
    Rehearse,
    Report,
    SetupFailed,
    WorkerSetup,
)
from tuner.execution.pools import LocalPool, Pool
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Configuration

MOST = 6  # structures
SECONDS = 4.0  # of training, for each
_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class Measured:
    """How far the measuring is: `place` of `total` structures, and what one has shown.

    Without a network the workers have just started. `reason` says why it could not be measured.
    """

    place: int
    total: int
    network: Network | None = None
    compile_seconds: float = 0.0
    step_seconds: float = 0.0
    reason: str = ""


def measure(
    experiment: Experiment,
    *,
    results_dir: Path,
    data_dir: Path | None,
    here: Here,
    gpus: Sequence[str] = (),
    tell: Callable[[Measured], None],
    download_progress: Progress | None = None,
    most: int = MOST,
    seconds: float = SECONDS,
) -> None:
    """Rehearse some structures that are to run and were not measured yet, and keep their speeds.

    All workers rehearse the same at a time, as they share the machine in a run. Nothing is written
    but the record of speeds.

    Raises:
        InputError: the experiment or its data is wrong.
        TunerError: workers cannot start.
    """
    check_backend(experiment)
    info = check(experiment.data, data_dir)
    check_sizes(experiment, info)
    check_networks(experiment, info)
    work = workload_of(experiment, info.fingerprint, past_in(experiment, info, results_dir))
    record = SpeedRecord.at_home(here.environment)
    chosen = choose(_unmeasured(experiment, work, info, record, here), most)
    if not chosen:
        return
    fetch(experiment.data, data_dir, download_progress)
    with tempfile.TemporaryDirectory(prefix="tuner-measure-") as scratch:
        folder = Path(scratch)
        setup = WorkerSetup(experiment.backend, experiment.data, data_dir, folder)
        environment = dict(here.environment)
        pool = LocalPool(
            setup, workers=here.workers, logs=folder, environment=environment, gpus=gpus
        )
        watched = Stopwatch(pool, setting_of(experiment, info, here))
        try:
            rehearsals = _Rehearsals(watched, here.workers)
            rehearsals.start()
            tell(Measured(0, len(chosen)))
            for place, network in enumerate(chosen, start=1):
                configuration, _ = work.configurations[network.structure]
                task = _task(experiment, configuration, network.structure, place, seconds)
                found = rehearsals.run(task)
                tell(_measured(place, len(chosen), network, *found))
        finally:
            watched.close()
            watched.record(record, datetime.now(UTC))


def choose(networks: Sequence[Network], most: int) -> list[Network]:
    """Some networks from the smallest to the largest, evenly by rank; small ones first."""
    ranked = sorted(networks, key=lambda network: network.macs * network.batch_size)
    if len(ranked) <= most:
        return ranked
    if most == 1:
        return [ranked[len(ranked) // 2]]
    return [ranked[round(place * (len(ranked) - 1) / (most - 1))] for place in range(most)]


def _unmeasured(
    experiment: Experiment, work: Workload, info: DatasetInfo, record: SpeedRecord, here: Here
) -> list[Network]:
    """Networks that are to run and have no figures of their own; all, if every one has."""
    networks = list(networks_of(experiment, work, info).values())
    speeds = record.read()
    start = speeds.start(this_machine(here.environment), experiment.backend)
    known = speeds.of(start, experiment.precision) if start else []
    keys = {(s.structure, *s.network) for s in known if s.sharing == here.sharing}
    return [network for network in networks if network.key not in keys] or networks


def _measured(
    place: int, total: int, network: Network, compiling: Sequence[float], ended: Sequence[Finished]
) -> Measured:
    """The mean over the workers."""
    steps = [report.rehearsal.step_seconds for report in ended if report.rehearsal]
    return Measured(
        place,
        total,
        network,
        compile_seconds=fmean(compiling) if compiling else 0.0,
        step_seconds=fmean(steps) if steps else 0.0,
        reason=next((report.reason for report in ended if report.reason), ""),
    )


def _task(
    experiment: Experiment, configuration: Configuration, key: str, number: int, seconds: float
) -> Rehearse:
    return Rehearse(
        number=number,
        model=configuration.model,
        training=configuration.training,
        switches=configuration.switches,
        precision=experiment.precision,
        seed=experiment.search.seed,
        structure=key,
        seconds=seconds,
    )


class _Rehearsals:
    """Workers that rehearse the same structure at a time."""

    def __init__(self, pool: Pool, workers: int) -> None:
        self._pool = pool
        self._workers = range(1, workers + 1)
        self._ready: set[int] = set()
        self._leaving: set[int] = set()

    def start(self) -> None:
        """Returns when all are ready."""
        for worker in self._workers:
            self._pool.start(worker)
        while len(self._ready) < len(self._workers):
            for worker, report in self._pool.receive(_WAIT_SECONDS):
                self._attend(worker, report)

    def run(self, task: Rehearse) -> tuple[list[float], list[Finished]]:
        """Seconds of compiling, and how each worker's rehearsal ended."""
        compiling: list[float] = []
        ended: dict[int, Finished] = {}
        for worker in self._workers:
            self._pool.send(worker, task)
        while len(ended) < len(self._workers):
            for worker, report in self._pool.receive(_WAIT_SECONDS):
                was_leaving = worker in self._leaving
                self._attend(worker, report)
                if isinstance(report, Compiled):
                    compiling.append(report.seconds)
                elif isinstance(report, Finished):
                    ended[worker] = report
                elif isinstance(report, Lost) and was_leaving and worker not in ended:
                    self._pool.send(worker, task)  # what it was sent before went with it
                elif isinstance(report, Lost) and not was_leaving:
                    ended[worker] = Finished(task.number, report.reason)
        return compiling, list(ended.values())

    def _attend(self, worker: int, report: Report) -> None:
        """Workers that are gone are replaced, unless they cannot even start."""
        if isinstance(report, SetupFailed):
            raise InputError(report.problems) if report.problems else TunerError(report.reason)
        if isinstance(report, Ready):
            self._ready.add(worker)
        elif isinstance(report, Finished) and report.leaves:
            self._leaving.add(worker)
        elif isinstance(report, Lost):
            if worker not in self._ready:
                raise TunerError(f"worker {worker} cannot start: {report.reason}")
            self._ready.discard(worker)
            self._leaving.discard(worker)
            self._pool.start(worker)
