"""The trial that a person means."""

from __future__ import annotations

from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow


def wanted_trial(ledger: Ledger, folder: RunFolder, trial: str) -> TrialRow:
    """By its number, or `best`.

    Raises:
        InputError: there is none of that number, or none with a score.
    """
    if trial == "best":
        best = ledger.top(1)
        if best:
            return best[0]
        problem = Problem("no trial has a score", where=folder.name, mend="name a trial's number")
        raise InputError(problem)
    row = ledger.row(int(trial)) if trial.isascii() and trial.isdigit() else None
    if row is None:
        known = sum(ledger.counts().values())
        raise InputError(
            Problem(
                "there is no such trial",
                where=folder.name,
                received=trial,
                expected=f"best, or a number from 1 to {known}" if known else "no trial is there",
            )
        )
    return row
