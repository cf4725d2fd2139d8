"""`plan --measure`: some structures are trained for seconds, to know how long a run will take."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from tuner.data.dataset import Progress
from tuner.data.images import check, fetch
from tuner.errors import InputError, TunerError
from tuner.execution.checks import check_backend, check_networks, check_sizes
from tuner.execution.estimate import Here, NetworkCost, networks_of, work_in
from tuner.execution.pools import LocalPool, Pool
from tuner.execution.protocol import (
    Compiled,
    Finished,
    Lost,
    Ready,
    Rehearse,
    Report,
    SetupFailed,
    WorkerSetup,
)
from tuner.execution.speeds import SpeedRecord
from tuner.experiment.experiment import Experiment
from tuner.search.search import Search

if TYPE_CHECKING:
    from tuner.training.program import Hyperparameters, OnProgress, Program
    from tuner.training.steps import State

MOST = 6  # structures
SECONDS = 4.0  # of training, for each
_WAIT_SECONDS = 0.2
_VALIDATION_SHARE = 0.3  # of the time for training
_LEARNING_RATE = 1e-6  # no weight moves far, so that no loss ends it early
_WARM_UP_CALLS = 2  # of a program: the first of one step, the second at the pace of that one


@dataclass(frozen=True)
class Measured:
    """How far the measuring is: `place` of `total` structures, and what one has shown.

    Without a network the workers have just started. `reason` says why it could not be measured.
    """

    place: int
    total: int
    network: NetworkCost | None = None
    compile_seconds: float = 0.0
    epoch_seconds: float = 0.0
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
    search = Search(experiment, info.fingerprint)
    work, _ = work_in(results_dir, search, here.workers)
    record = SpeedRecord.at_home(here.environment)
    known = record.of(here.machine, experiment.backend, experiment.precision)
    measured_keys = {(s.structure, s.macs) for s in known if s.sharing == here.sharing}
    networks = list(networks_of(search, work, info).values())
    new = [n for n in networks if (n.structure, n.macs) not in measured_keys]
    chosen = choose(new or networks, most)
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
        try:
            rehearsals = Rehearsals(pool, here.workers)
            rehearsals.start()
            tell(Measured(0, len(chosen)))
            for place, network in enumerate(chosen, start=1):
                configuration = work.structures[network.structure].configuration
                task = Rehearse(
                    number=place,
                    model=configuration.model,
                    training=configuration.training,
                    switches=configuration.switches,
                    precision=experiment.precision,
                    seed=experiment.search.seed,
                    structure=network.structure,
                    seconds=seconds,
                )
                measured = _measured(place, len(chosen), network, *rehearsals.run(task))
                tell(measured)
                if measured.epoch_seconds:
                    speed = here.speed(
                        experiment,
                        network,
                        device=rehearsals.device,
                        start_seconds=rehearsals.start_seconds,
                        epoch_seconds=measured.epoch_seconds,
                        compile_seconds=measured.compile_seconds or None,
                    )
                    record.add([speed])
        finally:
            pool.close()


def choose(networks: Sequence[NetworkCost], most: int) -> list[NetworkCost]:
    """Some networks from the smallest to the largest, evenly by rank; small ones first."""
    ranked = sorted(networks, key=lambda network: network.macs * network.batch_size)
    if len(ranked) <= most:
        return ranked
    if most == 1:
        return [ranked[len(ranked) // 2]]
    return [ranked[round(place * (len(ranked) - 1) / (most - 1))] for place in range(most)]


class Rehearsals:
    """Workers that rehearse the same structure at a time."""

    def __init__(self, pool: Pool, workers: int) -> None:
        self.device = ""
        self.start_seconds = 0.0
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
            self.device, self.start_seconds = report.device, report.seconds
        elif isinstance(report, Finished) and report.leaves:
            self._leaving.add(worker)
        elif isinstance(report, Lost):
            if worker not in self._ready:
                raise TunerError(f"worker {worker} cannot start: {report.reason}")
            self._ready.discard(worker)
            self._leaving.discard(worker)
            self._pool.start(worker)


def _measured(
    place: int,
    total: int,
    network: NetworkCost,
    compiling: Sequence[float],
    ended: Sequence[Finished],
) -> Measured:
    """The mean over the workers."""
    epochs = [report.epoch_seconds for report in ended if report.epoch_seconds]
    return Measured(
        place,
        total,
        network,
        compile_seconds=fmean(compiling) if compiling else 0.0,
        epoch_seconds=fmean(epochs) if epochs else 0.0,
        reason=next((report.reason for report in ended if report.reason), ""),
    )


# ---------------------------------------------------------------------- in the worker


class _Enough(Exception):
    """Seen enough of an epoch."""


def rehearse(program: Program, values: Hyperparameters, *, seed: int, seconds: float) -> float:
    """What an epoch takes, by training for about so many seconds after a warm-up, and validating
    for a part of that.
    """
    training = {**values.training, "learning_rate": _LEARNING_RATE}
    slow = dataclasses.replace(values, training=training)

    def train(state: State, on_progress: OnProgress) -> None:
        program.train_epoch(state, slow, 0, on_progress)

    def validate(state: State, on_progress: OnProgress) -> None:
        program.evaluate(state, slow, on_progress)

    def fresh() -> State:  # training uses its state up
        return program.initial(seed)

    step = _pace(train, fresh, seconds)
    batch = _pace(validate, fresh, seconds * _VALIDATION_SHARE)
    return program.steps_per_epoch * step + program.evaluation_steps * batch


def _pace(
    run: Callable[[State, OnProgress], None], fresh: Callable[[], State], seconds: float
) -> float:
    """Seconds per step of a program, epoch after epoch, without the warm-up."""
    paces: list[float] = []
    last_step, last_time = 0, time.perf_counter()
    deadline = last_time + seconds

    def on_progress(step: int, steps: int, loss: float) -> None:
        nonlocal last_step, last_time
        now = time.perf_counter()
        paces.append((now - last_time) / (step - last_step))
        last_step, last_time = step, now
        if now >= deadline and len(paces) > _WARM_UP_CALLS:
            raise _Enough

    try:
        while time.perf_counter() < deadline or len(paces) <= _WARM_UP_CALLS:
            state = fresh()
            last_step, last_time = 0, time.perf_counter()
            run(state, on_progress)
    except _Enough:
        pass
    return median(paces[_WARM_UP_CALLS:])
