"""How people name a trial: NAME/TRIAL, or NAME and TRIAL, where TRIAL is a number or `best`."""

from __future__ import annotations

import os
from pathlib import Path

from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow

_MAX_DIGITS = 17  # SQLite's integers end at 2^63; no ledger has that many trials


def find_trial(ledger: Ledger, folder: RunFolder, trial: str) -> TrialRow:
    """By its number, or `best`.

    Raises:
        InputError: there is none of that number, or none with a score.
    """
    if trial == "best":
        best = ledger.top(1)
        if best:
            return best[0]
        raise InputError(Problem("no trial has a score", folder.name, mend="name a trial's number"))
    row = ledger.row(int(trial)) if _is_trial(trial) and len(trial) <= _MAX_DIGITS else None
    if row is None:
        known = sum(ledger.counts(all_versions=True).values())
        expected = f"best, or a number from 1 to {known}" if known else "no trial is there"
        raise InputError(Problem("there is no such trial", folder.name, trial[:50], expected))
    return row


def named_trial(reference: str, results_dir: Path) -> tuple[RunFolder, str]:
    """The folder and the trial that NAME/TRIAL means.

    Raises:
        InputError: it names no trial, or there are no results of this name.
    """
    name, _, trial = reference.rpartition("/")
    if name and _is_trial(trial):
        return RunFolder.open(name, results_dir), trial
    raise InputError(
        Problem(
            "this names no trial",
            received=_printable(reference),
            expected="NAME/TRIAL, where TRIAL is a number or best",
            mend=f"did you mean {_printable(reference.rstrip('/'))}/best?",
        )
    )


def folder_and_trial(
    name: str, trial: str | None, results_dir: Path
) -> tuple[RunFolder, str | None]:
    """The folder and the trial that NAME, NAME TRIAL or NAME/TRIAL means; no trial for NAME alone.

    Raises:
        InputError: there are no results of this name, or it names a trial beside TRIAL.
    """
    head, _, tail = name.rpartition("/")
    is_folder = any(
        os.path.exists(place / "ledger.sqlite") for place in (results_dir / name, Path(name))
    )
    if is_folder or not head or not _is_trial(tail):
        return RunFolder.open(name, results_dir), trial
    if trial is not None:
        what, received = "a trial is named twice", f"{_printable(name)} {_printable(trial)}"
        raise InputError(Problem(what, "", received, "NAME/TRIAL, or NAME TRIAL"))
    return RunFolder.open(head, results_dir), tail


def _is_trial(text: str) -> bool:
    return text == "best" or (text.isascii() and text.isdigit())


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
