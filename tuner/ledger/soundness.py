"""Whether a file is a ledger of ours, whole, and of a version that we know."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

from tuner.errors import InputError, Problem
from tuner.ledger.damage import damaged, foreign, too_new
from tuner.ledger.journal import problem_of
from tuner.ledger.schema import APPLICATION_ID, MAGIC, SCHEMA_VERSION, TABLES

# A reader looks through the whole structure of a file up to this size (3 milliseconds a
# megabyte); of a larger one it compares the rows that it reads with their digests.
LOOKED_THROUGH_BYTES = 16_000_000


def check_file(path: Path) -> None:
    """What can be seen before SQLite touches the file.

    Raises:
        InputError: it cannot be read, is none of ours, or its journal cannot be played back.
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
    if found := problem_of(path):
        raise damaged(path, found)


def check_contents(connection: sqlite3.Connection, path: Path, *, all_of_it: bool) -> int:
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
