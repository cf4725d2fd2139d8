"""Checkpoint files: a trial's whole state as plain arrays, written so that no half file is met.

A file counts only once the ledger names it with its SHA-256. What no ledger names is rubbish of a
crash, and what does not have its SHA-256 is not read.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import InputError, Problem, TunerError
from tuner.ledger.connection import sync
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.reader import LedgerReader
from tuner.ledger.records import CheckpointRow, TrialRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOTES = "notes.json"
_MOST_LISTED = 10


class CheckpointError(TunerError):
    """A checkpoint that is missing, cut, changed or not ours."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """A file in the folder of checkpoints, as the ledger names it."""

    file: str
    sha256: str
    num_bytes: int


def save(
    folder: Path, name: str, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]
) -> SavedCheckpoint:
    """Write `name` with arrays and notes (plain JSON values); it is on the disk on return.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    content = _packed(arrays, notes)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, content)
    sync(folder)
    return SavedCheckpoint(name, hashlib.sha256(content).hexdigest(), len(content))


def load(folder: Path, file: str, sha256: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and notes of a checkpoint that the ledger names.

    Raises:
        CheckpointError: the file is missing, damaged, or not the one that was written.
    """
    import numpy as np

    path = folder / Path(file).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(f"{path}: the checkpoint is damaged: it is not what was written")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files if key != NOTES}
            notes = json.loads(stored[NOTES].tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: not a checkpoint of tuner: {error}") from error
    return arrays, notes


def remove(folder: Path, files: Collection[str]) -> None:
    """Delete files that are there; one that cannot be deleted now is rubbish for the next run."""
    for file in files:
        try:
            (folder / Path(file).name).unlink(missing_ok=True)
        except OSError:
            continue


def rubbish(folder: Path, named: Collection[str]) -> list[str]:
    """Files in the folder that no ledger names: drafts, and what a crash left before its commit."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name not in named)


def best_checkpoints(ledger: LedgerReader, rows: Iterable[TrialRow]) -> dict[int, CheckpointRow]:
    """The checkpoint of the best epoch, by the trial's number; trials without one are absent."""
    kept = {(row.number, row.epoch): row for row in ledger.checkpoints()}
    wanted = ((row.number, row.best_epoch) for row in rows if row.best_epoch)
    return {place[0]: kept[place] for place in wanted if place in kept}


def best_checkpoint(ledger: LedgerReader, folder: RunFolder, trial: TrialRow) -> CheckpointRow:
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
            expected=_listed(kept),
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
    return load(folder.checkpoints, row.file, row.sha256)


def model_section(trial: TrialRow) -> dict[str, Any]:
    """The closed `model:` section of a trial."""
    return {
        name.removeprefix("model."): value
        for name, value in trial.configuration.items()
        if name.startswith("model.")
    }


def _packed(arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    text = json.dumps(dict(notes), sort_keys=True).encode()
    np.savez(buffer, **{NOTES: np.frombuffer(text, np.uint8)}, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _listed(numbers: list[int]) -> str:
    if not numbers:
        return "a trial with a checkpoint; none of this experiment has one"
    more = ", …" if len(numbers) > _MOST_LISTED else ""
    listed = ", ".join(map(str, sorted(numbers)[:_MOST_LISTED]))
    return f"one of the best finished trials, whose checkpoints are kept: {listed}{more}"
