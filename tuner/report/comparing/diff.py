"""Two trials against each other: what differs in configuration, environment and result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.objective import Objective
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, TrialRow
from tuner.ledger.scores import best_of
from tuner.report import words
from tuner.report.record import read_environment

_NO_DIFFERENCE = {"created_at"}  # differs always, and says nothing
_ABSENT = object()


@dataclass(frozen=True)
class Subject:
    """One of the two trials, with what is known of where it was trained."""

    experiment: str
    row: TrialRow
    epochs: tuple[EpochRow, ...]
    environment: Mapping[str, Any]
    objective: Objective

    @property
    def label(self) -> str:
        """NAME/TRIAL."""
        return f"{words.printable(self.experiment)}/{self.row.number}"


@dataclass(frozen=True)
class Change:
    """A value that differs; `is_there` says which of the two trials have it."""

    name: str
    one: Any
    other: Any
    is_there: tuple[bool, bool] = (True, True)


@dataclass(frozen=True)
class BestEpoch:
    """A metric's best value and the first epoch that has it, in either trial; None for neither."""

    metric: str
    one: tuple[float, int] | None
    other: tuple[float, int] | None


@dataclass(frozen=True)
class Diff:
    """What differs, by where. `equal` counts the values of each part that do not."""

    one: Subject
    other: Subject
    is_same_trial: bool
    configuration: tuple[Change, ...]
    environment: tuple[Change, ...]
    result: tuple[Change, ...]
    curves: tuple[BestEpoch, ...]
    equal: Mapping[str, int]


def read_subject(reference: str, results_dir: Path) -> Subject:
    """The trial that NAME/TRIAL means; TRIAL is a number or `best`.

    Raises:
        InputError: there is no such experiment or trial.
    """
    name, _, trial = reference.rpartition("/")
    if not name or not (trial == "best" or (trial.isascii() and trial.isdigit())):
        raise InputError(
            Problem(
                "this names no trial",
                received=words.printable(reference),
                expected="NAME/TRIAL, where TRIAL is a number or best",
                mend=f"did you mean {words.printable(reference.rstrip('/'))}/best?",
            )
        )
    folder = RunFolder.open(name, results_dir)
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = _row(ledger, folder, trial)
        objective = ledger.objective
        epochs = tuple(ledger.epochs(row.number))
        environment = ledger.environment or read_environment(folder.environment)
    return Subject(folder.name, row, epochs, environment, objective)


def diff(one: Subject, other: Subject) -> Diff:
    """Compares two trials. They are the same where their keys are: one outcome, recorded twice."""
    parts = {
        "configuration": (_configuration(one.row), _configuration(other.row)),
        "environment": (_environment(one), _environment(other)),
        "result": (_result(one), _result(other)),
    }
    changes = {name: _changes(*values) for name, values in parts.items()}
    equal = {
        name: len(values[0].keys() | values[1].keys()) - len(changes[name])
        for name, values in parts.items()
    }
    return Diff(
        one,
        other,
        one.row.key == other.row.key,
        changes["configuration"],
        changes["environment"],
        changes["result"],
        _curves(one, other),
        equal,
    )


def _row(ledger: Ledger, folder: RunFolder, trial: str) -> TrialRow:
    if trial == "best":
        best = ledger.top(1)
        if best:
            return best[0]
        what = "no trial has a score"
        raise InputError(Problem(what, folder.name, mend="name a trial's number"))
    # SQLite's integers end at 2^63; no ledger has that many trials.
    row = ledger.row(int(trial)) if len(trial) < 18 else None
    if row is None:
        known = sum(ledger.counts().values())
        expected = f"best, or a number from 1 to {known}" if known else "no trial is there"
        raise InputError(Problem("there is no such trial", folder.name, trial[:50], expected))
    return row


def _configuration(row: TrialRow) -> dict[str, Any]:
    return {**row.configuration, **row.values, "seed": row.seed, "replicate": row.replicate}


def _environment(subject: Subject) -> dict[str, Any]:
    kept = {n: value for n, value in subject.environment.items() if n not in _NO_DIFFERENCE}
    return _flat(kept)


def _result(subject: Subject) -> dict[str, Any]:
    row = subject.row
    per_epoch = row.train_seconds / row.epochs if row.train_seconds and row.epochs else None
    found: dict[str, Any] = {
        "objective": f"{subject.objective.metric} ({subject.objective.direction})",
        "state": row.state.value,
        "score": row.score,
        "best epoch": row.best_epoch,
        "epochs": row.epochs,
        **{f"last {name}": value for name, value in row.metrics.items()},
        "parameters": row.parameters,
        "macs": row.macs,
        "train_seconds": row.train_seconds,
        "seconds per epoch": per_epoch,
        "compile_seconds": row.compile_seconds,
        "structure": row.structure,
        "reason": row.reason,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def _changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Change, ...]:
    changes = []
    for name in dict.fromkeys([*one, *other]):
        first, second = one.get(name, _ABSENT), other.get(name, _ABSENT)
        if not _is_equal(first, second):
            there = (first is not _ABSENT, second is not _ABSENT)
            changes.append(Change(name, one.get(name), other.get(name), there))
    return tuple(changes)


def _is_equal(one: Any, other: Any) -> bool:
    """As values of a configuration: 1 is 1.0 but not true, and NaN is NaN."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def _curves(one: Subject, other: Subject) -> tuple[BestEpoch, ...]:
    names = dict.fromkeys(
        name for subject in (one, other) for epoch in subject.epochs for name in epoch.metrics
    )
    objectives = {subject.objective.metric: subject.objective for subject in (other, one)}
    return tuple(
        BestEpoch(name, *(_best(s.epochs, name, objectives) for s in (one, other)))
        for name in names
    )


def _best(
    epochs: Sequence[EpochRow], metric: str, objectives: Mapping[str, Objective]
) -> tuple[float, int] | None:
    """What is no objective is better when it is higher, unless it is a loss or an error."""
    is_cost = metric.endswith(("loss", "error"))
    objective = objectives.get(metric, Objective(metric, "min" if is_cost else "max"))
    epoch, value = best_of(epochs, objective)
    return None if epoch is None or value is None else (value, epoch)
