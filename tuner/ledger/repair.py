"""Puts a run's folder in order again: keeps copies, saves every row that can be read.

A new ledger is made of three sources, in this order: the rows of the damaged file that are what
was written (salvage.py), those of the copy from the start of the last run (backup.py), and the
experiment's file for the objective. What none of them has is named.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tuner.errors import TunerError
from tuner.experiment.objective import Objective
from tuner.experiment.yaml import compose
from tuner.ledger import connection as files
from tuner.ledger.backup import backup_of
from tuner.ledger.checkpoint import remove
from tuner.ledger.codec import decode, encode
from tuner.ledger.examination import (
    Finding,
    drafts,
    examine,
    is_whole,
    unnamed_checkpoints,
)
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.names import Names
from tuner.ledger.records import FINISHED_STATES, NewTrial
from tuner.ledger.salvage import KEYS, Broken, columns_of, count_trials, read_rows
from tuner.ledger.sealed import COLUMNS, seal
from tuner.ledger.table import csv_text

_MAX_SHOWN = 5
_ENDED = {state.value for state in FINISHED_STATES}


@dataclass
class Repair:
    """What was done, in sentences, and what is still wrong.

    `missing` are the numbers of trials that nothing has any more.
    """

    done: list[str] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    missing: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Rebuilt:
    """What the new ledger has and lacks: trials by number, epochs by trial."""

    counts: dict[str, int]
    restored: list[int]
    missing: list[int]
    gaps: dict[int, list[int]]
    gone_back: list[int]
    broken: list[Broken]
    may_lack_more: bool
    note: str


def mend(folder: RunFolder, now: datetime) -> Repair:
    """Mends what can be mended. Whatever it replaces lies beside it under a name with the time.

    Raises:
        TunerError: a run holds the folder, or there is no room; nothing was changed.
    """
    result = Repair()
    with folder.lock(), _writing(folder):
        stamp = f"before-repair-{now:%Y%m%d-%H%M%S}"
        if files.journal_of(folder.ledger).exists():  # to look is to roll back
            kept = _copied(folder.ledger, f"ledger-{stamp}")
            result.done.append(f"kept the ledger and its journal as {kept.name}")
        kinds = left = _kinds(folder)
        if "ledger" in kinds:
            _mend_ledger(folder, stamp, result)
            left = _kinds(folder)
        if not {"ledger", "none"} & left:
            result.done += _mend_files(folder, stamp, kinds | left)
        result.done += _remove_drafts(folder)
    result.left = examine(folder)
    return result


def _kinds(folder: RunFolder) -> set[str]:
    return {finding.kind for finding in examine(folder, is_ours=True)}


def _mend_ledger(folder: RunFolder, stamp: str, result: Repair) -> None:
    """Copies the ledger, reads the copy, and puts what was read in the ledger's place."""
    kept = _copied(folder.ledger, f"ledger-{stamp}")
    result.done.append(f"kept the damaged ledger as {kept.name}")
    with tempfile.TemporaryDirectory(prefix=".salvage-", dir=folder.path) as scratch:
        draft = Path(scratch) / "new.sqlite"
        rebuilt = _rebuild(_scratch_copy(folder, Path(scratch)), draft, folder)
        if not rebuilt.counts["trials"]:
            copy = rebuilt.note or "there is no copy from the start of a run beside it"
            result.done.append(
                f"nothing in it could be read, and {copy}; it was left as it is: "
                "put a copy of yours in its place, or move the folder away"
            )
            return
        files.sync(draft)
        # A journal that stayed would be played back into the new file.
        files.journal_of(folder.ledger).unlink(missing_ok=True)
        draft.replace(folder.ledger)
    files.sync(folder.path)
    result.missing = tuple(rebuilt.missing)
    result.done += _account(folder, rebuilt)


def _scratch_copy(folder: RunFolder, scratch: Path) -> Path:
    """A copy that SQLite may write to: it undoes the half commit that the journal is of."""
    copy = scratch / "old.sqlite"
    shutil.copyfile(folder.ledger, copy)
    if files.journal_of(folder.ledger).exists():
        shutil.copyfile(files.journal_of(folder.ledger), files.journal_of(copy))
    return copy


def _account(folder: RunFolder, rebuilt: _Rebuilt) -> Iterator[str]:
    counts = rebuilt.counts
    yield (
        f"saved {counts['trials']:,} trials, {counts['epochs']:,} epochs, "
        f"{counts['events']:,} events and {counts['checkpoints']:,} names of checkpoints"
    )
    if rebuilt.broken:
        shown = [broken.what for broken in rebuilt.broken[:_MAX_SHOWN]]
        more = f"; and {len(rebuilt.broken) - _MAX_SHOWN:,} more"
        yield "could not be read: " + "; ".join(shown) + more * (len(rebuilt.broken) > _MAX_SHOWN)
    if rebuilt.restored:
        copy = backup_of(folder.ledger)
        when = datetime.fromtimestamp(copy.stat().st_mtime)
        yield (
            f"taken from {copy.name}, as they were on {when:%Y-%m-%d %H:%M}: "
            f"trials {_ranges(rebuilt.restored)}; what was learnt of them since is lost"
        )
    elif rebuilt.note:
        yield rebuilt.note
    if rebuilt.gaps:
        alike: dict[str, list[int]] = defaultdict(list)
        for number, gap in rebuilt.gaps.items():
            alike[_ranges(gap)].append(number)
        gaps = "; ".join(f"{gap} of {_ranges(numbers)}" for gap, numbers in alike.items())
        yield f"missing epochs of ended trials: {gaps}; their scores and outcomes are whole"
    if rebuilt.gone_back:
        yield f"unfinished trials go back to before a gap: {_ranges(rebuilt.gone_back)}"
    if rebuilt.missing:
        yield f"missing: trials {_ranges(rebuilt.missing)}"
    if rebuilt.may_lack_more:
        yield "trials may be missing whose numbers cannot be told either"
    if rebuilt.restored or rebuilt.gone_back or rebuilt.missing or rebuilt.may_lack_more:
        yield "`tuner run EXPERIMENT` runs again what is missing, and goes on"


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers in order as text: `3, 5 to 9`."""
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in stretches)


# ---------------------------------------------------------------------- a new ledger


def _rebuild(old: Path, draft: Path, folder: RunFolder) -> _Rebuilt:
    """A sound ledger at `draft`; `old` is a copy of the damaged one that may be written to."""
    files.create(draft, folder.name)
    with closing(files.open_for_writing(draft)) as new:
        new.execute("PRAGMA synchronous = OFF")  # on the disk before it takes the ledger's place
        new.execute("BEGIN")
        broken, num_seen, is_counted = _insert_readable(old, new)
        objective = _keep_objective(new, folder)
        new.execute("COMMIT")
        restored, note = _fill_from_copy(new, folder, draft.parent / "copy.sqlite", objective)
        new.execute("BEGIN")
        most = max(num_seen, *_column(new, "SELECT trial FROM epochs UNION SELECT 0"))
        gaps, gone_back = _put_in_order(new)
        saved = _column(new, "SELECT number FROM trials ORDER BY number")
        _write_names(new)
        new.execute("COMMIT")
        counts = {table: _column(new, f"SELECT count(*) FROM {table}")[0] for table in COLUMNS}
    missing = sorted(set(range(1, max(most, *saved, 0) + 1)) - set(saved))
    return _Rebuilt(counts, restored, missing, gaps, gone_back, broken, not is_counted, note)


def _insert_readable(old: Path, new: sqlite3.Connection) -> tuple[list[Broken], int, bool]:
    """What is broken, how many trials there were at least, and whether there can be no more."""
    broken: list[Broken] = []
    with closing(sqlite3.connect(old, isolation_level=None)) as source:
        source.execute("PRAGMA cell_size_check = ON")
        source.execute(
            "PRAGMA writable_schema = ON"
        )  # or SQLite reads nothing of a file that is cut
        for table in COLUMNS:
            columns = columns_of(source, table)
            marks = ", ".join("?" * len(columns))
            insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            for row in read_rows(source, table):
                if isinstance(row, Broken):
                    broken.append(row)
                elif table != "meta" or row[0] not in ("schema", "experiment"):
                    try:
                        new.execute(insert, row)
                    except sqlite3.IntegrityError as error:  # possible in version 1 only
                        what = f"row {row[0]} of {table} makes no sense: {error}"
                        broken.append(Broken(table, what))
            if {*COLUMNS[table], "digest"} - set(columns):  # of an older version
                seal(new, table, "TRUE")
        counted = count_trials(source)
        is_whole = bool(columns_of(source, "trials")) and all(b.table != "trials" for b in broken)
    return broken, counted or 0, is_whole or counted is not None


def _keep_objective(new: sqlite3.Connection, folder: RunFolder) -> Objective | None:
    """As the ledger says, or else the experiment's file; scores mean nothing without it."""
    kept = _column(new, "SELECT value FROM meta WHERE name = 'objective'")
    if kept:
        return Objective(*decode(kept[0]))
    try:
        text = folder.experiment.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    document: Any = compose(text, str(folder.experiment))[0].value
    found = document.get("objective") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    objective = Objective(found.get("metric", "val_accuracy"), found.get("direction", "max"))
    _set_meta(new, "objective", (objective.metric, objective.direction))
    return objective


def _set_meta(new: sqlite3.Connection, name: str, value: Any) -> None:
    statement = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
    new.execute(statement, (name, encode(value)))
    seal(new, "meta", "name = ?", (name,))


def _fill_from_copy(
    new: sqlite3.Connection, folder: RunFolder, copy: Path, objective: Objective | None
) -> tuple[list[int], str]:
    """Adds what only the copy from the last run's start has.

    Gives the trials that came from there, or why none did.
    """
    name = backup_of(folder.ledger).name
    if not backup_of(folder.ledger).exists():
        return [], ""
    shutil.copyfile(backup_of(folder.ledger), copy)
    try:
        with Ledger.create_or_open(copy, folder.name) as ledger:  # brings it up to date
            if objective:
                ledger.set_objective(objective)  # scores it anew if that has changed since
    except TunerError:
        return [], f"{name} is damaged as well, and was not used"
    new.execute("ATTACH ? AS copy", (str(copy),))
    try:
        if new.execute(_OTHER_LEDGER).fetchone()[0]:
            return [], f"{name} is of another ledger, and was not used"
        new.execute("BEGIN")
        restored = _add_missing(new)
        new.execute("COMMIT")
        return restored, ""
    finally:
        new.execute("DETACH copy")


_OTHER_LEDGER = """
SELECT EXISTS (SELECT 1 FROM main.trials m JOIN copy.trials c USING (number) WHERE m.key != c.key)
OR EXISTS (SELECT 1 FROM main.events m JOIN copy.events c USING (id) WHERE m.at != c.at)
"""


def _add_missing(new: sqlite3.Connection) -> list[int]:
    """A trial that is missing comes whole from the copy, with its epochs and checkpoints as they
    were. Of one that is there they are added only if its row has not changed since: otherwise they
    may be of an earlier attempt.
    """
    new.execute(
        "CREATE TEMP TABLE restored AS SELECT number FROM copy.trials "
        f"WHERE {_is_sealed('trials')} AND number NOT IN (SELECT number FROM main.trials) "
        "AND key NOT IN (SELECT key FROM main.trials)"
    )
    new.execute(
        "CREATE TEMP TABLE unchanged AS SELECT number FROM main.trials m "
        "JOIN copy.trials c USING (number) WHERE m.digest = c.digest"
    )
    for table in ("epochs", "checkpoints"):
        new.execute(f"DELETE FROM main.{table} WHERE trial IN (SELECT number FROM restored)")
    for table in COLUMNS:
        columns = ", ".join(columns_of(new, table))
        where = _is_sealed(table)
        if table == "trials":
            where += " AND number IN (SELECT number FROM restored)"
        elif table in ("epochs", "checkpoints"):
            where += " AND trial IN (SELECT number FROM restored UNION SELECT * FROM unchanged)"
        same = " AND ".join(f"m.{key} = c.{key}" for key in KEYS[table])
        new.execute(
            f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM copy.{table} c "
            f"WHERE NOT EXISTS (SELECT 1 FROM main.{table} m WHERE {same}) AND {where}"
        )
    return _column(new, "SELECT number FROM restored ORDER BY number")


def _is_sealed(table: str) -> str:
    return f"digest = row_digest({', '.join(COLUMNS[table])})"


def _put_in_order(new: sqlite3.Connection) -> tuple[dict[int, list[int]], list[int]]:
    """Takes out what belongs to no trial; an unfinished one goes back to before a gap.

    Gives the epochs that ended trials lack, and the unfinished trials that went back.
    """
    for table in ("epochs", "checkpoints"):
        new.execute(f"DELETE FROM {table} WHERE trial NOT IN (SELECT number FROM trials)")
        new.execute(
            f"DELETE FROM {table} WHERE epoch > (SELECT epochs FROM trials WHERE number = trial)"
        )
    # Trials before the position may be missing now, and the next run says again which are current.
    new.execute("DELETE FROM meta WHERE name IN ('position', 'plan')")
    lost = "context != 0 AND context NOT IN (SELECT id FROM contexts)"
    new.execute(f"UPDATE trials SET context = 0 WHERE {lost}")
    seal(new, "trials", "context = 0")
    wrong = new.execute(
        "SELECT number, state, epochs FROM trials "
        "WHERE epochs != (SELECT count(*) FROM epochs WHERE trial = number) ORDER BY number"
    ).fetchall()
    gaps = {}
    gone_back = []
    for number, state, epochs in wrong:
        there = _column(new, f"SELECT epoch FROM epochs WHERE trial = {number}")
        lacking = sorted(set(range(1, epochs + 1)) - set(there))
        if state in _ENDED:
            gaps[number] = lacking
            continue
        gone_back.append(number)
        for table in ("epochs", "checkpoints"):
            new.execute(f"DELETE FROM {table} WHERE trial = ? AND epoch >= ?", (number, lacking[0]))
        new.execute("UPDATE trials SET epochs = ? WHERE number = ?", (lacking[0] - 1, number))
        seal(new, "trials", "number = ?", (number,))
    return gaps, gone_back


def _write_names(new: sqlite3.Connection) -> None:
    """Finds the names again, from the trials that are there."""
    names = Names()
    query = "SELECT key, configuration, searched, seed, state, metrics FROM trials ORDER BY number"
    for key, configuration, searched, seed, state, metrics in new.execute(query):
        names.note([NewTrial(key, decode(configuration), decode(searched), 0, seed, "")])
        if state in _ENDED:
            names.note_metrics(decode(metrics))
    _set_meta(new, "names", names.to_json())


def _column(connection: sqlite3.Connection, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query)]


# ---------------------------------------------------------------------- the files beside it


def _mend_files(folder: RunFolder, stamp: str, kinds: set[str]) -> Iterator[str]:
    with Ledger.create_or_open(folder.ledger, folder.name) as ledger:
        if "checkpoints" in kinds:
            yield from _forget_broken_checkpoints(folder, ledger, stamp)
        if spare := unnamed_checkpoints(folder, ledger):
            remove(folder.checkpoints, [path.name for path in spare])
            yield f"removed {len(spare)} checkpoint files that no trial needs"
        for kind, (path, text) in _DERIVED.items():
            if kind in kinds or (kind == "csv" and "ledger" in kinds):
                yield from _rewritten(path(folder), text(ledger), stamp)


def _forget_broken_checkpoints(folder: RunFolder, ledger: Ledger, stamp: str) -> Iterator[str]:
    broken = [row for row in ledger.checkpoints() if not is_whole(folder, row)]
    kept = _copied(folder.ledger, f"ledger-{stamp}")
    yield f"kept the ledger as it was as {kept.name}"
    ledger.forget_checkpoints(broken)
    yield f"forgot {len(broken)} checkpoints; their trials go on from an earlier state"


def _rewritten(path: Path, text: str, stamp: str) -> Iterator[str]:
    if path.exists():
        if path.read_bytes() == text.encode():
            return
        kept = _copied(path, f"{path.stem}-{stamp}")
        yield f"wrote {path.name} anew; the old one is {kept.name}"
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


# By kind of finding: which file is written anew, and with what.
_DERIVED: dict[str, tuple[Callable[[RunFolder], Path], Callable[[Ledger], str]]] = {
    "csv": (lambda folder: folder.trials_csv, csv_text),
    "experiment": (lambda folder: folder.experiment, lambda ledger: ledger.experiment_yaml),
    "environment": (
        lambda folder: folder.environment,
        lambda ledger: json.dumps(ledger.environment, indent=2) + "\n",
    ),
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
        _write_copy(copy, path)
        if files.journal_of(path).exists():
            _write_copy(files.journal_of(copy), files.journal_of(path))
        return copy
    raise TunerError(f"{path}: there are a thousand copies of it; move them away")


def _write_copy(copy: Path, source: Path) -> None:
    try:
        shutil.copyfile(source, copy)
        files.sync(copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


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
