"""Opens ledger files: creates them whole, brings old ones up to date, refuses damaged ones."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from tuner.ledger.carving import PAGE_BYTES
from tuner.ledger.codec import encode
from tuner.ledger.damage import reading, writing
from tuner.ledger.journal import journal_of
from tuner.ledger.migration import migrate
from tuner.ledger.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES
from tuner.ledger.sealed import seal, teach
from tuner.ledger.soundness import check_contents, check_file

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
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            teach(connection)
            meta = {"schema": SCHEMA_VERSION, "experiment": experiment_name}
            rows = ", ".join(f"('{name}', {_quoted(encode(v))})" for name, v in meta.items())
            insert = f"INSERT INTO meta (name, value) VALUES {rows};"
            connection.executescript(f"BEGIN; {TABLES} {insert}")
            seal(connection, "meta", "TRUE", ())
            connection.execute("COMMIT")
        finally:
            connection.close()
        draft.rename(path)
        sync_folder(path.parent)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one writer's connection: every commit is on the disk when it returns.

    A ledger of an older version is brought up to date first.
    """
    check_file(path)
    with writing(path):
        connection = _connect(path, "rw", WRITER_PATIENCE_SECONDS)
        try:
            # Not WAL: corruption bug in SQLite 3.7.0 to 3.51.2, and a second file to lose.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            teach(connection)
            version = check_contents(connection, path, all_of_it=True)
            if version < SCHEMA_VERSION:
                migrate(connection, version)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for use while the writer writes."""
    check_file(path)
    with reading(path):
        try:
            return _opened_read_only(path)
        except sqlite3.OperationalError as error:
            if not _left_by_a_crash(path, error):
                raise
        _roll_back(path)
        return _opened_read_only(path)


def sync_folder(folder: Path) -> None:
    """Puts renames and new files of a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(path: Path, mode: str, patience_seconds: float) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience_seconds)
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _opened_read_only(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "ro", READER_PATIENCE_SECONDS)
    try:
        check_contents(connection, path, all_of_it=False)
    except BaseException:
        connection.close()
        raise
    return connection


def _left_by_a_crash(path: Path, error: sqlite3.OperationalError) -> bool:
    """Whether a writer died inside a commit, so that its journal waits to be rolled back."""
    name = getattr(error, "sqlite_errorname", "")  # absent where it is not SQLite that raised it
    busy = name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return journal_of(path).exists() and not busy


def _roll_back(path: Path) -> None:
    """Reading once with the right to write lets SQLite undo the half commit."""
    connection = _connect(path, "rw", READER_PATIENCE_SECONDS)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        connection.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
