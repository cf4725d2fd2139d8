"""How long a run will take on this machine: its work, times what runs here were seen to take.

An epoch of a structure takes what it took when it was measured here: on the same machine, with as
many workers to share a device. One that was not measured is scaled by its multiply-adds from the
nearest that was. Where nothing was, the time is unknown, and nobody guesses.
"""

from __future__ import annotations

import fcntl
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import Field, TypeAdapter

from tuner.data.dataset import DatasetInfo
from tuner.data.files import cache_dir
from tuner.data.splits import train_size, validation_size
from tuner.errors import InputError
from tuner.execution.current import count_current, count_current_epochs
from tuner.execution.devices import Shares, computing_threads, crowding, used_gpus
from tuner.experiment.duration import duration_text
from tuner.experiment.experiment import Experiment
from tuner.experiment.schema import Resources
from tuner.experiment.sizes import cost_of
from tuner.experiment.trial import Configuration, Trial, TrialState
from tuner.ledger.environment import available_cores, cpu_model, memory_bytes
from tuner.ledger.environment import gpus as installed_gpus
from tuner.ledger.estimate import Estimate, StructureTime, keep_estimate, trained_in_run
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES
from tuner.ledger.threads import other_threads
from tuner.models import is_own
from tuner.search.search import MAX_LOOKED_AT, Search

# Structures whose cost is worked out; a person's own network is built for that.
MAX_COSTED = 200
MAX_OWN_COSTED = 20

MAX_SPEEDS = 500  # in the record; the oldest are forgotten
MIN_MULTIPLY_ADDS = 1e13  # of a run: minutes on a few cores; of a shorter one nothing is suggested

_MAX_LISTED = 2_000  # trials
_OPEN = (TrialState.WAITING, TrialState.RUNNING)
_BACKWARD = 2  # a step's passes beside the forward one, in multiply-adds


@dataclass(frozen=True)
class Here:
    """Where a run is to happen: workers, the GPUs that they share out, the environment.

    `resources` are those of a worker. Of a cluster's machines nothing else is known here.
    """

    workers: int
    gpus: Sequence[str]
    environment: Mapping[str, str]
    resources: Resources = field(default_factory=Resources)
    is_cluster: bool = False

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        workers: int,
        gpus: Sequence[str],
        environment: Mapping[str, str],
    ) -> Here:
        """This machine for an experiment; `gpus` are those that a person has asked for.

        Raises:
            InputError: those are none.
        """
        resources = experiment.resources
        used = used_gpus(resources, workers, gpus, environment)
        return cls(workers, used, environment, resources)

    @cached_property
    def machine(self) -> str:
        """Where the same times may be expected: processor, cores, GPUs, workers on each device.

        Threads are named where they are not a worker's part of the cores.
        """
        if self.is_cluster:
            gpu, threads = self.resources.gpu, self.resources.cpu
            return f"Ray, {f'{gpu:g} GPU' if gpu else f'{threads} threads'} a worker"
        cores, threads = available_cores(), self.shares.threads
        sharing = math.ceil(self.workers / max(1, len(self.gpus)))
        counts = [f"{cores} cores", *self._gpu_names, f"{sharing} workers a device"]
        if threads != max(1, cores // self.workers):
            counts.append(f"{threads} threads a worker")
        return ", ".join((cpu_model(), *counts))

    @property
    def shares(self) -> Shares:
        """What each worker gets."""
        return Shares(self.resources, self.workers, self.gpus)

    def notes(self, experiment: Experiment, trained: Mapping[int, int]) -> Iterator[str]:
        """What to know of threads before a run; `trained` counts its trials by theirs."""
        environment = self.shares.environment(1, self.environment)
        threads = computing_threads(experiment.backend, environment)
        if self._gpu_names or threads is None:
            return  # a GPU computes the same whatever the host's threads are
        # A cluster's are not known here, and Ray starts no more workers than they hold.
        cores = math.inf if self.is_cluster else available_cores()
        if note := other_threads(trained, threads, workers=self.workers, cores=cores):
            yield note
        if not self.is_cluster and (note := crowding(self.workers, threads)):
            yield note

    @property
    def worker_memory_bytes(self) -> int | None:
        """Memory of the device that trains, for each worker, as far as that is known."""
        if self.is_cluster:
            return None
        if limit := self.shares.memory_limit(1, self.environment):
            return limit
        if self._gpu_names:
            return min(gpu.memory_bytes for gpu in installed_gpus()) or None
        total = memory_bytes()
        return total // self.workers if total else None

    @cached_property
    def _gpu_names(self) -> list[str]:
        if self.is_cluster:
            return ["GPU"] if self.resources.gpu else []
        hides = self.environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        no_gpu = hides or self.resources.gpu == 0
        return [] if no_gpu else sorted({gpu.name for gpu in installed_gpus()})

    @property
    def trains_on_cpu(self) -> bool:
        """Whether it is known that no GPU does."""
        return not self.is_cluster and not self._gpu_names

    def place(self, experiment: Experiment, precision: str = "") -> str:
        """Where the speeds of an experiment's structures hold, or would in another precision."""
        return f"{self.machine}, {experiment.backend}, {precision or experiment.precision}"


# ---------------------------------------------------------------------- what was measured

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Speed:
    """What an epoch of so many multiply-adds took of a structure; 0: compiling was not seen."""

    place: str
    family: str
    structure: str
    multiply_adds: _Positive
    epoch_seconds: _Positive
    compile_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @property
    def key(self) -> tuple[str, str, float]:
        """What a later measurement replaces."""
        return self.place, self.structure, self.multiply_adds


class SpeedRecord:
    """A small file that all runs share. Writers take turns; a reader sees old content or new.

    It serves estimates alone: where it cannot be read or written, nothing is known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at_home(cls, environment: Mapping[str, str]) -> SpeedRecord:
        """In the person's cache folder, or in $TUNER_CACHE_DIR."""
        return cls(cache_dir(environment) / "speeds.json")

    def read(self) -> list[Speed]:
        """What it holds, oldest first; nothing if it is missing, damaged or of another version."""
        try:
            return TypeAdapter(list[Speed]).validate_json(self.path.read_bytes())
        except (OSError, ValueError):
            return []

    def add(self, speeds: Iterable[Speed]) -> bool:
        """Newer measurements replace older ones; a program that was there already, in the worker or
        on the disk, keeps the time that it took to compile. False where that is not possible, which
        harms nothing.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                known = {speed.key: speed for speed in self.read()}
                for speed in speeds:
                    before = known.pop(speed.key, speed)
                    compiling = max(speed.compile_seconds, before.compile_seconds)
                    known[speed.key] = replace(speed, compile_seconds=compiling)
                newest = list(known.values())[-MAX_SPEEDS:]
                write_atomically(self.path, json.dumps([asdict(speed) for speed in newest]))
        except OSError:
            return False
        return True


def times_as_fast(
    record: Sequence[Speed], families: Collection[str], before: str, after: str
) -> float | None:
    """An epoch's seconds in one place over those in another: the median over the networks of these
    families that were trained in both; None if there are none.
    """
    slow, fast = (
        {(s.family, s.multiply_adds): s.epoch_seconds for s in record if s.place == place}
        for place in (before, after)
    )
    ratios = [slow[key] / fast[key] for key in slow.keys() & fast.keys() if key[0] in families]
    return median(ratios) if ratios else None


def families_of(experiment: Experiment) -> set[str]:
    """Of every network that an experiment may train."""
    return {str(branch.model["family"]) for branch in experiment.space.branches}


# ---------------------------------------------------------------------- how long it takes


def make_estimate(
    search: Search, work: Work, networks: Mapping[str, NetworkCost], here: Here
) -> Estimate:
    """How long the work takes here, as far as that is known."""
    place, speeds = here.place(search.experiment), SpeedRecord.at_home(here.environment).read()
    known = [speed for speed in speeds if speed.place == place]
    structures = {
        key: structure_time(remaining, networks.get(key), known)
        for key, remaining in work.structures.items()
    }
    asked = search.experiment.search
    is_most = asked.racing or any(
        limit is not None for limit in (asked.stop, asked.enough, asked.max_epochs)
    )
    return Estimate(here.workers, structures, is_most)


def estimate_begun(
    search: Search,
    info: DatasetInfo,
    ledger: Ledger,
    *,
    done: int,
    here: Here,
    only: Sequence[Trial] | None,
) -> tuple[Estimate, dict[str, NetworkCost]]:
    """The estimate of a run that begins, which its ledger keeps, and the networks behind it."""
    work = remaining_work(search, ledger, done=done, only=only)
    networks = networks_of(search, work, info)
    estimate = make_estimate(search, work, networks, here)
    if work.structures:
        keep_estimate(ledger, estimate)
    return estimate, networks


def structure_time(
    remaining: Remaining, network: NetworkCost | None, speeds: Sequence[Speed]
) -> StructureTime:
    """The time of a structure: as it was measured, or scaled from the nearest that was.

    Nearest in multiply-adds; a structure's own time on other data before that of its family, and
    that before others.
    """
    multiply_adds = network.multiply_adds if network else None
    time = StructureTime(remaining.trials, remaining.epochs, multiply_adds)
    if network is None or not speeds:
        return time

    def distance(speed: Speed) -> tuple[bool, bool, float]:
        ratio = math.log(speed.multiply_adds / network.multiply_adds)
        return speed.structure != network.structure, speed.family != network.family, abs(ratio)

    nearest = min(speeds, key=distance)
    compiled = min((s for s in speeds if s.compile_seconds), key=distance, default=nearest)
    return replace(
        time,
        epoch_seconds=nearest.epoch_seconds * network.multiply_adds / nearest.multiply_adds,
        compile_seconds=compiled.compile_seconds,
        is_measured=distance(nearest) == (False, False, 0.0),
    )


def keep_speeds(
    ledger: Ledger, networks: Mapping[str, NetworkCost], experiment: Experiment, here: Here
) -> None:
    """What the last run has measured, in the record of this machine."""
    trained = trained_in_run(ledger, ledger.rows([TrialState.RUNNING]))
    place = here.place(experiment)
    speeds = [
        networks[key].speed(place, t.seconds / t.epochs, t.compile_seconds)
        for key, t in trained.items()
        if key in networks and t.epochs and t.seconds
    ]
    if speeds:
        SpeedRecord.at_home(here.environment).add(speeds)


# ---------------------------------------------------------------------- what is to be trained


@dataclass(frozen=True)
class NetworkCost:
    """What a structure costs on a data set; `multiply_adds` are of an epoch, `macs` of an image."""

    structure: str
    family: str
    batch_size: int
    parameters: int
    macs: int
    activations: int
    multiply_adds: float

    def speed(self, place: str, epoch_seconds: float, compile_seconds: float) -> Speed:
        """That it was measured."""
        network = (self.family, self.structure, self.multiply_adds)
        return Speed(place, *network, epoch_seconds, compile_seconds)


@dataclass
class Remaining:
    """What is still to be trained of a structure. `configurations` share it (None: unknown)."""

    configuration: Configuration
    configurations: int | None = 0
    trials: float = 0.0
    epochs: float = 0.0


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


def work_in(results_dir: Path, search: Search) -> tuple[Work, int]:
    """What is left of an experiment in a results folder, and how many trials are done."""
    path = RunFolder(results_dir, search.experiment.name).ledger
    if not path.is_file():
        return remaining_work(search), 0
    with Ledger.open_read_only(path) as ledger:
        outcomes = count_current(search, ledger)
        done = sum(outcomes[state] for state in FINISHED_STATES)
        return remaining_work(search, ledger, done=done), done


def remaining_work(
    search: Search,
    ledger: Ledger | None = None,
    *,
    done: int = 0,
    only: Iterable[Trial] | None = None,
) -> Work:
    """What is left if no rule stops anything and nothing fails; `done` trials have ended.

    With `only` nothing else is to run than these trials.
    """
    if only is not None:
        return _listed(only, ledger)
    total = search.total_trials
    most = _MAX_LISTED if search.is_quick_to_list else MAX_LOOKED_AT
    if not search.is_adaptive and total is not None and total <= most:
        return _listed(search.trials(), ledger)
    to_run = max(0, (total or 0) - done)
    shared, is_whole = search.structures()
    known = all(structure.count is not None for structure in shared.values())
    weights = {key: float(s.count or 0) if known else 1.0 for key, s in shared.items()}
    scale = to_run / (sum(weights.values()) or 1.0)
    planned = search.planned_epochs
    if planned is not None and to_run:
        planned = max(0, planned - (count_current_epochs(search, ledger) if ledger else 0))
    structures = {}
    for key, structure in shared.items():
        trials = weights[key] * scale
        epochs = structure.epochs if planned is None else planned / max(1, to_run)
        structures[key] = Remaining(
            structure.configuration, structure.count, trials, trials * epochs
        )
    return Work(structures, is_whole=is_whole)


def _listed(trials: Iterable[Trial], ledger: Ledger | None) -> Work:
    known = ledger.by_key(all_versions=True) if ledger else {}
    begun = {row.key: row.epochs for row in ledger.rows(_OPEN, all_versions=True)} if ledger else {}
    structures: dict[str, Remaining] = {}
    last = None
    for trial in trials:
        if trial.key in known and known[trial.key].state in FINISHED_STATES:
            continue
        remaining = structures.setdefault(trial.structure.key, Remaining(trial.configuration))
        is_new = trial.configuration is not last
        remaining.configurations = (remaining.configurations or 0) + is_new
        last = trial.configuration
        remaining.trials += 1
        epochs = int(trial.configuration.training["epochs"])
        remaining.epochs += max(0, epochs - begun.get(trial.key, 0))
    return Work(structures, is_listed=True)


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
            continue  # it is left out
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
    images = (1 + _BACKWARD) * num_train + validation_size(data.validation, info.num_train)
    return NetworkCost(
        structure=key,
        family=configuration.model["family"],
        batch_size=num_train if batch_size == "full" else int(batch_size),
        parameters=cost.parameters,
        macs=cost.macs,
        activations=cost.activations,
        multiply_adds=float(max(1, cost.macs) * images),
    )


def is_long(estimate: Estimate) -> bool:
    """Whether a run takes minutes, so that it is worth while to look for a faster way."""
    adds = sum((s.multiply_adds or 0.0) * s.epochs for s in estimate.structures.values())
    return adds >= MIN_MULTIPLY_ADDS


# ---------------------------------------------------------------------- in words


def estimate_text(estimate: Estimate) -> str:
    """`about 12m`, or `at most about 12m` where rules may end it earlier."""
    return f"{'at most ' if estimate.is_most else ''}about {rough_text(estimate.seconds or 0.0)}"


def rough_text(seconds: float) -> str:
    """A time of which two digits are known at most: 0.4s, 50s, 12m, 2h 10m, 3d 4h, 120d."""
    step = next(step for limit, step in _STEPS.items() if seconds < limit)
    text = duration_text(round(round(seconds / step) * step, 1))
    return re.sub(r"(?<=[dhm])", " ", text).rstrip()


# Up to so many seconds, a time is rounded to so many.
_STEPS = {1: 0.1, 30: 1, 300: 5, 3_600: 60, 36_000: 600, 864_000: 3_600, math.inf: 86_400}
