"""How far an experiment is, in one record: for `tuner status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tuner.errors import TunerError
from tuner.experiment.trial import TrialState
from tuner.ledger.estimate import last_estimate, trained_in_run
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import RunProfile
from tuner.ledger.records import FINISHED_STATES, UNRANKED_STATES, TrialRow
from tuner.ledger.workers import WorkerRecord


@dataclass(frozen=True)
class Status:
    """`state` is running, done, incomplete, empty or unreadable; `total` None when unknown.

    `workers` are those of the last run, as they were some seconds ago, or at its end; `profile` is
    of the last one with `--profile`.
    """

    name: str
    state: str
    done: int = 0
    total: int | None = None
    running: int = 0
    metric: str = ""
    best: float | None = None
    best_trial: int | None = None
    failures: int = 0
    stopped: int = 0
    waiting: int = 0
    seconds_left: float | None = None
    process: int | None = None
    problem: str = ""
    superseded: int = 0
    workers: tuple[WorkerRecord, ...] = ()
    profile: RunProfile | None = None


def status_of(folder: RunFolder) -> Status:
    """One folder's status; a ledger that cannot be read is a status too."""
    try:
        with Ledger.open_read_only(folder.ledger) as ledger:
            return _status(folder, ledger)
    except TunerError as error:
        return Status(folder.name, "unreadable", problem=str(error))


def _status(folder: RunFolder, ledger: Ledger) -> Status:
    counts, run = ledger.counts(), ledger.last_run
    ended = sum(counts[state] for state in FINISHED_STATES)
    total = run.get("total")
    done = ended if total is None else min(ended, total)
    best = ledger.top(1)
    holder = folder.holder()
    running = ledger.rows([TrialState.RUNNING]) if holder is not None else []
    return Status(
        name=folder.name,
        state=_state(holder is not None, ended, total, ledger.may_take_up(counts)),
        done=done,
        total=total,
        running=len(running),
        metric=ledger.objective.metric,
        best=best[0].score if best else None,
        best_trial=best[0].number if best else None,
        failures=sum(counts[state] for state in UNRANKED_STATES),
        seconds_left=None if holder is None else _seconds_left(run, ledger, done, running),
        stopped=counts[TrialState.STOPPED],
        waiting=counts[TrialState.WAITING] if holder is not None else 0,
        process=holder or None,
        superseded=ledger.num_superseded(),
        workers=tuple(ledger.workers),
        profile=ledger.profile,
    )


def _state(is_running: bool, ended: int, total: int | None, may_take_up: bool) -> str:
    if is_running:
        return "running"
    if total is not None and ended >= total and not may_take_up:
        return "done"
    if total is None and not ended:
        return "empty"
    return "incomplete"


def _seconds_left(
    run: dict[str, Any], ledger: Ledger, done: int, running: list[TrialRow]
) -> float | None:
    """By what the run has measured so far, and by what was expected when it began."""
    if run.get("total") is None or "epochs_before" not in run:
        return None
    epochs_left = None
    if run.get("epochs_to_run") is not None:
        begun = ledger.trained_epochs() - int(run["epochs_before"])
        epochs_left = max(0, int(run["epochs_to_run"]) - begun)
    return last_estimate(ledger).seconds_left(
        trained_in_run(ledger, running),
        [(row.structure, max(0, _epochs(row) - row.epochs)) for row in running],
        max(0, run["total"] - done - len(running)),
        epochs_left,
    )


def _epochs(row: TrialRow) -> int:
    """As many as a running trial is to have."""
    epochs = row.configuration.get("training.epochs")
    return epochs if isinstance(epochs, int) and epochs > 0 else row.epochs
