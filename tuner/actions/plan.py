"""What a run would do: trials, structures, their cost and time. Needs no framework."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.data.dataset import DatasetInfo, Progress
from tuner.errors import InputError, Problem
from tuner.execution.checks import check_same_data, notes
from tuner.execution.estimate import (
    MAX_COSTED,
    MAX_OWN_COSTED,
    Here,
    NetworkCost,
    Work,
    make_estimate,
    network_of,
    networks_of,
    work_in,
)
from tuner.execution.networks import LeftOut, check_experiment
from tuner.execution.recorder import KEPT_BEST
from tuner.experiment.experiment import Experiment
from tuner.experiment.schema import COMPILED, STRUCTURAL
from tuner.experiment.trial import Configuration, Trial
from tuner.ledger.estimate import Estimate
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.models import family_of, is_own, runtime_fields
from tuner.models.own import own_family
from tuner.search import Search
from tuner.training.optimizers import OPTIMIZERS

BYTES_PER_TRIAL = 2_000  # a row of the ledger and of trials.csv, and its share of indices
BYTES_PER_EPOCH = 300


@dataclass(frozen=True)
class PlannedStructure:
    """One program that would be compiled, and what it costs.

    `macs` are multiply-adds and `activations` elements, both per image; `memory_bytes` estimates
    weights, gradients, optimizer slots and one batch of activations together; a checkpoint holds
    weights and slots.
    """

    values: dict[str, Any]
    configurations: int | None
    parameters: int
    macs: int
    activations: int
    memory_bytes: int
    checkpoint_bytes: int


@dataclass(frozen=True)
class Plan:
    """Everything that `tuner plan` prints; None where the search cannot know.

    `structures` are the first of `num_structures` (None: more than were counted). `disk_bytes`
    include checkpoints.
    """

    name: str
    total: int | None
    done: int
    to_run: int | None
    excluded: int
    replicates: int
    epochs: int | None
    structures: tuple[PlannedStructure, ...]
    num_structures: int | None
    disk_bytes: int | None
    checkpoint_bytes: int | None
    time: Estimate
    data: DatasetInfo
    notes: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)


def make_plan(
    experiment: Experiment,
    *,
    results_dir: Path,
    data_dir: Path | None,
    here: Here | None = None,
    progress: Progress | None = None,
) -> Plan:
    """What `run` would do now; without `here`, with one worker.

    Raises:
        InputError: sizes that do not fit the data set, images that no network can take, or that are
            others than when the experiment began.
    """
    here = here or Here(1, (), os.environ)
    checked = check_experiment(experiment, data_dir, progress)
    excluded = experiment.space.excluded
    experiment, info, search = checked.experiment, checked.info, checked.search()
    _check_kept_data(experiment, info, results_dir)
    left_out = checked.looked_ahead(search)
    work, done = work_in(results_dir, search)
    total = search.total_trials
    to_run = None if total is None else total - done
    networks = networks_of(search, work, info)
    structures = tuple(_structures(search, info, work, networks))
    epochs = _epochs_to_run(search, work, to_run)
    checkpoints = disk = None
    if to_run is not None:
        checkpoints = _checkpoint_bytes(search, structures, to_run, here.workers)
        if epochs is not None:
            disk = to_run * BYTES_PER_TRIAL + epochs * BYTES_PER_EPOCH + checkpoints
    return Plan(
        name=experiment.name,
        total=total,
        done=done,
        to_run=to_run,
        excluded=excluded,
        replicates=experiment.search.replicates,
        epochs=epochs,
        structures=structures,
        num_structures=len(work.structures) if work.is_whole else None,
        disk_bytes=disk,
        checkpoint_bytes=checkpoints,
        time=make_estimate(search, work, networks, here),
        data=info,
        notes=(*notes(experiment, total, info), *left_out.notes()),
        left_out=left_out,
    )


def _check_kept_data(experiment: Experiment, info: DatasetInfo, results_dir: Path) -> None:
    """The images are those with which the experiment began, as `run` wants them."""
    path = RunFolder(results_dir, experiment.name).ledger
    if path.is_file():
        with Ledger.open_read_only(path) as ledger:
            where = experiment.where("data.dataset")
            check_same_data(ledger.data_record, experiment.data, info, where)


def planned_trials(experiment: Experiment, *, data_dir: Path | None) -> Iterator[Trial]:
    """Every trial of the experiment, in the order of the search.

    Raises:
        InputError: results decide what comes next, so that nobody knows yet.
    """
    search = check_experiment(experiment, data_dir).search()
    if search.is_adaptive:
        method = experiment.search.method
        what = f"the trials of {method} cannot be listed: results decide what comes next"
        raise InputError(Problem(what, experiment.where("search.method"), method))
    yield from search.trials()


def _epochs_to_run(search: Search, work: Work, to_run: int | None) -> int | None:
    """What is still to be trained if no rule stops anything; None: that depends on what comes."""
    if work.is_listed or search.planned_epochs is not None:
        return round(work.epochs)
    branches = search.experiment.space.branches
    closed = {branch.training["epochs"] for branch in branches}
    is_open = any(axis.name == "training.epochs" for b in branches for axis in b.axes)
    return None if to_run is None or len(closed) > 1 or is_open else int(closed.pop()) * to_run


def _structures(
    search: Search, info: DatasetInfo, work: Work, known: Mapping[str, NetworkCost]
) -> Iterator[PlannedStructure]:
    """One entry per program to compile: of the trials to run, or where they are many, of all."""
    experiment = search.experiment
    own = any(is_own(branch.model["family"]) for branch in experiment.space.branches)
    most = MAX_OWN_COSTED if own else MAX_COSTED
    names = _structural_names(experiment)
    for key, remaining in itertools.islice(work.structures.items(), most):
        configuration = remaining.configuration
        try:
            network = known.get(key) or network_of(search, configuration, key, info)
        except InputError:
            continue  # it is left out
        flat = configuration.flat()
        slots = OPTIMIZERS[_optimizer(configuration)].num_slots
        weights = network.parameters * 4
        bytes_each = 4 if experiment.precision == "float32" else 2
        activations = network.activations * network.batch_size * bytes_each
        yield PlannedStructure(
            values={name: flat[name] for name in names if name in flat},
            configurations=remaining.configurations,
            parameters=network.parameters,
            macs=network.macs,
            activations=network.activations,
            memory_bytes=weights * (2 + slots) + activations,
            checkpoint_bytes=weights * (1 + slots),
        )


def _structural_names(experiment: Experiment) -> list[str]:
    """The open names, or those that differ between the entries of a list, that shape a network."""
    space = experiment.space
    structural = {axis.name for branch in space.branches for axis in branch.axes if axis.structural}
    structural |= {f"training.{name}" for name in STRUCTURAL} | {"model.family"}
    axes = {axis.name for branch in space.branches for axis in branch.axes}
    for family in {branch.model["family"] for branch in space.branches}:
        config = family_of(family).config
        shaping = config.model_fields.keys() - set(runtime_fields(config))
        structural |= {f"model.{name}" for name in shaping} - axes
    return [name for name in space.names if name in structural] or ["model.family"]


def _checkpoint_bytes(
    search: Search, structures: Sequence[PlannedStructure], to_run: int, workers: int
) -> int:
    """The most that checkpoints take at a time: see `Ledger.forget_spare_checkpoints`.

    A running trial has its newest and its best, as one that a rule has stopped; of those that
    came to their end a few have their best.
    """
    if not structures or not to_run:
        return 0
    sizes = [structure.checkpoint_bytes for structure in structures]
    most = (2 * min(workers, to_run) + min(KEPT_BEST, to_run)) * max(sizes)
    stops = search.experiment.search.stop is not None or search.planned_epochs is not None
    return most + (2 * max(0, to_run - KEPT_BEST) * sum(sizes) // len(sizes) if stops else 0)


def _optimizer(configuration: Configuration) -> str:
    optimizer = str(configuration.training["optimizer"])
    if optimizer != COMPILED:
        return optimizer
    return own_family(configuration.model["family"]).declaration.optimizer or "adam"
