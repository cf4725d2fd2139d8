"""What a run would do: trials, structures, their cost and time. Needs no framework."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.actions import plan_text
from tuner.data.dataset import DatasetInfo, Progress
from tuner.errors import InputError, Problem
from tuner.execution.checks import check_same_data, notes
from tuner.execution.devices import check_shares
from tuner.execution.estimate import (
    MAX_COSTED,
    MAX_OWN_COSTED,
    Here,
    NetworkCost,
    Work,
    make_estimate,
    network_of,
    networks_of,
    remaining_work,
    rough_text,
    work_in,
)
from tuner.execution.half_precision import precision_notes
from tuner.execution.more_workers import worker_notes
from tuner.execution.networks import LeftOut, SizeLimit, check_experiment
from tuner.execution.queue import unfinished_trials, why_enough
from tuner.execution.recorder import KEPT_BEST
from tuner.experiment.experiment import Experiment
from tuner.experiment.schema import OPTIMIZER_SLOTS, STRUCTURAL
from tuner.experiment.sizes import memory_of, optimizer_of
from tuner.experiment.trial import Trial
from tuner.ledger.environment import memory_bytes
from tuner.ledger.estimate import Estimate
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.models import Cost, family_of, is_own, runtime_fields
from tuner.report import format
from tuner.report.seed_spread import (
    SAME_DATA,
    SeedSpread,
    data_of,
    difference_text,
    spread_elsewhere,
    spread_of,
    usual_difference,
)
from tuner.report.settled import settles
from tuner.search import Search

BYTES_PER_TRIAL = 2_000  # a row of the ledger and of trials.csv, and its share of indices
BYTES_PER_EPOCH = 300
FRAMEWORK_BYTES = 800 * 2**20  # of a worker that has imported it and compiled a program


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
class PlannedPower:
    """How many seeds decide a usual difference between two configurations, and how long that takes.

    `seeds` is None for more than can be hoped for. `least` is the difference that the planned
    replicates decide; None for fewer than six, which decide nothing.
    """

    metric: str
    spread: SeedSpread
    difference: float
    seeds: int | None
    seconds: float | None
    replicates: int
    least: float | None

    @property
    def text(self) -> str:
        """In a line."""
        difference = f"a difference of {difference_text(self.metric, self.difference)}"
        needed = "too many seeds"
        if self.seeds is not None:
            time = "" if self.seconds is None else f" and about {rough_text(self.seconds)}"
            needed = f"{self.seeds} seeds{time}"
        text = f"{difference} between two configurations takes {needed} to decide"
        if self.replicates > 1:
            least = "nothing" if self.least is None else difference_text(self.metric, self.least)
            text += f", and {self.replicates} decide {least}"
        return f"{text} ({self.spread.text})"


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
    limits: tuple[SizeLimit, ...] = ()
    power: PlannedPower | None = None

    def __repr__(self) -> str:
        return plan_text.to_text(self, width=80)

    def _repr_html_(self) -> str:
        return plan_text.to_html(self)


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
    experiment, info, search = checked.experiment, checked.info, checked.search()
    _check_kept_data(experiment, info, results_dir)
    left_out = checked.looked_ahead(search)
    work, done = work_in(results_dir, search)
    total = search.total_trials
    to_run = None if total is None else max(0, total - done)
    enough, only = _why_enough(search, results_dir)
    if only is not None:
        work, to_run = only
    networks = networks_of(search, work, info)
    structures = tuple(_structures(search, info, work, networks))
    epochs = _epochs_to_run(search, work, to_run)
    checkpoints = disk = None
    if to_run is not None:
        checkpoints = _checkpoint_bytes(search, structures, to_run, here.workers)
        if epochs is not None:
            disk = to_run * BYTES_PER_TRIAL + epochs * BYTES_PER_EPOCH + checkpoints
    time = make_estimate(search, work, networks, here)
    most = _most_workers(to_run, structures, info)
    return Plan(
        name=experiment.name,
        total=total,
        done=done,
        to_run=to_run,
        excluded=checked.excluded,
        replicates=experiment.search.replicates,
        epochs=epochs,
        structures=structures,
        num_structures=len(work.structures) if work.is_whole else None,
        disk_bytes=disk,
        checkpoint_bytes=checkpoints,
        time=time,
        data=info,
        notes=(
            *notes(experiment, total, info),
            *left_out.notes(),
            *checked.notes(),
            *enough,
            *(_notes_here(experiment, here, structures, info, results_dir) if to_run != 0 else ()),
            *(_speed_notes(experiment, here, time, most, is_new=not done) if to_run != 0 else ()),
        ),
        left_out=left_out,
        limits=checked.limits(),
        power=_power(search, results_dir, time, to_run),
    )


def _why_enough(search: Search, results_dir: Path) -> tuple[list[str], tuple[Work, int] | None]:
    """That the search has seen enough, if it has, and what of it is still to run: what had begun.

    The work comes with its number of trials.
    """
    path = RunFolder(results_dir, search.experiment.name).ledger
    if search.experiment.search.enough is None or not path.is_file():
        return [], None
    with Ledger.open_read_only(path) as ledger:
        reason = why_enough(search, ledger, settles)
        if not reason:
            return [], None
        trials = unfinished_trials(search, ledger)
        work = remaining_work(search, ledger, only=trials)
    return [f"search.enough has ended the search: {reason}"], (work, len(trials))


def _power(
    search: Search, results_dir: Path, time: Estimate, to_run: int | None
) -> PlannedPower | None:
    """From the spread between seeds in its own ledger, or of others on the same data."""
    experiment, folder = search.experiment, RunFolder(results_dir, search.experiment.name)
    configuration = next(search.planned(), None)
    if configuration is None:
        return None
    context = search.trial(configuration, 0).context
    data = {name: context.get(name) for name in SAME_DATA}
    spread = None
    if folder.ledger.is_file():
        with Ledger.open_read_only(folder.ledger) as ledger:
            spread = spread_of(row for row in ledger.rows() if data_of(row) == data)
    metric = experiment.objective.metric
    spread = spread or spread_elsewhere(folder, metric, data)
    if spread is None or not spread.spread:
        return None
    from tuner.report.power import least_difference, seeds_to_decide  # late: needs numpy

    difference, replicates = usual_difference(metric, spread.spread), experiment.search.replicates
    seeds = seeds_to_decide(difference, spread.spread)
    each = time.seconds / to_run if time.seconds and to_run else None
    return PlannedPower(
        metric=metric,
        spread=spread,
        difference=difference,
        seeds=seeds,
        seconds=None if each is None or seeds is None else 2 * seeds * each,
        replicates=replicates,
        least=least_difference(spread.spread, replicates),
    )


def _check_kept_data(experiment: Experiment, info: DatasetInfo, results_dir: Path) -> None:
    """The images are those with which the experiment began, as `run` wants them."""
    path = RunFolder(results_dir, experiment.name).ledger
    if path.is_file():
        with Ledger.open_read_only(path) as ledger:
            where = experiment.where("data.dataset")
            check_same_data(ledger.data_record, experiment.data, info, where)


def _notes_here(
    experiment: Experiment,
    here: Here,
    structures: Sequence[PlannedStructure],
    info: DatasetInfo,
    results_dir: Path,
) -> Iterator[str]:
    """What stands against a run on this very machine. A plan may be for another one."""
    try:
        check_shares(experiment, here.workers, here.gpus, here.environment)
    except InputError as error:
        for problem in error.problems:
            yield f"a run here is refused: {problem.what} ({problem.mend})"
    path = RunFolder(results_dir, experiment.name).ledger
    trained = {}
    if path.is_file():
        with Ledger.open_read_only(path) as ledger:
            trained = ledger.threads()
    yield from here.notes(experiment, trained)
    yield from _memory_notes(experiment, here, structures, info)


def _speed_notes(
    experiment: Experiment, here: Here, time: Estimate, most: int, *, is_new: bool
) -> Iterator[str]:
    """What would train faster here, with `most` workers at most."""
    yield from precision_notes(experiment, here, time, is_new=is_new)
    yield from worker_notes(experiment, here, time, most=most, is_new=is_new)


def _memory_notes(
    experiment: Experiment, here: Here, structures: Sequence[PlannedStructure], info: DatasetInfo
) -> Iterator[str]:
    """That networks may not fit into what there is for each worker, which has its own data."""
    needed, memory = _worker_bytes(structures, info), here.worker_memory_bytes
    if memory is None or needed <= memory:
        return
    each, ways = "a worker", ["a smaller batch_size", "a smaller network"]
    if any(branch.model.get("memory_efficient") is False for branch in experiment.space.branches):
        ways.insert(0, "model.memory_efficient: true")
    if here.workers > 1:
        each = f"each of {here.workers} workers"
        ways.insert(0, "fewer workers (-j)")
    yield (
        f"the largest network needs about {format.bytes_text(needed)} with its data and its "
        f"framework, and {each} has {format.bytes_text(memory)}: "
        f"{', '.join(ways[:-1])} or {ways[-1]} may be needed"
    )


def _worker_bytes(structures: Sequence[PlannedStructure], info: DatasetInfo) -> int:
    """Memory that the largest network takes with its data and its framework."""
    images = math.prod(info.image_shape) * info.num_train
    return max((s.memory_bytes for s in structures), default=0) + images + FRAMEWORK_BYTES


def _most_workers(
    to_run: int | None, structures: Sequence[PlannedStructure], info: DatasetInfo
) -> int:
    """As many as have a trial each, and fit into the memory of this machine, if that is known."""
    memory = memory_bytes()
    fitting = memory // _worker_bytes(structures, info) if memory else 1
    return fitting if to_run is None else min(fitting, to_run)


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
        if not search.admits(configuration):
            continue
        try:
            network = known.get(key) or network_of(search, configuration, key, info)
        except InputError:
            continue  # it is left out
        flat = configuration.flat()
        slots = OPTIMIZER_SLOTS[optimizer_of(configuration)]
        cost = Cost(network.parameters, network.macs, network.activations)
        yield PlannedStructure(
            values={name: flat[name] for name in names if name in flat},
            configurations=remaining.configurations,
            parameters=network.parameters,
            macs=network.macs,
            activations=network.activations,
            memory_bytes=memory_of(cost, configuration, network.batch_size, experiment.precision),
            checkpoint_bytes=network.parameters * 4 * (1 + slots),
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
    """The most that checkpoints take at a time: see `Ledger.finish`.

    A running trial has its newest and its best, as one that a rule has stopped; of those that
    came to their end a few have their best.
    """
    if not structures or not to_run:
        return 0
    sizes = [structure.checkpoint_bytes for structure in structures]
    most = (2 * min(workers, to_run) + min(KEPT_BEST, to_run)) * max(sizes)
    stops = search.experiment.search.stop is not None or search.planned_epochs is not None
    return most + (2 * max(0, to_run - KEPT_BEST) * sum(sizes) // len(sizes) if stops else 0)
