"""What a run tells whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.experiment.trial import TrialState

if TYPE_CHECKING:
    from tuner.execution.networks import LeftOut
    from tuner.ledger.estimate import Estimate
    from tuner.ledger.records import TrialRow


@dataclass(frozen=True)
class RunStarted:
    """Totals are None while the search cannot know them.

    `epochs_to_run` is given by a search that shares epochs out itself, beside those that its
    trials have had before. `best` is the best trial of earlier runs,
    `estimate` how long each structure takes, as far as that is known.
    """

    name: str
    total: int | None
    done: int
    to_run: int | None
    workers: int
    folder: str
    notes: tuple[str, ...] = ()
    epochs_to_run: int | None = None
    epochs_trained: int = 0
    best: TrialRow | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class WorkerReady:
    """A worker can train; `threads` compute, where no GPU does.

    `node` is its host, empty for the machine that the run is on.
    """

    worker: int
    device: str
    seconds: float
    node: str = ""
    threads: int | None = None


@dataclass(frozen=True)
class TrialStarted:
    """A worker began a trial, or goes on with it.

    One that is `up_again` was stopped by a rule, and is among the best after all.
    """

    number: int
    worker: int
    values: Mapping[str, Any]
    replicate: int
    epochs: int
    structure: str
    first_of_structure: bool
    epochs_done: int = 0
    up_again: bool = False


@dataclass(frozen=True)
class TrialCompiled:
    """The first trial of a structure paid for its program."""

    number: int
    worker: int
    seconds: float


@dataclass(frozen=True)
class TrialProgress:
    """`epoch` is the running one, counted from 1."""

    number: int
    worker: int
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochEnded:
    """The epoch is in the ledger."""

    number: int
    worker: int
    epoch: int
    epochs: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class TrialWaits:
    """The search lets the trial wait after an epoch; it goes on, or not, when others are there."""

    number: int
    worker: int | None
    epoch: int
    epochs: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class TrialEnded:
    """The trial's end is in the ledger. `worker` is None if it was on none."""

    number: int
    worker: int | None
    state: TrialState
    score: float | None
    reason: str
    values: Mapping[str, Any]
    epochs: int


@dataclass(frozen=True)
class WorkerLost:
    """A worker died; its trial starts again unless it has died too often."""

    worker: int
    number: int | None
    reason: str


@dataclass(frozen=True)
class Notice:
    """Something that a person should know and need not act upon."""

    text: str


@dataclass(frozen=True)
class RunEnded:
    """How a run ended: `done`, `interrupted`, `budget` or `failed` (fail-fast).

    `counts` are of the experiment's own trials, not of those that an edit has left behind.
    `estimate` is how long it was to take, where that was known and nothing ended it early.
    `left_out` is what could not be built. `enough` says why `search.enough` ended the search, and
    what going on would take. `used_up` is the limit of the experiment that a `budget` was.
    """

    ending: str
    counts: Mapping[TrialState, int]
    best: TrialRow | None
    seconds: float
    to_run: int | None
    estimate: Estimate | None = None
    left_out: LeftOut | None = None
    enough: str = ""
    used_up: str = ""


Event = (
    RunStarted
    | WorkerReady
    | TrialStarted
    | TrialCompiled
    | TrialProgress
    | EpochEnded
    | TrialWaits
    | TrialEnded
    | WorkerLost
    | Notice
    | RunEnded
)
Listener = Callable[[Event], None]
