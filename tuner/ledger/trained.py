"""Trials whose trained network is kept: a checkpoint of the best epoch, named by the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import InputError, Problem
from tuner.ledger import checkpoint
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import CheckpointRow, TrialRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_LISTED = 10


def best_checkpoints(ledger: Ledger, rows: Iterable[TrialRow]) -> dict[int, CheckpointRow]:
    """The checkpoint of the best epoch, by the trial's number; trials without one are absent."""
    kept = {(row.number, row.epoch): row for row in ledger.checkpoints()}
    wanted = ((row.number, row.best_epoch) for row in rows if row.best_epoch)
    return {place[0]: kept[place] for place in wanted if place in kept}


def best_checkpoint(ledger: Ledger, folder: RunFolder, trial: TrialRow) -> CheckpointRow:
    """The checkpoint of a trial's best epoch.

    Raises:
        InputError: none is kept; the message says which trials have one.
    """
    found = best_checkpoints(ledger, [trial]).get(trial.number)
    if found is not None:
        return found
    kept = list(best_checkpoints(ledger, ledger.rows()))
    source = ledger.source(trial.number)
    raise InputError(
        Problem(
            f"the network of trial {trial.number} is not kept",
            where=folder.name,
            received=f"taken over from {source}, where it was trained" if source else "",
            expected=_kept(kept),
            mend=f"name that folder instead of {folder.name}" if source else "",
        )
    )


def read_checkpoint(
    folder: RunFolder, row: CheckpointRow
) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]]:
    """Arrays and notes of a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, or not the one that was written.
    """
    return checkpoint.load(folder.checkpoints, row.file, row.sha256)


def model_section(trial: TrialRow) -> dict[str, Any]:
    """The closed `model:` section of a trial."""
    return {
        name.removeprefix("model."): value
        for name, value in trial.configuration.items()
        if name.startswith("model.")
    }


def _kept(numbers: list[int]) -> str:
    if not numbers:
        return "a trial with a checkpoint; none of this experiment has one"
    more = ", …" if len(numbers) > _MOST_LISTED else ""
    listed = ", ".join(map(str, sorted(numbers)[:_MOST_LISTED]))
    return f"one of the best finished trials, whose checkpoints are kept: {listed}{more}"
