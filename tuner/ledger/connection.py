"""Opens ledger files: creates them whole, brings old ones up to date, refuses what is not sound.

SQLite's errors become ours here: what happened to the file, and what to type next.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from tuner.errors import InputError, Problem, TunerError
from tuner.ledger.codec import encode
from tuner.ledger.migration import migrate
from tuner.ledger.schema import APPLICATION_ID, MAGIC, SCHEMA_VERSION, TABLES, seal, teach

WRITER_PATIENCE_SECONDS = 60.0  # a reader holds its lock for one query only
READER_PATIENCE_SECONDS = 10.0

# A reader looks through the whole structure of a file up to this size (3 milliseconds a
# megabyte); of a larger one it compares the rows that it reads with their digests.
LOOKED_THROUGH_BYTES = 16_000_000

# What SQLite raises on damaged pages; its messages may quote bytes that are no text.
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
# Errors of the file's contents that SQLite counts among those of operation.
_DAMAGE = ("Could not decode", "no such table", "no such column", "malformed")


def create(path: Path, experiment_name: str) -> None:
    """Writes an empty ledger beside `path` and renames it, so that no half ledger ever exists.

    An empty or cut file at `path` is therefore damage, never a beginning.
    """
    draft = path.with_name(path.name + ".new")
    with writing(path):
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            teach(connection)
            connection.executescript(f"BEGIN; {TABLES}")
            meta = {"schema": SCHEMA_VERSION, "experiment": experiment_name}
            statement = "INSERT INTO meta (name, value) VALUES (?, ?)"
            connection.executemany(statement, [(name, encode(v)) for name, v in meta.items()])
            seal(connection, "meta", "TRUE")
            connection.execute("COMMIT")
        draft.rename(path)
        sync(path.parent)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one writer's connection: every commit is on the disk when it returns.

    A ledger of an older version is brought up to date first.
    """
    _check_file(path)
    with writing(path), _closed_on_error(path, WRITER_PATIENCE_SECONDS) as connection:
        # Not WAL: corruption bug in SQLite 3.7.0 to 3.51.2, and a second file to lose.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        teach(connection)
        version = _check_contents(connection, path, all_of_it=True)
        if version < SCHEMA_VERSION:
            migrate(connection, version)
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for use while the writer writes.

    It has the right to write all the same: so SQLite undoes the commit in which a writer died.
    """
    _check_file(path)
    with reading(path), _closed_on_error(path, READER_PATIENCE_SECONDS) as connection:
        connection.execute("PRAGMA query_only = ON")
        _check_contents(connection, path, all_of_it=False)
    return connection


@contextmanager
def _closed_on_error(path: Path, patience_seconds: float) -> Iterator[sqlite3.Connection]:
    uri = f"{path.resolve().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience_seconds)
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        yield connection
    except BaseException:
        connection.close()
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 where none is noted."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            return 0
        raise
    text = str(row[0]) if row else ""
    return int(text) if text.isascii() and text.isdigit() else 0


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
    if head == MAGIC:
        return
    if not head.strip(b"\x00"):
        raise damaged(path, "an empty file" if not head else "zeros where its head should be")
    # At least half of it right is damage, rather than another's file.
    if 2 * sum(map(int.__eq__, head, MAGIC)) < len(MAGIC):
        raise _foreign(path, f"a file that begins with {head!r}")
    raise damaged(path, f"its head is {head!r}")


def _check_contents(connection: sqlite3.Connection, path: Path, *, all_of_it: bool) -> int:
    """The ledger's version.

    Raises:
        InputError: the ledger is foreign, damaged or too new.
    """
    connection.execute("BEGIN")  # one lock around all, so that a writer changes nothing meanwhile
    try:
        pages, page_bytes, application = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size", "application_id")
        )
        size = path.stat().st_size
        if size < pages * page_bytes:
            raise damaged(path, f"{size} bytes of {pages * page_bytes}: its end is missing")
        version = version_of(connection)
        has_tables = version < SCHEMA_VERSION or _expected() <= _statements(connection)
        if application != APPLICATION_ID:
            detail = f"an SQLite file with application id {application}"
            is_ours = version == SCHEMA_VERSION and has_tables
            raise damaged(path, detail) if is_ours else _foreign(path, detail)
        if version > SCHEMA_VERSION:
            raise _too_new(path, version)
        if version < 1 or not has_tables:
            raise damaged(path, "its tables are not those of a ledger")
        if all_of_it or size <= LOOKED_THROUGH_BYTES:
            for problem in structural_problems(connection):
                raise damaged(path, problem.splitlines()[-1])
    finally:
        connection.execute("ROLLBACK")
    return version


def _statements(connection: sqlite3.Connection) -> set[str]:
    """What made each table and index, without white space: `ALTER TABLE` sets its own."""
    found = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {"".join(row[0].split()) for row in found}


@cache
def _expected() -> frozenset[str]:
    return frozenset("".join(part.split()) for part in TABLES.split(";") if part.strip())


# ---------------------------------------------------------------------- what is said


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, for the writer."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except UNREADABLE as error:
        _raise_if_damage(path, error)
        raise TunerError(
            f"{path}: cannot write the ledger: {error}\n"
            "    kept:     everything recorded before\n"
            f"    fix:      {_mend(error)}, then run the same command again"
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, for a reader."""
    try:
        yield
    except UNREADABLE as error:
        _raise_if_damage(path, error)
        mend = "try again; give rights to read the file and to write to its folder"
        problem = Problem(f"cannot read the ledger: {error}", where=str(path), mend=mend)
        raise InputError(problem) from error


def _raise_if_damage(path: Path, error: Exception) -> None:
    if isinstance(error, UnicodeDecodeError):  # SQLite quotes what it cannot read
        raise damaged(path, error.object.decode("utf-8", "replace")) from error
    if not isinstance(error, sqlite3.OperationalError) or str(error).startswith(_DAMAGE):
        raise damaged(path, str(error)) from error


def _mend(error: Exception) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith("SQLITE_FULL"):
        return "free disk space (rm, or --results on another disk for new experiments)"
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "end the other program that has the file open"
    return "free disk space or rights"


def damaged(path: Path, detail: str) -> InputError:
    """The error for a ledger whose contents are broken."""
    mend = (
        f"tuner doctor {shlex.quote(str(path.parent))} --repair keeps a copy and saves every row "
        "that can be read; or put a copy of yours in its place"
    )
    return _refusal("this ledger is damaged", path, detail, "", mend)


def _foreign(path: Path, received: str) -> InputError:
    expected = "an SQLite file written by `tuner run`"
    mend = "move it away, or give another name or --results folder"
    return _refusal("this file is not a ledger of tuner", path, received, expected, mend)


def _too_new(path: Path, version: int) -> InputError:
    what = "this ledger was written by a newer version of tuner"
    received, expected = f"schema version {version}", f"at most {SCHEMA_VERSION}"
    mend = "upgrade tuner, or give another --results folder"
    return _refusal(what, path, received, expected, mend)


def _refusal(what: str, path: Path, received: str, expected: str, mend: str) -> InputError:
    what = f"{what}; it was left as it is"
    return InputError(Problem(what, str(path), received, expected, mend))
