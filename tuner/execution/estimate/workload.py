"""What a run is going to train: trials by structure, in the order in which workers get them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.data.dataset import DatasetInfo
from tuner.data.splits import train_size, validation_size
from tuner.execution.checks import cost_of
from tuner.execution.membership import all_trials, total_trials
from tuner.execution.queue import LOOK_AHEAD
from tuner.experiment.experiment import Experiment
from tuner.experiment.space import Branch
from tuner.experiment.trial import Configuration, Trial, TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, KnownTrial
from tuner.search import make_method
from tuner.search.hyperband import Hyperband

FEW_ENOUGH_TO_LIST = 2_000  # trials; of a space, structures
_OPEN = (TrialState.WAITING, TrialState.RUNNING)


@dataclass(frozen=True)
class Network:
    """A structure on a data set: all that decides how fast it trains on a device."""

    structure: str
    family: str
    image_shape: tuple[int, ...]
    num_classes: int
    batch_size: int
    parameters: int
    macs: int
    activations: int
    steps: int  # of an epoch
    validation_images: int

    @property
    def key(self) -> tuple[Any, ...]:
        """As `Speed.structure` and `Speed.network`."""
        shape = (self.image_shape, self.num_classes, self.batch_size, self.parameters, self.macs)
        return (self.structure, *shape)


@dataclass(frozen=True)
class Job:
    """Trials of one structure, one after the other, with so many epochs each."""

    structure: str
    epochs: float
    count: float = 1


@dataclass(frozen=True)
class Past:
    """What the ledger knows: trials by key, and the epochs of those that were begun."""

    known: Mapping[str, KnownTrial] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    trained: int = 0  # epochs in all
    done: int = 0  # planned trials
    mean_seconds: float | None = None  # of a ranked trial


@dataclass(frozen=True)
class Workload:
    """Jobs in order, and a configuration of each structure with how many share it.

    Each job stands for `scale` like it: of a search that cannot be listed they are a sample.
    `is_whole` is False where there are more structures than were looked at.
    """

    configurations: Mapping[str, tuple[Configuration, int | None]]
    jobs: tuple[Job, ...]
    scale: float = 1.0
    is_listed: bool = False
    is_whole: bool = True

    @property
    def epochs(self) -> float:
        """Of all jobs together."""
        return self.scale * sum(job.epochs * job.count for job in self.jobs)


def past_of(ledger: Ledger, done: int) -> Past:
    """What is behind; `done` of the planned trials have ended."""
    begun = {row.key: row.epochs for row in ledger.rows(_OPEN, all_versions=True) if row.epochs}
    trained, mean = ledger.trained_epochs(), ledger.mean_seconds()
    return Past(ledger.by_key(all_versions=True), begun, trained, done, mean)


def workload_of(experiment: Experiment, fingerprint: str, past: Past) -> Workload:
    """What is still to be trained, if no rule stops anything and nothing fails."""
    method, total = make_method(experiment), total_trials(experiment)
    if not method.is_adaptive and total is not None and total <= FEW_ENOUGH_TO_LIST:
        return _listed(experiment, fingerprint, past)
    to_run = 0 if total is None else max(0, total - past.done)
    found, is_whole = _structures(experiment)
    if experiment.search.method in ("grid", "list") and not method.is_adaptive:
        jobs = _in_a_row(experiment, found, total or 0)
    else:
        jobs = _drawn(found, to_run, in_blocks=not method.is_adaptive)
    if isinstance(method, Hyperband) and to_run:
        left = method.planned_epochs * experiment.search.replicates - past.trained
        jobs = [Job(job.structure, max(0, left) / to_run, job.count) for job in jobs]
    count = sum(job.count for job in jobs)
    configurations = {key: (each.configuration, each.count) for key, each in found.items()}
    scale = to_run / count if count else 0.0
    return Workload(configurations, tuple(jobs), scale, is_whole=is_whole)


def network_of(configuration: Configuration, key: str, info: DatasetInfo, data: Any) -> Network:
    """The network of a configuration on the images that a data section leaves.

    Raises:
        InputError: it cannot take them.
    """
    cost = cost_of(configuration, info)
    num_train = train_size(data.validation, data.train_images, info.num_train)
    batch = configuration.training["batch_size"]
    batch_size = num_train if batch == "full" else int(batch)
    return Network(
        structure=key,
        family=configuration.model["family"],
        image_shape=tuple(info.image_shape),
        num_classes=info.num_classes,
        batch_size=batch_size,
        parameters=cost.parameters,
        macs=cost.macs,
        activations=cost.activations,
        steps=num_train // batch_size,
        validation_images=validation_size(data.validation, info.num_train),
    )


# ---------------------------------------------------------------------- trial by trial


def _listed(experiment: Experiment, fingerprint: str, past: Past) -> Workload:
    """Every trial that is to run, in the order of the queue."""
    found: dict[str, tuple[Configuration, int | None]] = {}
    jobs: list[Job] = []
    trials = all_trials(experiment, fingerprint)
    proposals = (list(group) for _, group in itertools.groupby(trials, lambda t: t.configuration))
    for block in _blocks(proposals):
        by_structure: dict[str, list[Job]] = {}
        for replicates in block:
            to_run = [trial for trial in replicates if _is_to_run(trial, past)]
            if not to_run:
                continue
            key = to_run[0].structure.key
            configuration, count = found.get(key, (to_run[0].configuration, 0))
            found[key] = (configuration, (count or 0) + 1)
            by_structure.setdefault(key, []).extend(_job(trial, key, past) for trial in to_run)
        jobs += itertools.chain.from_iterable(by_structure.values())
    return Workload(found, tuple(jobs), is_listed=True)


def _blocks(proposals: Iterator[list[Trial]]) -> Iterator[list[list[Trial]]]:
    while block := list(itertools.islice(proposals, LOOK_AHEAD)):
        yield block


def _is_to_run(trial: Trial, past: Past) -> bool:
    known = past.known.get(trial.key)
    return known is None or known.state not in FINISHED_STATES


def _job(trial: Trial, key: str, past: Past) -> Job:
    epochs = int(trial.configuration.training["epochs"])
    return Job(key, max(0, epochs - past.epochs.get(trial.key, 0)))


# ---------------------------------------------------------------------- structure by structure


@dataclass(frozen=True)
class _Structure:
    configuration: Configuration
    count: int | None
    epochs: float


def _structures(experiment: Experiment) -> tuple[dict[str, _Structure], bool]:
    """The structures of the space by key; whether these are all."""
    found: dict[str, _Structure] = {}
    each = itertools.chain.from_iterable(map(_of_branch, experiment.space.branches))
    for structure in itertools.islice(each, FEW_ENOUGH_TO_LIST):
        key = experiment.trial(structure.configuration).structure.key
        before = found.get(key)
        if before is None:
            found[key] = structure
            continue
        counts = (before.count, structure.count)
        both = None if None in counts else sum(count or 0 for count in counts)
        found[key] = _Structure(before.configuration, both, before.epochs)
    return found, next(each, None) is None


def _of_branch(branch: Branch) -> Iterator[_Structure]:
    opened = [axis for axis in branch.axes if axis.name == "training.epochs"]
    for configuration, count in branch.structures():
        epochs = float(configuration.training["epochs"])
        if opened:
            support = opened[0].support
            epochs = sum(float(value) for value in support) / len(support)
        yield _Structure(configuration, count, epochs)


def _in_a_row(experiment: Experiment, found: Mapping[str, _Structure], total: int) -> list[Job]:
    """A grid's jobs: structure after structure, until there are as many as are asked for."""
    replicates, jobs = experiment.search.replicates, []
    for key, structure in found.items():
        count = min((structure.count or 0) * replicates, total)
        total -= count
        if count:
            jobs.append(Job(key, structure.epochs, count))
    return jobs


def _drawn(found: Mapping[str, _Structure], to_run: int, *, in_blocks: bool) -> list[Job]:
    """A sample of what a search that draws will propose; a plan is sorted block by block."""
    if not found or not to_run:
        return []
    weights = [structure.count or 1 for structure in found.values()]
    if any(structure.count is None for structure in found.values()):
        weights = [1] * len(found)
    sample = min(to_run, FEW_ENOUGH_TO_LIST)
    keys = random.Random(0).choices(list(found), weights=weights, k=sample)
    if in_blocks:
        keys = list(itertools.chain.from_iterable(map(_sorted, _cut(keys))))
    return [Job(key, found[key].epochs) for key in keys]


def _cut(keys: list[str]) -> Iterator[list[str]]:
    return (keys[start : start + LOOK_AHEAD] for start in range(0, len(keys), LOOK_AHEAD))


def _sorted(keys: Iterable[str]) -> list[str]:
    listed = list(keys)
    return sorted(listed, key=listed.index)
