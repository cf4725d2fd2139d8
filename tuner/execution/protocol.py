"""What a scheduler and its workers say to each other: tasks one way, reports the other.

And what both know of a worker: the programs that it has compiled.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tuner.errors import Problem

if TYPE_CHECKING:
    from tuner.code.files import CodeFile
    from tuner.data.config import DataConfig
    from tuner.experiment.objective import Objective
    from tuner.ledger.checkpoint import SavedCheckpoint
    from tuner.ledger.predictions import ImagePredictions
    from tuner.ledger.records import CheckpointRow

# ---------------------------------------------------------------- scheduler → worker


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs before its first trial; sent once.

    `code` are the files of the person's own networks, by family, as they were when the run began.
    If `augment_is_searched`, `data` names all that any trial does to its images.
    `packed` is the folder of packed data that takes the place of the data set's own files.
    `gpu_memory_bytes` is all that it may take of a GPU that it shares. With `profile` it reports
    what it has `Spent`.
    """

    backend: str
    data: DataConfig
    data_dir: Path | None
    checkpoints: Path
    code: Mapping[str, tuple[CodeFile, ...]] = field(default_factory=dict)
    packed: Path | None = None
    gpu_memory_bytes: int | None = None
    augment_is_searched: bool = False
    profile: bool = False


@dataclass(frozen=True)
class TrainTrial:
    """Train this closed configuration up to epoch `until`; epochs are reported one by one.

    It goes on from the first of `checkpoints` that can be read. After an epoch of `rungs` the
    worker waits for `GoOn` or `StopTrial`. If a rule `may_end` it after any epoch, the worker looks
    more often for a `StopTrial` when the next one has begun. `macs` are the multiply-adds of an
    image's forward pass, for a profile; 0 where they are unknown. `objective` says which epoch's
    state is kept beside the newest.
    """

    number: int
    key: str
    attempt: int
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    switches: frozenset[str]
    precision: str
    seed: int
    structure: str
    until: int
    augment: tuple[str, ...] = ()
    checkpoints: tuple[CheckpointRow, ...] = ()
    rungs: tuple[int, ...] = ()
    may_end: bool = False
    macs: int = 0
    objective: Objective | None = None

    def must_save(self, epoch: int) -> bool:
        """Whether the state after this epoch has to be on the disk, however short epochs are.

        A rule that may end the trial says so when the next epoch has begun or has even ended: then
        the state that it ends with is one that the worker has no more.
        """
        return self.may_end or epoch == self.until or epoch in self.rungs


@dataclass(frozen=True)
class Rehearse:
    """Compile the program of this closed configuration, and train it for some seconds."""

    number: int
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    switches: frozenset[str]
    precision: str
    seed: int
    structure: str
    seconds: float


@dataclass(frozen=True)
class GoOn:
    """This attempt at a trial goes on behind the rung `epoch`."""

    number: int
    attempt: int
    epoch: int


@dataclass(frozen=True)
class StopTrial:
    """Give this attempt at a trial up at the next opportunity (within about a second)."""

    number: int
    attempt: int


@dataclass(frozen=True)
class Shutdown:
    """No more work."""


Task = WorkerSetup | TrainTrial | Rehearse | GoOn | StopTrial | Shutdown

# ---------------------------------------------------------------- worker → scheduler


@dataclass(frozen=True)
class SetupFailed:
    """The worker cannot begin; `problems` are set where the person can mend it."""

    reason: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Ready:
    """The framework is imported and the data lie on the device.

    `node` is the machine that the worker is on, where there are several. `threads` are those that
    compute; None where a GPU does.
    """

    device: str
    seconds: float
    hashes: Mapping[str, str]
    node: str = ""
    threads: int | None = None


@dataclass(frozen=True)
class Compiled:
    """The trial's program was built and compiled (first of its structure only)."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Resumed:
    """The trial goes on after `epoch` (0: from its beginning).

    `damaged` says what could not be read on the way.
    """

    number: int
    epoch: int
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Somewhere inside an epoch."""

    number: int
    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Epoch:
    """One epoch is trained and validated. Metrics may be NaN or infinite.

    Not every epoch has a checkpoint; the last one of an assignment has, and one at which the worker
    `waits`, at a rung, for `GoOn` or `StopTrial`.
    """

    number: int
    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    checkpoint: SavedCheckpoint | None = None
    not_saved: str = ""  # why it could not be written
    validation_seconds: float = 0.0  # of `seconds`
    waits: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be written of this state."""
        return self.checkpoint is not None or bool(self.not_saved)


@dataclass(frozen=True)
class Saved:
    """The state after an epoch that was reported without, or why it could not be written."""

    number: int
    epoch: int
    checkpoint: SavedCheckpoint | None = None
    not_saved: str = ""


@dataclass(frozen=True)
class Watched:
    """Norm of the gradient in each layer after an epoch (0: before the first), sent before it.

    `layers` are their names and numbers of weights; only the first report of an attempt has them.
    """

    number: int
    epoch: int
    norms: tuple[float, ...]
    layers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Predicted:
    """What the trained network says of each test image, sent before the last epoch's report."""

    number: int
    epoch: int
    predictions: ImagePredictions


@dataclass(frozen=True)
class Spent:
    """Where the worker's time went since its process began, by `ledger.profile.PHASES`.

    The other fields are those of `WorkerProfile`.
    """

    seconds: Mapping[str, float]
    programs: int = 0
    training_flop: float = 0.0
    matrix_flops: float | None = None


@dataclass(frozen=True)
class Finished:
    """The worker is done with the trial. `reason` is empty unless it raised.

    A worker that `leaves` ends its process after this: who knows what the error left behind.
    `attempt` is the trial's (None: of its only one): what was stopped may have begun again.
    `epoch_seconds` is what a `Rehearse` found that an epoch would take.
    """

    number: int
    reason: str = ""
    out_of_memory: bool = False
    leaves: bool = False
    epoch_seconds: float | None = None
    attempt: int | None = None


@dataclass(frozen=True)
class Lost:
    """The worker's process is gone (said by the pool, not by the worker).

    If the `machine_went` that it was on, nobody can tell anything against its trial.
    """

    reason: str
    machine_went: bool = False


@dataclass(frozen=True)
class Waiting:
    """The worker waits for room on a machine (said by the pool); `notice` is for the person."""

    notice: str = ""


@dataclass(frozen=True)
class Remark:
    """What a person should know; said once, however many workers say it."""

    text: str


Report = (
    SetupFailed
    | Ready
    | Compiled
    | Resumed
    | Saved
    | Progress
    | Watched
    | Predicted
    | Epoch
    | Spent
    | Finished
    | Lost
    | Waiting
    | Remark
)


def not_finite(metrics: Mapping[str, float]) -> str | None:
    """The first metric that is NaN or infinite: the trial has diverged."""
    return next((name for name, value in metrics.items() if not math.isfinite(value)), None)


# ---------------------------------------------------------------- on both sides

MAX_PROGRAMS = 8
"""How many a worker keeps; one of TensorFlow takes 100 to 450 MB."""

_Program = TypeVar("_Program")


class Programs(Generic[_Program]):
    """The programs that a worker keeps, and need not compile again: those that it used last.

    The scheduler, which needs to know no more than what a worker holds, keeps the keys alone.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, _Program] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    def use(self, key: Hashable, make: Callable[[], _Program]) -> _Program:
        """The program of a structure, made now if it must be; the oldest makes room before."""
        if key not in self._held:
            if len(self._held) >= MAX_PROGRAMS:
                self._held.popitem(last=False)
            self._held[key] = make()
        self._held.move_to_end(key)
        return self._held[key]
