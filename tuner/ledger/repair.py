"""What is wrong in a run's folder, what that means, what to do; and doing it (`tuner doctor`).

A new ledger is made of the rows of the damaged file that can be read and are what was written,
then of those of the copy from the start of the last run (backup.py). What neither has is named.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tuner.code.files import hash_of
from tuner.errors import InputError, TunerError
from tuner.experiment.experiment import load_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger import connection as files
from tuner.ledger.backup import backup_of, columns_in, read_rows
from tuner.ledger.checkpoint import remove, rubbish
from tuner.ledger.connection import UNREADABLE
from tuner.ledger.folder import RunFolder, free_path, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.migration import migrate, migrated_copy
from tuner.ledger.reader import LedgerReader
from tuner.ledger.records import FINISHED_STATES, CheckpointRow
from tuner.ledger.schema import COLUMNS, SCHEMA_VERSION, seal, teach
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
class Repair:
    """What was done, in sentences, and what is still wrong.

    `missing` are the numbers of trials that nothing has any more.
    """

    done: list[str] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    missing: tuple[int, ...] = ()


def examine(folder: RunFolder, *, is_ours: bool = False) -> list[Finding]:
    """Everything that is wrong, the ledger first; writes nothing.

    What a run is about to put in order itself is no finding while it runs, unless `is_ours`: this
    process holds the folder, and for the repair.
    """
    is_running = not is_ours and folder.holder() is not None
    findings = list(_ledger_findings(folder, is_running=is_running))
    if not any(finding.kind in ("ledger", "none") for finding in findings):
        findings += _findings_beside(folder, is_running=is_running)
    if is_running:
        return findings
    if drafts := _drafts(folder):
        what = f"half-written files: {_listed([path.name for path in drafts])}"
        means = "a crash left them; nothing reads them"
        mend = _repair_line(folder)
        findings.append(Finding(folder.name, what, means, mend, "rubbish", is_note=True))
    if _content(folder.lock_file):
        what = "names a process that no longer runs"
        means = "the system freed it when that process ended; it blocks nothing"
        findings.append(Finding(folder.lock_file.name, what, means, is_note=True))
    return findings


def mend(folder: RunFolder, now: datetime) -> Repair:
    """Mends what can be mended. Whatever it replaces lies beside it under a name with the time.

    Raises:
        TunerError: a run holds the folder, or there is no room; nothing was changed.
    """
    result = Repair()
    with _writing(folder), folder.lock():
        stamp = f"before-repair-{now:%Y%m%d-%H%M%S}"
        if files.journal_of(folder.ledger).exists():  # to look is to roll back
            kept = _copied(folder.ledger, f"ledger-{stamp}")
            result.done.append(f"kept the ledger and its journal as {kept.name}")
        kinds = _kinds(folder)
        if "ledger" in kinds:
            _mend_ledger(folder, stamp, result)
            kinds = _kinds(folder)
        if not {"ledger", "none"} & kinds:
            result.done += _mend_beside(folder, stamp, kinds)
        if drafts := _drafts(folder):
            for path in drafts:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            result.done.append(f"removed {len(drafts)} half-written files")
    result.left = examine(folder)
    return result


def _kinds(folder: RunFolder) -> set[str]:
    return {finding.kind for finding in examine(folder, is_ours=True)}


# ---------------------------------------------------------------------- examining the ledger


def _ledger_findings(folder: RunFolder, *, is_running: bool) -> Iterator[Finding]:
    try:
        connection = files.open_for_reading(folder.ledger)
    except InputError as error:
        (problem,) = error.problems
        what = ": ".join(filter(None, (problem.what.partition(";")[0], problem.received)))
        if "damaged" in problem.what:
            yield _damage(folder, what, "nothing in it can be used before it is repaired")
        else:
            means = "it was left alone"
            yield Finding(folder.ledger.name, what, means, problem.mend, "none")
        return
    with closing(connection):
        try:
            problems = files.structural_problems(connection, _MAX_NAMED)
        except UNREADABLE as error:
            problems = [str(error)]
        if problems:
            yield _damage(folder, "; ".join(problems), "some rows may be lost")
        else:
            yield from _findings_in_rows(folder, connection, is_running=is_running)


def _findings_in_rows(
    folder: RunFolder, connection: sqlite3.Connection, *, is_running: bool
) -> Iterator[Finding]:
    """Of an old ledger, in a copy that is brought up to date."""
    version = files.version_of(connection)
    if version == SCHEMA_VERSION:
        yield from _row_findings(folder, connection, is_running=is_running)
        return
    try:
        copy = migrated_copy(connection, version)
    except UNREADABLE as error:
        yield _damage(folder, str(error), "it cannot be brought up to date")
        return
    with closing(copy):
        yield from _row_findings(folder, copy, is_running=is_running)


def _row_findings(
    folder: RunFolder, connection: sqlite3.Connection, *, is_running: bool
) -> Iterator[Finding]:
    broken: list[str] = []
    for table in COLUMNS:
        for _ in read_rows(connection, table, broken):
            pass
    if broken:
        what = f"{len(broken)} damaged: {_listed(broken)}"
        yield _damage(folder, what, "commands that read these rows stop; all others are whole")
        return
    if lost := _column(connection, f"SELECT DISTINCT trial FROM epochs WHERE {_ORPHANED}"):
        what = f"epochs of {len(lost)} trials that are not there: {_listed(lost)}"
        yield _damage(folder, what, "they belong to nothing and count for nothing")
    uneven = connection.execute(_UNEVEN).fetchall()
    if unfinished := [number for number, state, _ in uneven if state not in _ENDED]:
        what = f"the epochs of {len(unfinished)} unfinished trials are not all there: trials "
        what += _listed(unfinished)
        yield _damage(folder, what, "they would go on from where nothing is known")
    if ended := [number for number, state, _ in uneven if state in _ENDED]:
        what = f"the epochs of {len(ended)} ended trials are not all there: trials {_listed(ended)}"
        means = "their curves have gaps; scores and outcomes are whole"
        yield Finding(folder.ledger.name, what, means, is_note=True)
    running = f"SELECT number FROM trials WHERE state = '{TrialState.RUNNING.value}'"
    if not is_running and (left := _column(connection, running)):
        what = f"{len(left)} trials were running when a run was ended: {_listed(left)}"
        means = "what was recorded is kept; `tuner run` continues them"
        yield Finding(folder.ledger.name, what, means, is_note=True)


_ORPHANED = "trial NOT IN (SELECT number FROM trials)"
_UNEVEN = (
    "SELECT number, state, epochs FROM trials "
    "WHERE epochs != (SELECT count(*) FROM epochs WHERE trial = number) ORDER BY number"
)


def _damage(folder: RunFolder, what: str, means: str) -> Finding:
    """Names how to mend the ledger, and what there is for what cannot be read."""
    copy = backup_of(folder.ledger)
    source = "there is no copy from the start of a run"
    if copy.exists():
        source = f"takes what is lost from {copy.name} of {_changed_at(copy)}"
    mend = f"{_repair_line(folder)} ({source})"
    return Finding(folder.ledger.name, what, means, mend, "ledger")


# ---------------------------------------------------------------------- examining the rest


def _findings_beside(folder: RunFolder, *, is_running: bool) -> Iterator[Finding]:
    try:
        with LedgerReader.open_read_only(folder.ledger) as ledger:
            if not is_running:
                yield from _checkpoint_findings(folder, ledger)
            for kind, (path, text, means) in _derived(folder, ledger).items():
                if _content(path) != text.encode() and not (kind == "csv" and is_running):
                    what = "not what the ledger says" if path.exists() else "missing"
                    yield Finding(path.name, what, means, _repair_line(folder), kind)
    except TunerError as error:
        yield _damage(folder, str(error), "commands that read this stop")


def _checkpoint_findings(folder: RunFolder, ledger: LedgerReader) -> Iterator[Finding]:
    mend = _repair_line(folder)
    if broken := [row.file for row in _broken_checkpoints(folder, ledger)]:
        what = f"{len(broken)} missing or not what was written: {_listed(broken)}"
        means = "their trials go on from an earlier checkpoint, or from the beginning"
        yield Finding("checkpoints/", what, means, mend, "checkpoints")
    if spare := _spare_checkpoints(folder, ledger):
        sizes = [path.stat().st_size for path in map(folder.checkpoints.joinpath, spare)]
        what = f"{len(spare)} files ({sum(sizes):,} bytes) that no trial needs"
        means = "a crash left them; they only take room"
        yield Finding("checkpoints/", what, means, mend, "rubbish", is_note=True)


def _derived(folder: RunFolder, ledger: LedgerReader) -> dict[str, tuple[Path, str, str]]:
    """Files that say what the ledger says as well, by the kind of finding.

    Gives path, text, and what it means that they differ.
    """
    derived = {}
    if text := ledger.experiment_yaml:
        means = "no result depends on it; `tuner run` writes it again"
        derived["experiment"] = (folder.experiment, text, means)
    if record := ledger.environment:
        means = "no result depends on it; the ledger keeps what it says"
        derived["environment"] = (folder.environment, json.dumps(record, indent=2) + "\n", means)
    if folder.trials_csv.exists() or any(ledger.counts().values()):
        means = "it is only a copy of the ledger, written again by every run"
        derived["csv"] = (folder.trials_csv, csv_text(ledger), means)
    return derived


def _broken_checkpoints(folder: RunFolder, ledger: LedgerReader) -> list[CheckpointRow]:
    return [
        row
        for row in ledger.checkpoints()
        if hash_of(str(folder.checkpoints / Path(row.file).name)) != row.sha256
    ]


def _spare_checkpoints(folder: RunFolder, ledger: LedgerReader) -> list[str]:
    return rubbish(folder.checkpoints, {row.file for row in ledger.checkpoints()})


def _drafts(folder: RunFolder) -> list[Path]:
    """Half-written files that a crash has left in the folder."""
    patterns = (".*.tmp", ".salvage-*", "ledger.sqlite.new", ".writable")
    return sorted(path for pattern in patterns for path in folder.path.glob(pattern))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


# ---------------------------------------------------------------------- a new ledger


def _mend_ledger(folder: RunFolder, stamp: str, result: Repair) -> None:
    """Reads a copy of the ledger, and puts what was read in the ledger's place."""
    kept = _copied(folder.ledger, f"ledger-{stamp}")
    result.done.append(f"kept the damaged ledger as {kept.name}")
    with tempfile.TemporaryDirectory(prefix=".salvage-", dir=folder.path) as name:
        old, draft = Path(name) / "old.sqlite", Path(name) / "new.sqlite"
        _copy_with_journal(folder.ledger, old)  # SQLite undoes there what the journal is of
        files.create(draft, folder.name)
        connection = files.open_for_writing(draft)
        with Ledger(draft, connection) as ledger:
            connection.execute("PRAGMA synchronous = OFF")  # it is synced before it counts
            account, missing = _rebuild(old, ledger, connection, folder)
        result.done += account
        if missing is None:
            return
        files.sync(draft)
        # A journal that stayed would be played back into the new file.
        files.journal_of(folder.ledger).unlink(missing_ok=True)
        draft.replace(folder.ledger)
    files.sync(folder.path)
    result.missing = missing


def _rebuild(
    old: Path, ledger: Ledger, new: sqlite3.Connection, folder: RunFolder
) -> tuple[list[str], tuple[int, ...] | None]:
    """Fills the new ledger: what became of the old one in sentences, and the missing trials.

    They are None where there is nothing to fill it with.
    """
    broken, expected = _copy_rows(old, new)
    _keep_objective(ledger, folder)
    restored, note = _fill_from_copy(ledger, new, folder, old.with_name("copy.sqlite"))
    most = max([expected or 0, *_column(new, "SELECT trial FROM epochs")])
    gaps, gone_back = _put_in_order(ledger, new)
    unread = [f"could not be read: {_listed(broken, '; ')}"] if broken else []
    saved = _column(new, "SELECT number FROM trials ORDER BY number")
    if not saved:
        note = note or "there is no copy from the start of a run beside it"
        mend = "put a copy of yours in its place, or move the folder away"
        nothing = f"nothing in it could be read, and {note}; it was left as it is: {mend}"
        return [*unread, nothing], None
    missing = sorted(set(range(1, max(most, saved[-1]) + 1)) - set(saved))
    losses = []
    if restored:
        copy = backup_of(folder.ledger)
        losses.append(
            f"taken from {copy.name}, as they were on {_changed_at(copy)}: "
            f"trials {_stretches(restored)}; what was recorded of them since is lost"
        )
    if gone_back:
        losses.append(f"unfinished trials go back to before a gap: {_stretches(gone_back)}")
    if missing:
        losses.append(f"missing: trials {_stretches(missing)}")
    if expected is None:
        losses.append("trials may be missing whose numbers cannot be told either")
    if losses:
        losses.append("`tuner run EXPERIMENT` runs again what is missing, and goes on")
    counts = {table: _column(new, f"SELECT count(*) FROM {table}")[0] for table in COLUMNS}
    account = [
        f"saved {counts['trials']:,} trials, {counts['epochs']:,} epochs, {counts['events']:,} "
        f"events and {counts['checkpoints']:,} names of checkpoints",
        *unread,
        *filter(None, [note]),
        *([f"missing epochs of ended trials: {gaps}"] if gaps else []),
        *losses,
    ]
    return account, tuple(missing)


def _copy_rows(old: Path, new: sqlite3.Connection) -> tuple[list[str], int | None]:
    """What could not be read, and how many trials there were; None if that cannot be told."""
    broken: list[str] = []
    with closing(sqlite3.connect(old, isolation_level=None)) as source:
        source.execute("PRAGMA cell_size_check = ON")
        with suppress(*UNREADABLE):
            if 0 < (version := files.version_of(source)) < SCHEMA_VERSION:
                broken.append(
                    f"it is of version {version}, damaged, and cannot be brought up to date"
                )
                teach(source)
                migrate(source, version)
                broken.clear()
        source.execute("PRAGMA writable_schema = ON")  # or nothing of a file that is cut is read
        for table in COLUMNS:
            columns = columns_in(table)
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            new.execute("BEGIN")
            new.executemany(statement, read_rows(source, table, broken))
            new.execute("COMMIT")
        try:  # an index lies on pages of its own
            query = "SELECT count(*) FROM trials INDEXED BY trials_by_state"
            return broken, int(source.execute(query).fetchone()[0])
        except UNREADABLE:
            pass
    is_whole = not any(text.startswith("trials ") for text in broken)
    return broken, _column(new, "SELECT count(*) FROM trials")[0] if is_whole else None


def _keep_objective(ledger: Ledger, folder: RunFolder) -> None:
    """As the ledger says, or else the experiment's file; scores mean nothing without it."""
    if not ledger.has_objective:
        with suppress(TunerError):
            ledger.set_objective(load_experiment(folder.experiment).objective)


def _fill_from_copy(
    ledger: Ledger, new: sqlite3.Connection, folder: RunFolder, scratch: Path
) -> tuple[list[int], str]:
    """Adds what only the copy from the last run's start has.

    Gives the trials that came from there, or why none could.
    """
    copy = backup_of(folder.ledger)
    if not copy.exists():
        return [], ""
    shutil.copyfile(copy, scratch)
    try:
        with Ledger.create_or_open(scratch, folder.name) as source:  # brings it up to date
            if ledger.has_objective:
                source.set_objective(ledger.objective)  # scores it anew if that has changed since
    except TunerError:
        return [], f"{copy.name} is damaged as well, and was not used"
    new.execute("ATTACH ? AS copy", (str(scratch),))
    try:
        other = "SELECT 1 FROM main.trials m JOIN copy.trials c USING (number) WHERE m.key != c.key"
        if new.execute(other).fetchone():
            return [], f"{copy.name} is of another ledger, and was not used"
        return _add_missing(new), ""
    finally:
        new.execute("DETACH copy")


def _add_missing(new: sqlite3.Connection) -> list[int]:
    """A trial that is missing comes whole from the copy, with its epochs and checkpoints as they
    were. Of one that is there they are added only if its row has not changed since: otherwise they
    may be of an earlier attempt.
    """
    new.execute("BEGIN")
    new.execute("CREATE TEMP TABLE present AS SELECT number FROM main.trials")
    restored = "SELECT number FROM main.trials WHERE number NOT IN present"
    _insert_from_copy(new, "trials", "TRUE")
    for table in ("epochs", "checkpoints"):
        new.execute(f"DELETE FROM main.{table} WHERE trial IN ({restored})")
        same = "SELECT number FROM main.trials JOIN copy.trials USING (number, digest)"
        _insert_from_copy(new, table, f"trial IN ({same})")
    for table in ("meta", "events", "contexts"):
        _insert_from_copy(new, table, "TRUE")
    new.execute("COMMIT")
    return _column(new, f"{restored} ORDER BY number")


def _insert_from_copy(new: sqlite3.Connection, table: str, where: str) -> None:
    columns = ", ".join(columns_in(table))
    new.execute(
        f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM copy.{table} "
        f"WHERE {where} AND digest = row_digest({', '.join(COLUMNS[table])})"
    )


def _put_in_order(ledger: Ledger, new: sqlite3.Connection) -> tuple[str, list[int]]:
    """Takes out what belongs to no trial; an unfinished one goes back to before a gap.

    Gives the epochs that ended trials lack, and the unfinished trials that went back.
    """
    for table in ("epochs", "checkpoints"):
        new.execute(f"DELETE FROM {table} WHERE {_ORPHANED}")
        new.execute(
            f"DELETE FROM {table} WHERE epoch > (SELECT epochs FROM trials WHERE number = trial)"
        )
    lost = "context != 0 AND context NOT IN (SELECT id FROM contexts)"
    new.execute(f"UPDATE trials SET context = 0 WHERE {lost}")
    seal(new, "trials", "context = 0")
    ledger.forget_plan()
    gaps: dict[str, list[int]] = defaultdict(list)
    gone_back = []
    for number, state, epochs in new.execute(_UNEVEN).fetchall():
        there = _column(new, f"SELECT epoch FROM epochs WHERE trial = {number}")
        lacking = sorted(set(range(1, epochs + 1)) - set(there))
        if state in _ENDED:
            gaps[_stretches(lacking)].append(number)
        else:
            gone_back.append(number)
            ledger.go_back(number, lacking[0] - 1)
    texts = [f"{lacking} of {_stretches(numbers)}" for lacking, numbers in gaps.items()]
    return "; ".join(texts), gone_back


# ---------------------------------------------------------------------- the files beside it


def _mend_beside(folder: RunFolder, stamp: str, kinds: set[str]) -> Iterator[str]:
    with Ledger.create_or_open(folder.ledger, folder.name) as ledger:
        if "checkpoints" in kinds:
            broken = _broken_checkpoints(folder, ledger)
            kept = _copied(folder.ledger, f"ledger-{stamp}")
            yield f"kept the ledger as it was as {kept.name}"
            ledger.forget_checkpoints(broken)
            yield f"forgot {len(broken)} checkpoints; their trials go on from an earlier state"
        if spare := _spare_checkpoints(folder, ledger):
            remove(folder.checkpoints, spare)
            yield f"removed {len(spare)} checkpoint files that no trial needs"
        for kind, (path, text, _) in _derived(folder, ledger).items():
            if kind in kinds:
                old = ""
                if path.exists():
                    old = f"; the old one is {_copied(path, f'{path.stem}-{stamp}').name}"
                write_atomically(path, text)
                yield f"wrote {path.name} again{old}"


def _copied(path: Path, stem: str) -> Path:
    """A copy under a name that was free, on the disk; a journal goes with its ledger."""
    copy = free_path(path, stem)
    _copy_with_journal(path, copy)
    return copy


def _copy_with_journal(path: Path, copy: Path) -> None:
    pairs = [(path, copy), (files.journal_of(path), files.journal_of(copy))]
    for source, target in pairs if pairs[1][0].exists() else pairs[:1]:
        try:
            shutil.copyfile(source, target)
            files.sync(target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


@contextmanager
def _writing(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TunerError(
            f"{folder.path}: the repair could not be finished: {reason}\n"
            "    kept:     the ledger as it was; copies that were made are beside it\n"
            "    fix:      free disk space or rights, then run the same command again"
        ) from error


# ---------------------------------------------------------------------- text


def _repair_line(folder: RunFolder) -> str:
    return f"tuner doctor {shlex.quote(str(folder.path))} --repair"


def _changed_at(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d %H:%M}"


def _listed(items: Sequence[Any], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - _MAX_NAMED:,} more" * (len(items) > _MAX_NAMED)
    return separator.join(map(str, items[:_MAX_NAMED])) + more


def _stretches(numbers: Iterable[int]) -> str:
    """Numbers in order as text: `3, 5 to 9`."""
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in stretches)


def _column(connection: sqlite3.Connection, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query)]
