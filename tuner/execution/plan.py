"""What a run would do: trials, structures, their cost. Needs no framework and lists no grid."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tuner
from tuner.data.dataset import DatasetInfo
from tuner.data.images import check
from tuner.data.splits import train_size
from tuner.execution.checks import check_networks, check_sizes
from tuner.execution.costs import cost_of
from tuner.experiment.experiment import Experiment
from tuner.experiment.schema import COMPILED
from tuner.experiment.space import Branch
from tuner.experiment.trial import (
    OUTCOME_VERSION,
    Configuration,
    Trial,
    TrialState,
    canonical,
)
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, KnownTrial
from tuner.models import family_of, is_own
from tuner.models.own import own_family
from tuner.search import make_method
from tuner.training.slots import NUM_SLOTS

# Up to so many trials are looked at one by one where a shortcut would not be exact.
FEW = 20_000
FEW_ENOUGH_TO_LIST = 2_000
BYTES_PER_TRIAL = 2_000  # a row of the ledger and of trials.csv, and its share of indices
BYTES_PER_EPOCH = 300


@dataclass(frozen=True)
class PlannedStructure:
    """One program that would be compiled, and what it costs.

    `macs` are multiply-adds and `activations` elements, both per image; `memory_bytes` estimates
    weights, gradients, optimizer slots and one batch of activations together.
    """

    values: dict[str, Any]
    configurations: int | None
    parameters: int
    macs: int
    activations: int
    memory_bytes: int


@dataclass(frozen=True)
class Plan:
    """Everything that `tuner plan` prints; None where the search cannot know."""

    name: str
    total: int | None
    done: int
    to_run: int | None
    excluded: int
    replicates: int
    epochs: int | None
    structures: tuple[PlannedStructure, ...]
    disk_bytes: int | None
    notes: tuple[str, ...] = ()


def make_plan(experiment: Experiment, *, results_dir: Path, data_dir: Path | None) -> Plan:
    """What `run` would do now.

    Raises:
        InputError: sizes that do not fit the data set, or images that a network cannot take.
    """
    info = check(experiment.data, data_dir)
    check_sizes(experiment, info)
    check_networks(experiment, info)
    total = total_trials(experiment)
    done, known = 0, {}
    path = RunFolder(results_dir, experiment.name).ledger
    if path.is_file():
        with Ledger.open_read_only(path) as ledger:
            outcomes = count_planned(experiment, info.fingerprint, ledger)
            known = ledger.by_key()
        done = sum(outcomes[state] for state in FINISHED_STATES)
    to_run = None if total is None else total - done
    epochs = _epochs_to_run(experiment, to_run)
    return Plan(
        name=experiment.name,
        total=total,
        done=done,
        to_run=to_run,
        excluded=experiment.space.excluded,
        replicates=experiment.search.replicates,
        epochs=epochs,
        structures=tuple(_structures(experiment, info, total, known)),
        disk_bytes=None
        if to_run is None or epochs is None
        else to_run * BYTES_PER_TRIAL + epochs * BYTES_PER_EPOCH,
        notes=tuple(notes(experiment, total)),
    )


def total_trials(experiment: Experiment) -> int | None:
    """Configurations that the search will propose times replicates; None: it cannot know."""
    configurations = make_method(experiment).total
    return None if configurations is None else configurations * experiment.search.replicates


def planned_trials(experiment: Experiment, *, data_dir: Path | None) -> Iterator[Trial]:
    """Every trial of the experiment, in the order of the search."""
    yield from _trials(experiment, check(experiment.data, data_dir).fingerprint)


def _trials(experiment: Experiment, fingerprint: str) -> Iterator[Trial]:
    method = make_method(experiment)
    while (configuration := method.ask()) is not None:
        for replicate in range(experiment.search.replicates):
            yield experiment.trial(configuration, replicate, fingerprint)


def count_planned(
    experiment: Experiment, fingerprint: str, ledger: Ledger
) -> dict[TrialState, int]:
    """The experiment's trials in the ledger by state, without those that an edit has left behind.

    Under the plan that a run has settled nothing is looked at but those that were left behind.
    """
    strangers = ledger.strangers(plan_key(experiment, fingerprint))
    if strangers is None:
        return _counted(experiment, fingerprint, ledger, ledger.by_key())
    return _counts_without(ledger, strangers)


def settle_plan(experiment: Experiment, fingerprint: str, ledger: Ledger) -> dict[TrialState, int]:
    """What `count_planned` gives, and from now on it does so at once: for the ledger's writer."""
    key = plan_key(experiment, fingerprint)
    strangers = ledger.strangers(key)
    if strangers is None:
        known = ledger.by_key()
        planned = set(_planned_numbers(experiment, fingerprint, ledger, known))
        strangers = frozenset(trial.number for trial in known.values()) - planned
        ledger.settle_plan(key, strangers)
    return _counts_without(ledger, strangers)


def plan_key(experiment: Experiment, fingerprint: str) -> str:
    """A hash of all that decides which trials a search proposes; the same in every process."""
    families = sorted({branch.model["family"] for branch in experiment.space.branches})
    content = {
        "version": (OUTCOME_VERSION, tuner.__version__),
        "experiment": experiment.document,
        "data": fingerprint,
        "code": [family_of(name).fingerprint for name in families],
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _counts_without(ledger: Ledger, strangers: frozenset[int]) -> dict[TrialState, int]:
    counts = ledger.counts()
    if strangers:
        left_behind = Counter(t.state for t in ledger.by_key().values() if t.number in strangers)
        counts = {state: count - left_behind[state] for state, count in counts.items()}
    return counts


def _counted(
    experiment: Experiment, fingerprint: str, ledger: Ledger, known: Mapping[str, KnownTrial]
) -> dict[TrialState, int]:
    states = {trial.number: trial.state for trial in known.values()}
    planned = _planned_numbers(experiment, fingerprint, ledger, known)
    return dict.fromkeys(TrialState, 0) | Counter(states[number] for number in planned)


def _planned_numbers(
    experiment: Experiment, fingerprint: str, ledger: Ledger, known: Mapping[str, KnownTrial]
) -> list[int]:
    """Numbers of the known trials that the experiment plans.

    A grid is asked where each known trial lies in it; other plans are listed.
    """
    if not known:
        return []
    total = total_trials(experiment) or 0
    if experiment.search.method != "grid" or total <= max(FEW, 2 * len(known)):
        keys = (trial.key for trial in _trials(experiment, fingerprint))
        return [known[key].number for key in keys if key in known]
    limit = total // experiment.search.replicates
    return [
        row.number
        for row in ledger.rows()
        if _is_planned(experiment, row.configuration, row.seed, row.key, fingerprint, limit)
    ]


def _is_planned(
    experiment: Experiment,
    flat: Mapping[str, Any],
    seed: int,
    key: str,
    fingerprint: str,
    limit: int,
) -> bool:
    index = experiment.space.index(flat)
    replicate = seed - experiment.search.seed
    if index is None or index >= limit or not 0 <= replicate < experiment.search.replicates:
        return False
    return experiment.trial(experiment.space[index], replicate, fingerprint).key == key


def _epochs_to_run(experiment: Experiment, to_run: int | None) -> int | None:
    branches = experiment.space.branches
    closed = {branch.training["epochs"] for branch in branches}
    if to_run is None or len(closed) > 1 or any(_opens(b, "training.epochs") for b in branches):
        return None
    return int(closed.pop()) * to_run


def _opens(branch: Branch, name: str) -> bool:
    return any(axis.name == name for axis in branch.axes)


def _structures(
    experiment: Experiment,
    info: DatasetInfo,
    total: int | None,
    known: Mapping[str, KnownTrial],
) -> Iterator[PlannedStructure]:
    """One entry per program to compile: of the trials to run, or where they are many, of all."""
    if total is not None and total <= FEW_ENOUGH_TO_LIST:
        counted = _to_run(experiment, info.fingerprint, known)
    else:
        counted = experiment.space.structures()
    found: dict[str, tuple[Configuration, int | None]] = {}
    for configuration, count in counted:
        key = experiment.trial(configuration).structure.key
        before = found.get(key, (configuration, 0))[1]
        both = None if count is None or before is None else before + count
        found[key] = (configuration, both)
    names = _structural_names(experiment)
    for configuration, count in found.values():
        yield _planned(experiment, info, configuration, count, names)


def _to_run(
    experiment: Experiment, fingerprint: str, known: Mapping[str, KnownTrial]
) -> Iterator[tuple[Configuration, int | None]]:
    """Each configuration of which a replicate is still to run."""
    trials = _trials(experiment, fingerprint)
    for configuration, replicates in itertools.groupby(trials, key=lambda t: t.configuration):
        found = [known.get(trial.key) for trial in replicates]
        if not all(trial and trial.state in FINISHED_STATES for trial in found):
            yield configuration, 1


def _structural_names(experiment: Experiment) -> list[str]:
    structural = {
        axis.name for branch in experiment.space.branches for axis in branch.axes if axis.structural
    }
    splits = {"model.family", "training.optimizer"}
    named = [name for name in experiment.space.names if name in structural | splits]
    return named or ["model.family"]


def _planned(
    experiment: Experiment,
    info: DatasetInfo,
    configuration: Configuration,
    count: int | None,
    names: list[str],
) -> PlannedStructure:
    cost = cost_of(configuration, info)
    flat = configuration.flat()
    batch = configuration.training["batch_size"]
    data = experiment.data
    if batch == "full":
        batch = train_size(data.validation, data.train_images, info.num_train)
    slots = NUM_SLOTS[_optimizer(configuration)]
    bytes_each = 4 if experiment.precision == "float32" else 2
    memory = cost.parameters * 4 * (2 + slots) + cost.activations * int(batch) * bytes_each
    return PlannedStructure(
        values={name: flat[name] for name in names if name in flat},
        configurations=count,
        parameters=cost.parameters,
        macs=cost.macs,
        activations=cost.activations,
        memory_bytes=memory,
    )


def _optimizer(configuration: Configuration) -> str:
    optimizer = str(configuration.training["optimizer"])
    if optimizer != COMPILED:
        return optimizer
    return own_family(configuration.model["family"]).declaration.optimizer or "adam"


def notes(experiment: Experiment, total: int | None) -> Iterator[str]:
    """What a person should know of the experiment before it runs."""
    own = {b.model["family"] for b in experiment.space.branches if is_own(b.model["family"])}
    for name in sorted(own):
        yield from (f"{name}: {note}" for note in own_family(name).declaration.notes)
    asked = experiment.search.max_trials
    if asked is None or total is None:
        return
    configurations = total // experiment.search.replicates
    if configurations < asked:
        yield f"the space has {configurations:,} configurations, fewer than max_trials {asked:,}"
