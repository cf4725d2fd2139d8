"""Looks at everything in a run's folder and says what is wrong, what that means, and what to do."""

from __future__ import annotations

import hashlib
import json
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tuner.errors import InputError, TunerError
from tuner.experiment.trial import TrialState
from tuner.experiment.yaml import compose
from tuner.ledger import connection as files
from tuner.ledger.backup import backup_of
from tuner.ledger.checkpoint import rubbish
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, CheckpointRow
from tuner.ledger.salvage import UNREADABLE, Broken, read_rows
from tuner.ledger.sealed import COLUMNS
from tuner.ledger.table import csv_text

_MAX_NAMED = 5
_ENDED = {state.value for state in FINISHED_STATES}


@dataclass(frozen=True)
class Finding:
    """One thing that was found in a folder.

    A note (`is_note`) is what the next `tuner run` puts in order by itself. `kind` says what a
    repair has to do about it; empty where it can do nothing.
    """

    where: str
    what: str
    means: str
    mend: str = ""
    kind: str = ""
    is_note: bool = False


@dataclass
class _Seen:
    """What the tables said on the way through."""

    trials: dict[int, tuple[str, int]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)


def examine(folder: RunFolder, *, is_ours: bool = False) -> list[Finding]:
    """Everything that is wrong, the ledger first; writes nothing.

    What a run is about to put in order itself is no finding while it runs, unless `is_ours`: this
    process holds the folder, and for the repair.
    """
    is_running = not is_ours and folder.holder() is not None
    found = list(_ledger(folder, is_running=is_running))
    if not any(finding.kind in ("ledger", "none") for finding in found):
        found += _beside(folder, is_running=is_running)
    if not is_running:
        found += [*_drafts(folder), *_lock(folder)]
    return found


def drafts(folder: RunFolder) -> list[Path]:
    """Half-written files that a crash has left in the folder."""
    found = [*folder.path.glob(".*.tmp"), *folder.path.glob(".salvage-*")]
    for name in ("ledger.sqlite.new", ".writable"):
        if (folder.path / name).exists():
            found.append(folder.path / name)
    return sorted(found)


def unnamed_checkpoints(folder: RunFolder, ledger: Ledger) -> list[Path]:
    """Files in the folder of checkpoints that the ledger does not name."""
    named = {row.file for row in ledger.checkpoints()}
    return [folder.checkpoints / name for name in rubbish(folder.checkpoints, named)]


def is_whole(folder: RunFolder, row: CheckpointRow) -> bool:
    """Whether a checkpoint is the file that was written."""
    try:
        with (folder.checkpoints / Path(row.file).name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == row.sha256
    except OSError:
        return False


# ---------------------------------------------------------------------- the ledger


def _ledger(folder: RunFolder, *, is_running: bool) -> Iterator[Finding]:
    try:
        connection = files.open_for_reading(folder.ledger)
    except InputError as error:
        yield _unopened(folder, error)
        return
    with closing(connection):
        if problems := _structure(connection):
            yield _damage(folder, "; ".join(problems), "some rows may be lost")
            return
        seen = _walk(connection)
    if seen.broken:
        what = f"{len(seen.broken)} damaged: " + _listed([broken.what for broken in seen.broken])
        yield _damage(folder, what, "commands that read these rows stop; all others are whole")
        return
    yield from _disagreements(folder, seen)
    yield from _left_running(seen, is_running=is_running)


def _walk(connection: sqlite3.Connection) -> _Seen:
    """Reads every row once."""
    seen = _Seen()
    for table in COLUMNS:
        for row in read_rows(connection, table):
            if isinstance(row, Broken):
                seen.broken.append(row)
            elif table == "trials":
                seen.trials[row[0]] = (row[2], row[5])
            elif table == "epochs":
                seen.epochs[row[0]] = seen.epochs.get(row[0], 0) + 1
    return seen


def _structure(connection: sqlite3.Connection) -> list[str]:
    try:
        return files.structural_problems(connection, _MAX_NAMED)
    except UNREADABLE as error:
        return [str(error)]


def _disagreements(folder: RunFolder, seen: _Seen) -> Iterator[Finding]:
    lost = sorted(set(seen.epochs) - set(seen.trials))
    if lost:
        what = f"epochs of {len(lost)} trials that are not there: {_listed(lost)}"
        yield _damage(folder, what, "they belong to nothing and count for nothing")
    wrong = [n for n, (_, epochs) in seen.trials.items() if seen.epochs.get(n, 0) != epochs]
    open_ones = [n for n in wrong if seen.trials[n][0] not in _ENDED]
    ended = [n for n in wrong if seen.trials[n][0] in _ENDED]
    if open_ones:
        what = f"the epochs of {len(open_ones)} unfinished trials are not all there"
        what += f": trials {_listed(open_ones)}"
        yield _damage(folder, what, "they would go on from where nothing is known")
    if ended:
        yield Finding(
            folder.ledger.name,
            f"the epochs of {len(ended)} ended trials are not all there: trials {_listed(ended)}",
            "their curves have gaps; scores and outcomes are whole",
            is_note=True,
        )


def _left_running(seen: _Seen, *, is_running: bool) -> Iterator[Finding]:
    running = [n for n, (state, _) in seen.trials.items() if state == TrialState.RUNNING.value]
    if running and not is_running:
        yield Finding(
            "ledger.sqlite",
            f"{len(running)} trials were under way when a run was ended: {_listed(running)}",
            "nothing is lost that was recorded; `tuner run` goes on with them",
            is_note=True,
        )


def _unopened(folder: RunFolder, error: InputError) -> Finding:
    (problem,) = error.problems
    repairable = "damaged" in problem.what
    return Finding(
        folder.ledger.name,
        f"{problem.what.partition(';')[0]}: {problem.received}" if problem.received else str(error),
        "nothing in it can be used before it is repaired" if repairable else "it was left alone",
        _ledger_line(folder) if repairable else problem.mend,
        "ledger" if repairable else "none",
    )


def _damage(folder: RunFolder, what: str, means: str) -> Finding:
    return Finding(folder.ledger.name, what, means, _ledger_line(folder), "ledger")


def _ledger_line(folder: RunFolder) -> str:
    """How to mend the ledger, and what there is for what cannot be read."""
    copy = backup_of(folder.ledger)
    if not copy.exists():
        return f"{_repair_line(folder)} (there is no copy from the start of a run)"
    when = datetime.fromtimestamp(copy.stat().st_mtime)
    return f"{_repair_line(folder)} (takes what is lost from {copy.name} of {when:%Y-%m-%d %H:%M})"


# ---------------------------------------------------------------------- the files beside it


def _beside(folder: RunFolder, *, is_running: bool) -> Iterator[Finding]:
    try:
        with Ledger.open_read_only(folder.ledger) as ledger:
            yield from _checkpoints(folder, ledger, is_running=is_running)
            yield from _experiment(folder, ledger)
            yield from _environment(folder, ledger)
            if not is_running:
                yield from _csv(folder, ledger)
    except TunerError as error:
        yield _damage(folder, str(error), "commands that read this stop")


def _checkpoints(folder: RunFolder, ledger: Ledger, *, is_running: bool) -> Iterator[Finding]:
    broken = [row.file for row in ledger.checkpoints() if not is_whole(folder, row)]
    if broken and not is_running:
        yield Finding(
            "checkpoints/",
            f"{len(broken)} missing or not what was written: {_listed(broken)}",
            "their trials go on from an earlier checkpoint, or from the beginning",
            _repair_line(folder),
            "checkpoints",
        )
    spare = [] if is_running else unnamed_checkpoints(folder, ledger)
    if spare:
        size = sum(path.stat().st_size for path in spare if path.is_file())
        yield Finding(
            "checkpoints/",
            f"{len(spare)} files ({size:,} bytes) that no trial needs",
            "a crash left them; they only take room",
            _repair_line(folder),
            "rubbish",
            is_note=True,
        )


def _experiment(folder: RunFolder, ledger: Ledger) -> Iterator[Finding]:
    kept = ledger.experiment_yaml
    text = _text_of(folder.experiment)
    if kept and text == kept:
        return
    if text is not None and not kept and not compose(text, str(folder.experiment))[1]:
        return
    yield Finding(
        folder.experiment.name,
        "missing" if not folder.experiment.exists() else "not what was written, or not YAML",
        "no result depends on it; `tuner run` writes it anew",
        _repair_line(folder) if kept else "tuner run EXPERIMENT",
        "experiment" if kept else "",
    )


def _environment(folder: RunFolder, ledger: Ledger) -> Iterator[Finding]:
    kept, found = ledger.environment, _json_of(folder.environment)
    if kept and found == kept:
        return
    if not kept and (found is not None or not folder.environment.exists()):
        return
    yield Finding(
        folder.environment.name,
        "missing" if not folder.environment.exists() else "not what was written, or not JSON",
        "no result depends on it; the ledger keeps what it says" if kept else "it can be deleted",
        _repair_line(folder) if kept else f"rm {shlex.quote(str(folder.environment))}",
        "environment" if kept else "",
    )


def _csv(folder: RunFolder, ledger: Ledger) -> Iterator[Finding]:
    text = _text_of(folder.trials_csv)
    if text is None and not any(ledger.counts().values()):
        return
    if text is None or text != csv_text(ledger):
        yield Finding(
            folder.trials_csv.name,
            "missing" if not folder.trials_csv.exists() else "not what the ledger says",
            "it is only a copy of the ledger, written anew by every run",
            _repair_line(folder),
            "csv",
        )


def _drafts(folder: RunFolder) -> Iterator[Finding]:
    if found := drafts(folder):
        yield Finding(
            folder.name,
            f"half-written files: {_listed([path.name for path in found])}",
            "a crash left them; nothing reads them",
            _repair_line(folder),
            "rubbish",
            is_note=True,
        )


def _lock(folder: RunFolder) -> Iterator[Finding]:
    if _text_of(folder.lock_file):
        yield Finding(
            folder.lock_file.name,
            "names a process that no longer runs",
            "the system let go of it when that process died; it stops nothing",
            is_note=True,
        )


def _text_of(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError):
        return None


def _json_of(path: Path) -> Any:
    text = _text_of(path)
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def _repair_line(folder: RunFolder) -> str:
    return f"tuner doctor {shlex.quote(str(folder.path))} --repair"


def _listed(items: list[Any]) -> str:
    shown = ", ".join(str(item) for item in items[:_MAX_NAMED])
    return shown + (", …" if len(items) > _MAX_NAMED else "")
