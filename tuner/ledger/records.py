"""What goes into the ledger and what comes out: plain frozen records, and their names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState

# States with a score. Failed and diverged trials are recorded with their reason, never ranked.
RANKED_STATES = (TrialState.COMPLETED, TrialState.STOPPED)
UNRANKED_STATES = (TrialState.DIVERGED, TrialState.FAILED)
SEVERAL = 0  # threads of a trial that was trained with one number of them, then with another
GRADIENTS = "gradients"  # the kind of the events that keep a trial's gradient norms
FINISHED_STATES = (*RANKED_STATES, *UNRANKED_STATES)
_MISSING = object()


@dataclass(frozen=True)
class NewTrial:
    """A trial that the search has proposed and nobody has started.

    `configuration` is closed and flat (dotted names); `values` holds the searched ones only.
    `context` is what else decides its outcome, see `Trial.context`. `macs` are multiply-adds per
    image.
    """

    key: str
    configuration: Mapping[str, Any]
    values: Mapping[str, Any]
    replicate: int
    seed: int
    structure: str
    parameters: int | None = None
    macs: int | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. `metrics` are the last epoch's; `best_epoch` counts from 1.

    `threads` are of one that is taken over: those of others are known since they began.
    """

    state: TrialState
    score: float | None = None
    best_epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    train_seconds: float | None = None
    compile_seconds: float | None = None
    reason: str = ""
    threads: int | None = None

    @property
    def rankable_score(self) -> float | None:
        """The score that the ledger keeps: none for failed and diverged trials, and never NaN."""
        if self.state not in RANKED_STATES or self.score is None or math.isnan(self.score):
            return None
        return self.score


@dataclass(frozen=True)
class TrialRow:
    """All that the ledger knows of one trial, but its epochs. Times are ISO 8601 in UTC.

    One that is not current is superseded: of an earlier version of the experiment. `context` is
    empty where an older tuner recorded the trial. `threads` trained it on a CPU: None where a GPU
    did, or nobody knows, and SEVERAL where it went on with another number of them.
    """

    number: int
    key: str
    state: TrialState
    score: float | None
    best_epoch: int | None
    epochs: int
    configuration: Mapping[str, Any]
    values: Mapping[str, Any]
    replicate: int
    seed: int
    structure: str
    metrics: Mapping[str, float]
    parameters: int | None
    macs: int | None
    train_seconds: float | None
    compile_seconds: float | None
    worker: int | None
    attempt: int
    reason: str
    started_at: str | None
    finished_at: str | None
    context: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    is_current: bool = True

    def value(self, name: str, default: Any = None) -> Any:
        """The trial's value of a dotted name, whether it was searched or fixed; or the default."""
        found = self.values.get(name, _MISSING)
        return self.configuration.get(name, default) if found is _MISSING else found


@dataclass(frozen=True)
class EpochRow:
    """One trained and validated epoch; `epoch` counts from 1."""

    number: int
    epoch: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class CheckpointRow:
    """A file with a trial's state after an epoch."""

    number: int
    epoch: int
    file: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True)
class EventRow:
    """Something worth remembering that is no trial: a run began, a worker died."""

    at: str
    kind: str
    detail: dict[str, Any]


class KnownTrial(NamedTuple):
    """What continuing a run must know of a trial."""

    number: int
    state: TrialState


def best_of(epochs: Sequence[EpochRow], objective: Objective) -> tuple[int | None, float | None]:
    """The epoch with the best value of the objective's metric, and that value: the score."""
    metric = objective.metric
    return objective.best_epoch((row.epoch, row.metrics.get(metric, math.nan)) for row in epochs)


class Names:
    """Which columns a table of trials has: known at once, without reading every trial.

    They are the dotted names that were searched, and the final metrics, oldest first.
    """

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """`stored` is what `to_json` gave, or nothing."""
        self.values = dict.fromkeys(stored.get("values", ()))
        self.metrics = dict.fromkeys(stored.get("metrics", ()))

    def note(self, values: Iterable[str]) -> bool:
        """Takes the searched values of a trial into account; whether anything changed."""
        before = len(self.values)
        self.values.update(dict.fromkeys(values))
        return len(self.values) != before

    def note_metrics(self, names: Iterable[str]) -> bool:
        """Takes a trial's metrics into account; whether anything changed."""
        before = len(self.metrics)
        self.metrics.update(dict.fromkeys(names))
        return len(self.metrics) != before

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "values": list(self.values),
            "metrics": list(self.metrics),
        }
