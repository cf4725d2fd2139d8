"""Two trials against each other: what differs in what was asked for, where it ran, and result."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tuner.experiment.objective import Objective
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, TrialRow, best_of
from tuner.ledger.trial_name import find_trial, named_trial
from tuner.report import format
from tuner.report.record import read_environment
from tuner.report.render import clipped, finite
from tuner.report.table import Table, is_number, text_table

_TITLES = {
    "configuration": "Configuration",
    "context": "Data and surroundings",
    "environment": "Environment of the last run",
    "result": "Result",
}
_NO_DIFFERENCE = {"created_at"}  # differs always, and says nothing
_ABSENT = object()
_WIDEST = 26  # of a value in a table; --json has it whole
_AS_TEXT: dict[str, Callable[[Any], str]] = {
    "parameters": format.count_text,
    "macs": format.count_text,
    "train_seconds": format.seconds_text,
    "compile_seconds": format.seconds_text,
    "seconds per epoch": format.seconds_text,
}


@dataclass(frozen=True)
class ComparedTrial:
    """One of the two trials, with what is known of where it was trained."""

    experiment: str
    row: TrialRow
    epochs: tuple[EpochRow, ...]
    environment: Mapping[str, Any]
    objective: Objective
    folder: str = ""
    shown_as: str = ""  # in the place of the name, where two folders have the same

    @property
    def label(self) -> str:
        """NAME/TRIAL."""
        return f"{format.printable(self.shown_as or self.experiment)}/{self.row.number}"

    @property
    def parts(self) -> dict[str, Mapping[str, Any]]:
        """What was asked for, what else decides the outcome, where it ran, and the result.

        The context (data, backend, precision, code) is empty in older ledgers.
        """
        row = self.row
        per_epoch = row.train_seconds / row.epochs if row.train_seconds and row.epochs else None
        result: dict[str, Any] = {
            "objective": f"{self.objective.metric} ({self.objective.direction})",
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
            "threads": row.threads,
            "structure": row.structure,
            "reason": row.reason,
        }
        own = {"seed": row.seed, "replicate": row.replicate}
        where = {n: v for n, v in self.environment.items() if n not in _NO_DIFFERENCE}
        return {
            "configuration": {**row.configuration, **row.values, **own},
            "context": row.context,
            "environment": _flat(where),
            "result": {name: value for name, value in result.items() if value not in (None, "")},
        }


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

    one: ComparedTrial
    other: ComparedTrial
    is_same_trial: bool
    configuration: tuple[Change, ...]
    context: tuple[Change, ...]
    environment: tuple[Change, ...]
    result: tuple[Change, ...]
    curves: tuple[BestEpoch, ...]
    equal: Mapping[str, int]


def read_trial(reference: str, results_dir: Path) -> ComparedTrial:
    """The trial that NAME/TRIAL means; TRIAL is a number or `best`.

    Raises:
        InputError: there is no such experiment or trial.
    """
    folder, trial = named_trial(reference, results_dir)
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = find_trial(ledger, folder, trial)
        epochs = tuple(ledger.epochs(row.number))
        environment = ledger.environment or read_environment(folder.environment)
        objective, path = ledger.objective, str(folder.path.absolute())
        return ComparedTrial(folder.name, row, epochs, environment, objective, path)


def diff(one: ComparedTrial, other: ComparedTrial) -> Diff:
    """Compares two trials. They are the same where their keys are: one outcome, recorded twice."""
    if one.experiment == other.experiment and one.folder != other.folder:
        above = os.path.commonpath([one.folder, other.folder])
        one, other = (
            replace(trial, shown_as=os.path.relpath(trial.folder, above)) for trial in (one, other)
        )
    parts = {part: (one.parts[part], other.parts[part]) for part in _TITLES}
    changes = {part: _changes(*pair) for part, pair in parts.items()}
    equal = {part: len({**a, **b}) - len(changes[part]) for part, (a, b) in parts.items()}
    is_same = one.row.key == other.row.key
    return Diff(one, other, is_same, **changes, curves=_best_epochs(one, other), equal=equal)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaf = {f"{prefix}{name}": value}
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else leaf
    return leaves


def _changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(name, one.get(name), other.get(name), (name in one, name in other))
        for name in {**one, **other}
        if not _is_equal(one.get(name, _ABSENT), other.get(name, _ABSENT))
    )


def _is_equal(one: Any, other: Any) -> bool:
    """As values of a configuration: 1 is 1.0 but not true, and NaN is NaN."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def _best_epochs(one: ComparedTrial, other: ComparedTrial) -> tuple[BestEpoch, ...]:
    names = dict.fromkeys(
        name for trial in (one, other) for epoch in trial.epochs for name in epoch.metrics
    )
    objectives = {trial.objective.metric: trial.objective for trial in (other, one)}
    return tuple(
        BestEpoch(name, *(_best(trial, name, objectives) for trial in (one, other)))
        for name in names
    )


def _best(
    trial: ComparedTrial, metric: str, objectives: Mapping[str, Objective]
) -> tuple[float, int] | None:
    """What is no objective is better when it is higher, unless it is a loss or an error."""
    is_cost = metric.endswith(("loss", "error"))
    objective = objectives.get(metric, Objective(metric, "min" if is_cost else "max"))
    epoch, value = best_of(trial.epochs, objective)
    return None if epoch is None or value is None else (value, epoch)


# ---------------------------------------------------------------------- tables


def sections(diff: Diff) -> list[Table]:
    """Configuration, data, environment, result and curves; what is equal is counted."""
    names = f"{diff.one.label} and {diff.other.label}"
    is_same = "the same trial: everything that decides their outcome is equal."
    tables = [text_table(f"{names} are {is_same if diff.is_same_trial else 'different trials.'}")]
    older = [trial.label for trial in (diff.one, diff.other) if not trial.row.context]
    for part in _TITLES:
        if part != "context":
            tables.append(_part(part, diff))
        elif not diff.is_same_trial and not diff.configuration and len(older) == 2:
            note = "Data, split, precision or code differ; an older tuner did not record which."
            tables.append(text_table(_TITLES[part], notes=[note]))
        elif len(older) < 2:
            notes = [f"{label}: not recorded; an older tuner trained it." for label in older]
            tables.append(_part(part, diff, notes))
    if diff.curves:
        heads = ("best of", diff.one.label, diff.other.label)
        rows = [(c.metric, _best_text(c.one), _best_text(c.other)) for c in diff.curves]
        tables.append(text_table("Curves: best value and the epoch that has it", heads, rows))
    return tables


def _part(part: str, diff: Diff, more_notes: Sequence[str] = ()) -> Table:
    title, is_result = _TITLES[part], part == "result"
    changes: tuple[Change, ...] = getattr(diff, part)
    equal = diff.equal[part]
    noun = "other value" if changes else "value"
    same = f"{format.counted(equal, noun)} {'is' if equal == 1 else 'are'} equal."
    if not changes:
        return text_table(title, notes=[same if equal else "Not recorded.", *more_notes])
    heads = ["value", diff.one.label, diff.other.label, *(["difference"] if is_result else [])]
    rows = [(*_cells(c), *([_moved(c)] if is_result else [])) for c in changes]
    notes = [*([same] if equal else []), *more_notes]
    return text_table(title, heads, rows, notes, num_numeric=3 if is_result else 0)


def _cells(change: Change) -> tuple[str, ...]:
    values = zip((change.one, change.other), change.is_there, strict=True)
    texts = (_value(change.name, value) if there else format.NOTHING for value, there in values)
    return (change.name, *texts)


def _value(name: str, value: Any) -> str:
    if name in _AS_TEXT and is_number(value):
        return _AS_TEXT[name](value)
    if isinstance(value, float) and (name == "score" or name.startswith("last ")):
        return format.score_text(value)
    return clipped(format.printable(format.value_text(value)), _WIDEST)


def _moved(change: Change) -> str:
    """The second less the first, and by what factor where that says something."""
    one, other = change.one, change.other
    if not (is_number(one) and is_number(other)):
        return ""
    if change.name in _AS_TEXT:
        return f"×{other / one:.3g}" if one > 0 else ""
    if isinstance(one, int) and isinstance(other, int):
        return f"{other - one:+d}"
    return format.signed_text(other - one)


def _best_text(best: tuple[float, int] | None) -> str:
    return format.NOTHING if best is None else f"{format.score_text(best[0])} in {best[1]:>3}"


# ---------------------------------------------------------------------- values


def to_json(diff: Diff) -> dict[str, Any]:
    """Plain values with stable keys."""
    document: dict[str, Any] = finite(
        {
            "trials": [_trial_json(trial) for trial in (diff.one, diff.other)],
            "same_trial": diff.is_same_trial,
            **{part: list(map(_change_json, getattr(diff, part))) for part in _TITLES},
            "curves": [
                {"metric": c.metric, "one": _best_json(c.one), "other": _best_json(c.other)}
                for c in diff.curves
            ],
            "equal": dict(diff.equal),
        }
    )
    return document


def _trial_json(trial: ComparedTrial) -> dict[str, Any]:
    row = trial.row
    return {
        "experiment": trial.experiment,
        "trial": row.number,
        "key": row.key,
        "state": row.state.value,
        "score": row.score,
        "objective": asdict(trial.objective),
    }


def _change_json(change: Change) -> dict[str, Any]:
    """A value that a trial does not have is left out; one that it has may be null."""
    labelled = zip(("one", "other"), (change.one, change.other), change.is_there, strict=True)
    return {"name": change.name, **{label: value for label, value, there in labelled if there}}


def _best_json(best: tuple[float, int] | None) -> dict[str, Any] | None:
    return best and {"value": best[0], "epoch": best[1]}
