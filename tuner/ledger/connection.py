"""Opens ledger files: creates them whole, brings old ones up to date, refuses what is not sound."""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from pathlib import Path

from tuner.errors import InputError, Problem
from tuner.ledger.codec import encode
from tuner.ledger.damage import damaged, foreign, reading, too_new, writing
from tuner.ledger.migration import migrate
from tuner.ledger.schema import APPLICATION_ID, MAGIC, SCHEMA_VERSION, TABLES
from tuner.ledger.sealed import seal, teach

WRITER_PATIENCE_SECONDS = 60.0  # a reader holds its lock for one query only
READER_PATIENCE_SECONDS = 10.0

# A reader looks through the whole structure of a file up to this size (3 milliseconds a
# megabyte); of a larger one it compares the rows that it reads with their digests.
LOOKED_THROUGH_BYTES = 16_000_000


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
        sync(path.parent)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one writer's connection: every commit is on the disk when it returns.

    A ledger of an older version is brought up to date first.
    """
    _check_file(path)
    with writing(path):
        connection = _connect(path, "rw", WRITER_PATIENCE_SECONDS)
        try:
            # Not WAL: corruption bug in SQLite 3.7.0 to 3.51.2, and a second file to lose.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            teach(connection)
            version = _check_contents(connection, path, all_of_it=True)
            if version < SCHEMA_VERSION:
                migrate(connection, version)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for use while the writer writes."""
    _check_file(path)
    with reading(path):
        try:
            return _opened_read_only(path)
        except sqlite3.OperationalError as error:
            if not _left_by_a_crash(path, error):
                raise
        _roll_back(path)
        return _opened_read_only(path)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 where none is noted."""
    try:
        query = "SELECT value FROM meta WHERE name = 'schema'"
        row = connection.execute(query).fetchone()
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            return 0
        raise
    text = row[0] if row else ""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def structural_problems(connection: sqlite3.Connection, limit: int = 1) -> list[str]:
    """What SQLite finds wrong with pages, and with indices against their tables."""
    found = connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
    return [str(row[0]) for row in found if row[0] != "ok"]


def journal_of(path: Path) -> Path:
    """Where SQLite keeps what a commit replaces: a crash leaves it, to be played back."""
    return path.with_name(path.name + "-journal")


def sync(path: Path) -> None:
    """Puts a file on the disk, or the renames and new files of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
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
        _check_contents(connection, path, all_of_it=False)
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


# ---------------------------------------------------------------------- ours, and whole?


def _check_file(path: Path) -> None:
    """What can be seen before SQLite touches the file.

    Raises:
        InputError: it cannot be read, or is none of ours.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        problem = Problem("cannot read the ledger", where=str(path), received=str(error.strerror))
        raise InputError(problem) from error
    if head != MAGIC:
        if not head.strip(b"\x00"):
            raise damaged(path, "an empty file" if not head else "zeros where its head should be")
        if not _is_nearly_magic(head):
            raise foreign(path, f"a file that begins with {head[:16]!r}")
        raise damaged(path, f"its head is {head[:16]!r}")


def _check_contents(connection: sqlite3.Connection, path: Path, *, all_of_it: bool) -> int:
    """The ledger's version.

    Raises:
        InputError: the ledger is foreign, damaged or too new.
    """
    connection.execute("BEGIN")  # one lock around all, so that a writer changes nothing meanwhile
    try:
        size = _checked_size(connection, path)
        version = version_of(connection)
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = _statements(connection)
        if application != APPLICATION_ID:
            ours = version == SCHEMA_VERSION and _expected() <= tables
            detail = f"an SQLite file with application id {application}"
            raise damaged(path, detail) if ours else foreign(path, detail)
        if version > SCHEMA_VERSION:
            raise too_new(path, version, SCHEMA_VERSION)
        if version < 1:
            raise damaged(path, "no schema version")
        if version == SCHEMA_VERSION and not _expected() <= tables:
            raise damaged(path, "its tables are not those of a ledger")
        if all_of_it or size <= LOOKED_THROUGH_BYTES:
            _check_structure(connection, path)
    finally:
        connection.execute("ROLLBACK")
    return version


def _check_structure(connection: sqlite3.Connection, path: Path) -> None:
    if found := structural_problems(connection):
        raise damaged(path, found[0].splitlines()[-1])


def _checked_size(connection: sqlite3.Connection, path: Path) -> int:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    size = path.stat().st_size
    if size < pages * page_bytes:
        raise damaged(path, f"{size} bytes of {pages * page_bytes}: its end is missing")
    return size


def _statements(connection: sqlite3.Connection) -> set[str]:
    """What made each table and index, without white space: `ALTER TABLE` sets its own."""
    found = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {"".join(row[0].split()) for row in found}


@cache
def _expected() -> frozenset[str]:
    return frozenset("".join(part.split()) for part in TABLES.split(";") if part.strip())


def _is_nearly_magic(head: bytes) -> bool:
    """Whether at least half of the first bytes are right: damage, rather than another's file."""
    same = sum(found == wanted for found, wanted in zip(head, MAGIC, strict=False))
    return 2 * same >= len(MAGIC)
