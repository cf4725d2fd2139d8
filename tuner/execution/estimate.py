"""How long a run will take on this machine: its work, times what runs here were seen to take.

An epoch of a structure takes what it took when it was measured here: on the same device, with as
many workers to share it. One that was not measured is scaled by its multiply-adds from those that
were. Where nothing was, the time is unknown, and nobody guesses.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner.data.dataset import DatasetInfo
from tuner.data.splits import train_size, validation_size
from tuner.errors import InputError
from tuner.execution.checks import cost_of
from tuner.execution.current import count_current
from tuner.execution.events import (
    EpochEnded,
    Event,
    TrialCompiled,
    TrialEnded,
    TrialProgress,
    TrialStarted,
    TrialWaits,
    WorkerLost,
    WorkerReady,
)
from tuner.execution.programs import MAX_PROGRAMS, Programs
from tuner.execution.speeds import Speed, SpeedRecord
from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Configuration, TrialState
from tuner.ledger.environment import available_cores, cpu_model
from tuner.ledger.estimate import Estimate, StructureTime, Trained
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES
from tuner.models import is_own
from tuner.search.planned import GridPlan
from tuner.search.search import LOOK_AHEAD, Search

# Structures whose cost is worked out; a person's own network is built for that.
MAX_COSTED = 200
MAX_OWN_COSTED = 20

_MAX_LISTED = 2_000  # trials
_OPEN = (TrialState.WAITING, TrialState.RUNNING)
# n workers on a device: each takes between 1 and n times as long as alone, about n to this power.
_SHARED = 0.75
_BACKWARD = 2  # a step's passes beside the forward one, in multiply-adds


@dataclass(frozen=True)
class Here:
    """Where a run is to happen: workers, the GPUs that they share out, the environment."""

    workers: int
    num_gpus: int
    environment: Mapping[str, str]

    @property
    def sharing(self) -> int:
        """How many workers share a device."""
        return math.ceil(self.workers / max(1, self.num_gpus))

    @property
    def machine(self) -> str:
        """What the same figures may be expected of: processor, cores, whether GPUs are hidden."""
        hides = self.environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        cores = available_cores()
        name = f"{cpu_model()}, {cores} {'core' if cores == 1 else 'cores'}"
        return f"{name}, GPUs hidden" if hides else name

    def speed(self, experiment: Experiment, network: NetworkCost, **seen: Any) -> Speed:
        """What was seen of a network here, now."""
        return Speed(
            machine=self.machine,
            sharing=self.sharing,
            backend=experiment.backend,
            precision=experiment.precision,
            family=network.family,
            structure=network.structure,
            macs=network.macs,
            images=network.images,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            **seen,
        )


def make_estimate(
    search: Search, work: Work, networks: Mapping[str, NetworkCost], here: Here
) -> Estimate:
    """How long the work takes here, as far as that is known."""
    experiment, record = search.experiment, SpeedRecord.at_home(here.environment)
    speeds = record.of(here.machine, experiment.backend, experiment.precision)
    structures = {}
    for key, remaining in work.structures.items():
        network = networks.get(key)
        structures[key] = StructureTime(
            trials=remaining.trials,
            epochs=remaining.epochs,
            compilations=remaining.compilations,
            multiply_adds=network.multiply_adds if network else None,
            **(predicted(network, speeds, here.sharing) if network and speeds else {}),
        )
    return Estimate(
        workers=here.workers,
        structures=structures,
        start_seconds=speeds[-1].start_seconds if speeds else 0.0,
        is_most=experiment.search.stop is not None or experiment.search.racing,
    )


def estimate_begun(
    search: Search, info: DatasetInfo, ledger: Ledger, *, done: int, here: Here
) -> tuple[Estimate, dict[str, NetworkCost]]:
    """The estimate of a run that begins, which its ledger keeps, and the networks behind it."""
    work = remaining_work(search, ledger, done=done, workers=here.workers)
    networks = networks_of(search, work, info)
    estimate = make_estimate(search, work, networks, here)
    if work.structures:
        estimate.keep(ledger)
    return estimate, networks


def predicted(network: NetworkCost, speeds: Sequence[Speed], sharing: int) -> dict[str, Any]:
    """`epoch_seconds`, `compile_seconds` and `is_measured` of a structure; `speeds` has some."""
    alike = [s for s in speeds if s.sharing == sharing] or speeds
    same = [s for s in alike if (s.structure, s.macs) == (network.structure, network.macs)]
    chosen = same or [s for s in alike if s.family == network.family] or alike
    per_image = {
        s.macs: s.epoch_seconds / s.images * (sharing / s.sharing) ** _SHARED for s in chosen
    }
    compiling = {s.macs: s.compile_seconds for s in chosen if s.compile_seconds}
    if not compiling:
        compiling = {s.macs: s.compile_seconds for s in alike if s.compile_seconds}
    return {
        "epoch_seconds": network.images * _scaled(per_image, network.macs, power=1.0),
        # Compiling grows with the layers, of which multiply-adds tell only a part.
        "compile_seconds": _scaled(compiling, network.macs, power=0.5) if compiling else None,
        "is_measured": bool(same) and same[-1].sharing == sharing,
    }


def _scaled(times: Mapping[int, float], macs: int, *, power: float) -> float:
    """The time at so many multiply-adds: a power law between the nearest ones that are known.

    Beyond the largest it grows with `power`; below the smallest it falls as the two smallest do.
    """
    known = sorted(times)
    if macs in times or len(known) == 1 or macs > known[-1]:
        nearest = macs if macs in times else known[-1]
        return times[nearest] * math.pow(macs / nearest if nearest else 1.0, power)
    above = max(1, next(place for place, x in enumerate(known) if x > macs))
    low, high = known[above - 1], known[above]
    if not low or not times[low] or not times[high]:
        return times[high]
    slope = math.log(times[high] / times[low]) / math.log(high / low)
    return times[low] * math.pow(macs / low, min(1.0, max(0.0, slope)))


# ---------------------------------------------------------------------- what is to be trained


@dataclass(frozen=True)
class NetworkCost:
    """What a structure costs on a data set; `images` are those of an epoch, in forward passes."""

    structure: str
    family: str
    batch_size: int
    parameters: int
    macs: int
    activations: int
    images: int

    @property
    def multiply_adds(self) -> float:
        """Of an epoch."""
        return float(self.macs * self.images)


@dataclass
class Remaining:
    """What is still to be trained of a structure. `configurations` share it (None: unknown)."""

    configuration: Configuration
    configurations: int | None = 0
    trials: float = 0.0
    epochs: float = 0.0
    compilations: float = 0.0


@dataclass(frozen=True)
class Work:
    """What is still to be trained, by structure.

    Many trials are not listed: then it has all structures of the space, with their shares of what
    is to run. `is_whole` is False where there are more structures than were looked at.
    """

    structures: Mapping[str, Remaining]
    is_listed: bool = False
    is_whole: bool = True

    @property
    def epochs(self) -> float:
        """Of all trials together."""
        return sum(remaining.epochs for remaining in self.structures.values())


def work_in(results_dir: Path, search: Search, workers: int) -> tuple[Work, int]:
    """What is left of an experiment in a results folder, and how many trials are done."""
    path = RunFolder(results_dir, search.experiment.name).ledger
    if not path.is_file():
        return remaining_work(search, workers=workers), 0
    with Ledger.open_read_only(path) as ledger:
        outcomes = count_current(search, ledger)
        done = sum(outcomes[state] for state in FINISHED_STATES)
        return remaining_work(search, ledger, done=done, workers=workers), done


def remaining_work(
    search: Search, ledger: Ledger | None = None, *, done: int = 0, workers: int = 1
) -> Work:
    """What is left if no rule stops anything and nothing fails; `done` trials have ended."""
    total = search.total_trials
    if not search.is_adaptive and total is not None and total <= _MAX_LISTED:
        return _listed(search, ledger, workers)
    to_run = max(0, (total or 0) - done)
    shared, is_whole = search.structures()
    in_order = isinstance(search.method, GridPlan)
    known = all(structure.count is not None for structure in shared.values())
    weights = {key: float(s.count or 0) if known else 1.0 for key, s in shared.items()}
    if in_order:  # structure after structure, until there are as many as are asked for
        left = float(search.method.total or 0)
        for key, weight in weights.items():
            weights[key] = min(weight, left)
            left -= weights[key]
    scale = to_run / (sum(weights.values()) or 1.0)
    planned = search.planned_epochs
    if planned is not None and to_run:
        planned = max(0, planned - (ledger.trained_epochs() if ledger else 0))
    missed = 1.0 if in_order else _share_compiled(len(shared), sorts=not search.is_adaptive)
    structures = {}
    for key, structure in shared.items():
        trials = weights[key] * scale
        epochs = structure.epochs if planned is None else planned / max(1, to_run)
        compiled = max(min(trials, workers), trials * missed if missed < 1 else 0.0)
        structures[key] = Remaining(
            structure.configuration, structure.count, trials, trials * epochs, compiled
        )
    return Work(structures, is_whole=is_whole)


def _listed(search: Search, ledger: Ledger | None, workers: int) -> Work:
    known = ledger.by_key(all_versions=True) if ledger else {}
    begun = {row.key: row.epochs for row in ledger.rows(_OPEN, all_versions=True)} if ledger else {}
    structures: dict[str, Remaining] = {}
    held: list[Programs[None]] = [Programs() for _ in range(workers)]
    num_trials, last = 0, None
    for trial in search.trials_as_given():
        if trial.key in known and known[trial.key].state in FINISHED_STATES:
            continue
        key = trial.structure.key
        remaining = structures.setdefault(key, Remaining(trial.configuration))
        remaining.configurations = (remaining.configurations or 0) + (
            trial.configuration is not last
        )
        last = trial.configuration
        remaining.trials += 1
        epochs = int(trial.configuration.training["epochs"])
        remaining.epochs += max(0, epochs - begun.get(trial.key, 0))
        programs = held[num_trials % workers]
        remaining.compilations += key not in programs
        programs.use(key, lambda: None)
        num_trials += 1
    return Work(structures, is_listed=True)


def _share_compiled(structures: int, *, sorts: bool) -> float:
    """Of trials that are drawn: how many find their program gone from a worker that keeps few."""
    if structures <= MAX_PROGRAMS:
        return 0.0
    distinct = structures * (1 - (1 - 1 / structures) ** LOOK_AHEAD)  # of a block
    return (1 - MAX_PROGRAMS / structures) * (distinct / LOOK_AHEAD if sorts else 1.0)


def networks_of(search: Search, work: Work, info: DatasetInfo) -> dict[str, NetworkCost]:
    """The networks of some work by structure; of very many, some that are spread over them."""
    own = any(is_own(branch.model["family"]) for branch in search.experiment.space.branches)
    most, keys = MAX_OWN_COSTED if own else MAX_COSTED, list(work.structures)
    chosen = keys
    if len(keys) > most:
        chosen = [keys[place * len(keys) // most] for place in range(most)]
    networks = {}
    for key in chosen:
        try:
            networks[key] = network_of(search, work.structures[key].configuration, key, info)
        except InputError:
            continue  # its trials will fail at once, and say why
    return networks


def network_of(
    search: Search, configuration: Configuration, key: str, info: DatasetInfo
) -> NetworkCost:
    """The network of a configuration on the images of its experiment.

    Raises:
        InputError: it cannot take them.
    """
    data, cost = search.experiment.data, cost_of(configuration, info)
    num_train = train_size(data.validation, data.train_images, info.num_train)
    batch_size = configuration.training["batch_size"]
    return NetworkCost(
        structure=key,
        family=configuration.model["family"],
        batch_size=num_train if batch_size == "full" else int(batch_size),
        parameters=cost.parameters,
        macs=cost.macs,
        activations=cost.activations,
        images=(1 + _BACKWARD) * num_train + validation_size(data.validation, info.num_train),
    )


# ---------------------------------------------------------------------- what a run shows


@dataclass
class _OnWorker:
    """A trial on its worker; what happened before `heard_at` is counted."""

    number: int
    structure: str
    epochs: int
    epoch: int  # that it has
    heard_at: float
    part: float = 0.0  # of the running epoch


class Stopwatch:
    """Takes the events of a run: what it trains of each structure, and how long that takes.

    The seconds of a structure are all that its trials spend on a worker, but for compiling.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.trained: dict[str, Trained] = {}
        self.epochs = 0  # each once, though a lost worker may have trained some before
        self.device = ""
        self.start_seconds = 0.0
        self._clock = clock
        self._running: dict[int, _OnWorker] = {}
        self._furthest: dict[int, int] = {}  # epoch, of trials that have not ended

    def __call__(self, event: Event) -> None:
        """Takes one event into account."""
        match event:
            case WorkerReady():
                self.device, self.start_seconds = event.device, event.seconds
            case TrialStarted():
                self._start(event)
            case TrialCompiled():
                self._hear(event.worker, compiling=event.seconds)
            case TrialProgress():
                if running := self._running.get(event.worker):
                    running.part = event.step / event.steps if event.steps else 0.0
            case EpochEnded():
                self._reach(event.number, event.epoch)
                self._hear(event.worker, event.epoch)
            case TrialWaits():
                self._leave(event.worker)
            case TrialEnded():
                self._end(event)
            case WorkerLost():
                self._leave(event.worker)

    @property
    def epochs_begun(self) -> float:
        """As `epochs`, with the begun parts of those that are under way."""
        return self.epochs + sum(running.part for running in self._running.values())

    def seconds_left(
        self,
        estimate: Estimate,
        not_begun: int,
        *,
        epochs_each: float,
        epochs_left: float | None = None,
    ) -> float | None:
        """What is left of the run; see `Estimate.seconds_left`."""
        running = [
            (r.structure, max(0.0, r.epochs - r.epoch - r.part)) for r in self._running.values()
        ]
        return estimate.seconds_left(
            self._with_first_epochs(),
            running,
            not_begun,
            epochs_each=epochs_each,
            epochs_left=epochs_left,
        )

    def _with_first_epochs(self) -> dict[str, Trained]:
        """Where no epoch of a structure has ended, what the begun part of one shows."""
        trained = dict(self.trained)
        for running in self._running.values():
            mine, seconds = self.trained[running.structure], self._clock() - running.heard_at
            if not mine.epochs and running.part and seconds >= 1.0:
                trained[running.structure] = dataclasses.replace(
                    mine, epochs=running.part, seconds=seconds
                )
        return trained

    def _start(self, event: TrialStarted) -> None:
        mine = self.trained.setdefault(event.structure, Trained())
        mine.begun += event.number not in self._furthest
        self._furthest.setdefault(event.number, event.epochs_done)
        self._running[event.worker] = _OnWorker(
            event.number, event.structure, event.epochs, event.epochs_done, self._clock()
        )

    def _hear(self, worker: int | None, epoch: int | None = None, compiling: float = 0.0) -> None:
        running = self._running.get(worker or 0)
        if running is None:
            return
        mine, now = self.trained[running.structure], self._clock()
        mine.seconds += max(0.0, now - running.heard_at - compiling)
        mine.compile_seconds = max(mine.compile_seconds, compiling)
        running.heard_at = now
        if epoch is not None:
            mine.epochs += max(0, epoch - running.epoch)
            running.epoch, running.part = epoch, 0.0

    def _reach(self, number: int, epoch: int) -> None:
        before = self._furthest.get(number, 0)
        self._furthest[number] = max(before, epoch)
        self.epochs += max(0, epoch - before)

    def _leave(self, worker: int | None) -> None:
        self._hear(worker)
        self._running.pop(worker or 0, None)

    def _end(self, event: TrialEnded) -> None:
        if running := self._running.get(event.worker or 0):
            self._reach(event.number, event.epochs)
            self._hear(event.worker, event.epochs)
            mine = self.trained[running.structure]
            mine.ended, mine.epochs_of_ended = mine.ended + 1, mine.epochs_of_ended + event.epochs
        self._running.pop(event.worker or 0, None)
        self._furthest.pop(event.number, None)


def keep_speeds(
    stopwatch: Stopwatch, search: Search, networks: Mapping[str, NetworkCost], here: Here
) -> None:
    """In the record of this machine, if any epoch was seen."""
    speeds = [
        here.speed(
            search.experiment,
            network,
            device=stopwatch.device,
            start_seconds=stopwatch.start_seconds,
            epoch_seconds=trained.seconds / trained.epochs,
            compile_seconds=trained.compile_seconds or None,
        )
        for key, trained in stopwatch.trained.items()
        if trained.epochs and (network := networks.get(key))
    ]
    if speeds:
        SpeedRecord.at_home(here.environment).add(speeds)


# ---------------------------------------------------------------------- in words


def estimate_text(estimate: Estimate) -> str:
    """`about 12m`, or `at most about 12m` where rules may end it earlier."""
    return f"{'at most ' if estimate.is_most else ''}about {rough_text(estimate.seconds or 0.0)}"


def rough_text(seconds: float) -> str:
    """A time of which two digits are known at most: 0.4s, 50s, 12m, 2h 10m, 3d 4h, 120 days."""
    if seconds < 1:
        return f"{seconds:.1f}s"
    step = next(step for limit, step in _STEPS if seconds < limit)
    minutes, rest = divmod(round(seconds / step) * step, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 240:
        return f"{round(hours / 24):,} days"
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes:02d}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m {rest:02d}s" if rest else f"{minutes}m"
    return f"{rest}s"


# Up to so many seconds, a time is rounded to so many.
_STEPS = ((30, 1), (300, 5), (3_600, 60), (36_000, 600), (math.inf, 3_600))
