"""Opens ledger files: creates them whole, and refuses what is damaged, foreign or too new."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import InputError, Problem, TunerError
from tuner.ledger.codec import encode
from tuner.ledger.schema import APPLICATION_ID, MAGIC, SCHEMA_VERSION, TABLES

WRITER_PATIENCE_SECONDS = 60.0  # a reader holds its lock for one query only
READER_PATIENCE_SECONDS = 10.0


def create(path: Path, experiment_name: str) -> None:
    """Writes an empty ledger beside `path` and renames it, so that no half ledger ever exists.

    An empty or cut file at `path` is therefore damage, never a beginning.
    """
    draft = path.with_name(path.name + ".new")
    with writing(path):
        draft.unlink(missing_ok=True)
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            meta = {"schema": SCHEMA_VERSION, "experiment": experiment_name}
            rows = ", ".join(f"('{name}', {_quoted(encode(v))})" for name, v in meta.items())
            connection.executescript(f"BEGIN; {TABLES} INSERT INTO meta VALUES {rows}; COMMIT;")
        finally:
            connection.close()
        draft.rename(path)
        _sync_folder(path.parent)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one writer's connection: every commit is on the disk when it returns."""
    _check_magic(path)
    with writing(path):
        connection = _connect(path, "rw", WRITER_PATIENCE_SECONDS)
        try:
            # Not WAL: corruption bug in SQLite 3.7.0 to 3.51.2, and a second file to lose.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            _check_contents(connection, path)
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except BaseException:
            connection.close()
            raise
    if found != "ok":
        connection.close()
        raise damaged(path, str(found))
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for use while the writer writes."""
    _check_magic(path)
    with reading(path):
        try:
            return _opened_read_only(path)
        except sqlite3.OperationalError as error:
            if not _left_by_a_crash(path, error):
                raise
        _roll_back(path)
        return _opened_read_only(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, for the writer."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise TunerError(
            f"{path}: cannot write the ledger: {error}\n"
            "    kept:     everything recorded before\n"
            "    mend:     free disk space or rights, then run the same command again"
        ) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise damaged(path, str(error)) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, for a reader."""
    try:
        yield
    except sqlite3.OperationalError as error:
        problem = Problem(f"cannot read the ledger: {error}", where=str(path))
        raise InputError(problem) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error


def damaged(path: Path, detail: str) -> InputError:
    """The error for a ledger whose contents are broken."""
    return InputError(
        Problem(
            "this ledger is damaged; it was left as it is",
            where=str(path),
            received=detail,
            mend="put a copy in its place, or move it away to start this experiment afresh",
        )
    )


def _foreign(path: Path, received: str) -> InputError:
    return InputError(
        Problem(
            "this file is not a ledger of tuner; it was left as it is",
            where=str(path),
            received=received,
            expected="an SQLite file written by `tuner run`",
            mend="move it away, or give another name or --results folder",
        )
    )


def _connect(path: Path, mode: str, patience_seconds: float) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience_seconds)


def _opened_read_only(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "ro", READER_PATIENCE_SECONDS)
    try:
        _check_contents(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _left_by_a_crash(path: Path, error: sqlite3.OperationalError) -> bool:
    """Whether a writer died inside a commit, so that its journal waits to be rolled back."""
    journal = path.with_name(path.name + "-journal")
    busy = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return journal.exists() and not busy


def _roll_back(path: Path) -> None:
    """Reading once with the right to write lets SQLite undo the half commit."""
    connection = _connect(path, "rw", READER_PATIENCE_SECONDS)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        connection.close()


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        problem = Problem("cannot read the ledger", where=str(path), received=str(error.strerror))
        raise InputError(problem) from error
    if head == MAGIC:
        return
    if not head.strip(b"\x00"):
        raise damaged(path, "an empty file" if not head else "zeros where its head should be")
    raise _foreign(path, f"a file that begins with {head[:16]!r}")


def _check_contents(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN")  # one lock around all, so that a writer changes nothing meanwhile
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application != APPLICATION_ID:
            raise _foreign(path, f"an SQLite file with application id {application}")
        _check_size(connection, path)
        row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    finally:
        connection.execute("ROLLBACK")
    version = int(row[0]) if row and row[0].isdigit() else 0
    if version < 1:
        raise damaged(path, "no schema version")
    if version > SCHEMA_VERSION:
        raise InputError(
            Problem(
                "this ledger was written by a newer version of tuner; it was left as it is",
                where=str(path),
                received=f"schema version {version}",
                expected=f"at most {SCHEMA_VERSION}",
                mend="upgrade tuner, or give another --results folder",
            )
        )


def _check_size(connection: sqlite3.Connection, path: Path) -> None:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    size = path.stat().st_size
    if size < pages * page_bytes:
        raise damaged(path, f"{size} bytes of {pages * page_bytes}: its end is missing")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
