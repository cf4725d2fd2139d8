"""Puts a run's folder in order again: keeps copies, saves every row that can be read."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tuner.errors import TunerError
from tuner.ledger.checkpoint import remove
from tuner.ledger.examination import (
    Finding,
    drafts,
    examine,
    is_whole,
    unnamed_checkpoints,
)
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.journal import journal_of
from tuner.ledger.journal import problem_of as journal_problem
from tuner.ledger.ledger import Ledger
from tuner.ledger.rebuilding import Rebuilt, rebuild
from tuner.ledger.table import csv_text


@dataclass
class Repair:
    """What was done, in sentences, and what is still wrong."""

    done: list[str] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)


def mend(folder: RunFolder, now: datetime) -> Repair:
    """Mends what can be mended. Whatever it replaces lies beside it under a name with the time.

    Raises:
        TunerError: a run holds the folder, or there is no room; nothing was changed.
    """
    result = Repair()
    with folder.lock(), _writing(folder):
        stamp = f"{now:%Y%m%d-%H%M%S}"
        if journal_of(folder.ledger).exists():  # to look is to roll back
            backup = _copied(folder.ledger, f"ledger-backup-{stamp}")
            result.done.append(f"kept the ledger and its journal as {backup.name}")
        kinds = {finding.kind for finding in examine(folder, is_ours=True)}
        if "none" not in kinds:
            if "ledger" in kinds:
                result.done += _mend_ledger(folder, stamp)
                kinds |= {finding.kind for finding in examine(folder, is_ours=True)}
            if "ledger" not in {finding.kind for finding in examine(folder, is_ours=True)}:
                result.done += _mend_files(folder, stamp, kinds)
        result.done += _remove_drafts(folder)
    result.left = examine(folder)
    return result


# ---------------------------------------------------------------------- the ledger


def _mend_ledger(folder: RunFolder, stamp: str) -> Iterator[str]:
    """Copies the ledger, reads the copy, and puts what was read in the ledger's place."""
    backup = _copied(folder.ledger, f"ledger-backup-{stamp}")
    yield f"kept the damaged ledger as {backup.name}"
    with tempfile.TemporaryDirectory(prefix=".salvage-", dir=folder.path) as scratch:
        made = rebuild(_scratch_copy(folder, Path(scratch)), Path(scratch) / "new", folder)
        if made is None:
            yield "nothing in it could be read, so it was left as it is; move the folder away"
            return
        # A journal that stayed would be played back into the new file.
        journal_of(folder.ledger).unlink(missing_ok=True)
        made.path.replace(folder.ledger)
    _sync(folder.path)
    yield from _account(made)


def _scratch_copy(folder: RunFolder, scratch: Path) -> Path:
    """A copy that SQLite may write to, with the journal where that is whole."""
    copy = scratch / "old.sqlite"
    shutil.copyfile(folder.ledger, copy)
    if journal_of(folder.ledger).exists() and not journal_problem(folder.ledger):
        shutil.copyfile(journal_of(folder.ledger), journal_of(copy))
    return copy


def _account(made: Rebuilt) -> Iterator[str]:
    counts = made.saved
    yield (
        f"saved {counts['trials']:,} trials, {counts['epochs']:,} epochs, "
        f"{counts['events']:,} events and {counts['checkpoints']:,} names of checkpoints"
    )
    if made.lost:
        lost = ", ".join(f"{number:,} of {table}" for table, number in sorted(made.lost.items()))
        yield f"could not read, or left out with what they belong to: {lost} (see the copy)"
        yield "`tuner run EXPERIMENT` runs lost trials again and goes on"


# ---------------------------------------------------------------------- the files beside it


def _mend_files(folder: RunFolder, stamp: str, kinds: set[str]) -> Iterator[str]:
    with Ledger.create_or_open(folder.ledger, folder.name) as ledger:
        if "checkpoints" in kinds:
            yield from _forget_broken_checkpoints(folder, ledger, stamp)
        if spare := unnamed_checkpoints(folder, ledger):
            remove(folder.checkpoints, [path.name for path in spare])
            yield f"removed {len(spare)} checkpoint files that no trial needs"
        for kind, text in _TEXTS.items():
            path = _PATHS[kind](folder)
            if kind in kinds or (kind == "csv" and "ledger" in kinds):
                yield from _rewritten(path, text(ledger), stamp)


def _forget_broken_checkpoints(folder: RunFolder, ledger: Ledger, stamp: str) -> Iterator[str]:
    broken = [row for row in ledger.checkpoints() if not is_whole(folder, row)]
    backup = _copied(folder.ledger, f"ledger-backup-{stamp}")
    yield f"kept the ledger as it was as {backup.name}"
    ledger.forget_checkpoints(broken)
    yield f"forgot {len(broken)} checkpoints; their trials go on from an earlier state"


def _rewritten(path: Path, text: str, stamp: str) -> Iterator[str]:
    if path.exists():
        if path.read_bytes() == text.encode():
            return
        backup = _copied(path, f"{path.stem}-backup-{stamp}")
        yield f"wrote {path.name} anew; the old one is {backup.name}"
    else:
        yield f"wrote {path.name} anew"
    write_atomically(path, text)


def _remove_drafts(folder: RunFolder) -> Iterator[str]:
    found = drafts(folder)
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if found:
        yield f"removed {len(found)} half-written files"


def _environment_text(ledger: Ledger) -> str:
    return json.dumps(ledger.environment, indent=2) + "\n"


_TEXTS: dict[str, Callable[[Ledger], str]] = {
    "csv": csv_text,
    "experiment": lambda ledger: ledger.experiment_yaml,
    "environment": _environment_text,
}
_PATHS: dict[str, Callable[[RunFolder], Path]] = {
    "csv": lambda folder: folder.trials_csv,
    "experiment": lambda folder: folder.experiment,
    "environment": lambda folder: folder.environment,
}


# ---------------------------------------------------------------------- copies


def _copied(path: Path, stem: str) -> Path:
    """A copy under a name that was free, on the disk; a journal goes with its ledger."""
    for counter in range(1, 1000):
        name = f"{stem}{f'-{counter}' if counter > 1 else ''}{path.suffix}"
        copy = path.with_name(name)
        try:
            copy.open("xb").close()
        except FileExistsError:
            continue
        _fill(copy, path)
        if journal_of(path).exists():
            _fill(journal_of(copy), journal_of(path))
        return copy
    raise TunerError(f"{path}: there are a thousand copies of it; move them away")


def _fill(copy: Path, source: Path) -> None:
    try:
        shutil.copyfile(source, copy)
        _sync(copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TunerError(
            f"{folder.path}: the repair could not be finished: {reason}\n"
            "    kept:     the ledger as it was; copies that were made lie beside it\n"
            "    mend:     free disk space or rights, then run the same command again"
        ) from error
