"""How far an experiment is, in one record: for `tuner status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tuner.errors import TunerError
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, UNRANKED_STATES, TrialRow
from tuner.report.record import planned_done


@dataclass(frozen=True)
class Status:
    """`state` is running, done, incomplete, empty or unreadable; `total` None when unknown."""

    name: str
    state: str
    done: int = 0
    total: int | None = None
    running: int = 0
    metric: str = ""
    best: float | None = None
    best_trial: int | None = None
    failures: int = 0
    seconds_left: float | None = None
    process: int | None = None
    problem: str = ""


def status_of(folder: RunFolder, now: datetime | None = None) -> Status:
    """One folder's status; a ledger that cannot be read is a status too."""
    try:
        with Ledger.open_read_only(folder.ledger) as ledger:
            return _status(folder, ledger, now or datetime.now(UTC))
    except TunerError as error:
        return Status(folder.name, "unreadable", problem=str(error))


def _status(folder: RunFolder, ledger: Ledger, now: datetime) -> Status:
    counts, run = ledger.counts(), ledger.last_run
    ended = sum(counts[state] for state in FINISHED_STATES)
    total = run.get("total")
    done = planned_done(run, ended, total)
    best = ledger.top(1)
    holder = folder.holder()
    running = ledger.rows([TrialState.RUNNING]) if holder is not None else []
    return Status(
        name=folder.name,
        state=_state(holder is not None, done, total, bool(ended)),
        done=done,
        total=total,
        running=len(running),
        metric=ledger.objective[0],
        best=best[0].score if best else None,
        best_trial=best[0].number if best else None,
        failures=sum(counts[state] for state in UNRANKED_STATES),
        seconds_left=_seconds_left(run, ended, done, running, now) if holder is not None else None,
        process=holder or None,
    )


def _state(is_running: bool, done: int, total: int | None, any_ended: bool) -> str:
    if is_running:
        return "running"
    if total is not None and done >= total:
        return "done"
    if total is None and not any_ended:
        return "empty"
    return "incomplete"


def _seconds_left(
    run: dict[str, Any], ended: int, done: int, running: list[TrialRow], now: datetime
) -> float | None:
    """Time since the run began, scaled to what is missing; running trials count by their epochs."""
    total = run.get("total")
    if total is None:
        return None
    elapsed = (now - datetime.fromisoformat(run["started_at"])).total_seconds()
    under_way = sum(_share(row) for row in running)
    progress = ended - int(run["finished_before"]) + under_way
    if progress <= 0 or elapsed <= 0:
        return None
    return elapsed / progress * max(0.0, int(total) - done - under_way)


def _share(row: TrialRow) -> float:
    epochs = row.configuration.get("training.epochs")
    if not isinstance(epochs, int) or epochs < 1:
        return 0.0
    return min(1.0, row.epochs / epochs)
