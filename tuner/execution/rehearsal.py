"""`plan --measure`: some structures are trained for seconds, to know how long a run will take."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from tuner.data.images import fetch
from tuner.errors import InputError, TunerError
from tuner.execution.checks import check_backend, worker_setup
from tuner.execution.devices import check_shares
from tuner.execution.estimate import Here, NetworkCost, SpeedRecord, networks_of, work_in
from tuner.execution.networks import check_experiment
from tuner.execution.pools import LocalPool, Pool
from tuner.execution.protocol import (
    Compiled,
    Finished,
    Lost,
    Ready,
    Rehearse,
    SetupFailed,
)
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Configuration

if TYPE_CHECKING:
    from tuner.training.program import Hyperparameters, OnProgress, Program

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
    tell: Callable[[Measured], None],
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
    check_shares(experiment, here.workers, here.gpus, here.environment)
    checked = check_experiment(experiment, data_dir)
    experiment, info, search = checked.experiment, checked.info, checked.search()
    work, _ = work_in(results_dir, search)
    record, place = SpeedRecord.at_home(here.environment), here.place(experiment)
    known = {speed.key for speed in record.read()}
    networks = list(networks_of(search, work, info).values())
    new = [n for n in networks if (place, n.structure, n.multiply_adds) not in known]
    chosen = choose(new or networks, MOST)
    if not chosen:
        return
    fetch(experiment.data, data_dir)
    with tempfile.TemporaryDirectory(prefix="tuner-measure-") as scratch:
        folder = Path(scratch)
        pool = LocalPool(
            worker_setup(experiment, data_dir, folder),
            workers=here.workers,
            logs=folder,
            environment=dict(here.environment),
            gpus=here.gpus,
            resources=here.resources,
        )
        rehearsals = Rehearsals(pool, here.workers)
        try:
            rehearsals.start()
            tell(Measured(0, len(chosen)))
            for number, network in enumerate(chosen, start=1):
                trial = work.structures[network.structure]
                task = _task(experiment, trial.configuration, network.structure, number, seconds)
                compiling, epoch, reason = rehearsals.run(task)
                tell(Measured(number, len(chosen), network, compiling, epoch, reason))
                if epoch:
                    record.add([network.speed(place, epoch, compiling)])
        finally:
            pool.close()


def _task(
    experiment: Experiment,
    configuration: Configuration,
    structure: str,
    number: int,
    seconds: float,
) -> Rehearse:
    return Rehearse(
        number=number,
        model=configuration.model,
        training=configuration.training,
        switches=configuration.switches,
        precision=experiment.precision,
        seed=experiment.search.seed,
        structure=structure,
        seconds=seconds,
    )


def choose(networks: Sequence[NetworkCost], most: int) -> list[NetworkCost]:
    """Some networks from the smallest to the largest, evenly by rank; small ones first."""
    ranked = sorted(networks, key=lambda network: network.macs * network.batch_size)
    if len(ranked) <= most:
        return ranked
    return [ranked[round(place * (len(ranked) - 1) / (most - 1))] for place in range(most)]


class Rehearsals:
    """Workers that rehearse the same structure at a time."""

    def __init__(self, pool: Pool, workers: int) -> None:
        self._pool = pool
        self._workers = range(1, workers + 1)
        self._is_started = False

    def start(self) -> None:
        """Returns when all are ready."""
        for worker in self._workers:
            self._pool.start(worker)
        num_ready = 0
        while num_ready < len(self._workers):
            for worker, report in self._pool.receive(_WAIT_SECONDS):
                if isinstance(report, SetupFailed) and report.problems:
                    raise InputError(report.problems)
                if isinstance(report, SetupFailed | Lost):
                    raise TunerError(f"worker {worker} cannot start: {report.reason}")
                num_ready += isinstance(report, Ready)
        self._is_started = True

    def run(self, task: Rehearse) -> tuple[float, float, str]:
        """Seconds of compiling and of an epoch, as a mean over the workers; or why not.

        Where one fails, all are ended: who knows what the error left behind.
        """
        if not self._is_started:
            self.start()
        for worker in self._workers:
            self._pool.send(worker, task)
        compiling: list[float] = []
        epochs: list[float] = []
        while len(epochs) < len(self._workers):
            for _, report in self._pool.receive(_WAIT_SECONDS):
                if isinstance(report, Compiled):
                    compiling.append(report.seconds)
                elif isinstance(report, Finished) and report.epoch_seconds:
                    epochs.append(report.epoch_seconds)
                elif isinstance(report, Finished | Lost):
                    self._pool.close()
                    self._is_started = False
                    return 0.0, 0.0, report.reason
        return fmean(compiling or [0.0]), fmean(epochs), ""


# ---------------------------------------------------------------------- in the worker


class _Enough(Exception):
    """Seen enough of an epoch."""


def rehearse(program: Program, values: Hyperparameters, *, seed: int, seconds: float) -> float:
    """What an epoch takes, by training for about so many seconds after a warm-up, and validating
    for a part of that.
    """
    training = {**values.training, "learning_rate": _LEARNING_RATE}
    slow = dataclasses.replace(values, training=training)

    state = program.initial(seed)

    def train(tell: OnProgress) -> None:
        nonlocal state  # training uses it up
        state, _ = program.train_epoch(state, slow, 0, tell)

    step = _pace(train, seconds)
    fresh = program.initial(seed)
    batch = _pace(lambda tell: program.evaluate(fresh, slow, tell), seconds * _VALIDATION_SHARE)
    return program.steps_per_epoch * step + program.evaluation_steps * batch


def _pace(run: Callable[[OnProgress], object], seconds: float) -> float:
    """Seconds per step of a program, epoch after epoch, without the warm-up."""
    paces: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(paces) <= _WARM_UP_CALLS:
        last = (0, time.perf_counter())

        def tell(step: int, steps: int, loss: float) -> None:
            nonlocal last
            now = time.perf_counter()
            paces.append((now - last[1]) / (step - last[0]))
            last = (step, now)
            if now >= deadline and len(paces) > _WARM_UP_CALLS:
                raise _Enough

        with contextlib.suppress(_Enough):
            run(tell)
    return median(paces[_WARM_UP_CALLS:])
