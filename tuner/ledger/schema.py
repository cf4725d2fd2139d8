"""The ledger's tables, and rows that carry a digest of themselves.

SQLite has no checksums: a flipped bit inside a number or a text is a valid number or text. From
version 2 on each row ends in `digest`, the CRC-32 of the other columns; it is written in the
commit that writes the row and compared whenever the row is read (3 microseconds a trial).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

SCHEMA_VERSION = 4
APPLICATION_ID = 0x74756E65  # "tune": what `file` and SQLite call the kind of a database
MAGIC = b"SQLite format 3\x00"

# `context` names what else than the configuration decides an outcome, which few rows share. A trial
# that is not `is_current` is of an earlier version of the experiment; the indices put those apart.
# `threads` are those that trained it on a CPU (0: it went on with another number of them).
# Only a ranked trial has a score, so that the indices hold nothing else and find the best at once:
# one for each direction, since equal scores go to the earlier trial in both.
TABLES = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE trials (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    score REAL,
    best_epoch INTEGER,
    epochs INTEGER NOT NULL DEFAULT 0,
    configuration TEXT NOT NULL,
    searched TEXT NOT NULL,
    replicate INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    structure TEXT NOT NULL,
    metrics TEXT NOT NULL DEFAULT '{}',
    parameters INTEGER,
    macs INTEGER,
    train_seconds REAL,
    compile_seconds REAL,
    worker INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    started_at TEXT,
    finished_at TEXT,
    digest INTEGER NOT NULL DEFAULT 0,
    context INTEGER NOT NULL DEFAULT 0,
    is_current INTEGER NOT NULL DEFAULT 1,
    threads INTEGER
) STRICT;
CREATE TABLE epochs (
    trial INTEGER NOT NULL REFERENCES trials (number),
    epoch INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    seconds REAL NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (trial, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    trial INTEGER NOT NULL REFERENCES trials (number),
    epoch INTEGER NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (trial, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY,
    content TEXT NOT NULL UNIQUE,
    digest INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX trials_by_state ON trials (is_current, state);
CREATE INDEX trials_by_score ON trials (is_current, score) WHERE score IS NOT NULL;
CREATE INDEX trials_by_score_down ON trials (is_current, score DESC) WHERE score IS NOT NULL;
"""

# What the digest covers, in this order. A column that is added later goes to the end. Not in it is
# `trials.is_current`: it follows from the rest, and one edit changes it in every row.
COLUMNS: dict[str, tuple[str, ...]] = {
    "meta": ("name", "value"),
    "trials": (
        *("number", "key", "state", "score", "best_epoch", "epochs", "configuration", "searched"),
        *("replicate", "seed", "structure", "metrics", "parameters", "macs", "train_seconds"),
        *("compile_seconds", "worker", "attempt", "reason", "started_at", "finished_at"),
        *("context", "threads"),
    ),
    "epochs": ("trial", "epoch", "metrics", "seconds"),
    "checkpoints": ("trial", "epoch", "file", "sha256", "bytes"),
    "events": ("id", "at", "kind", "detail"),
    "contexts": ("id", "content"),
}
# The version that brought a table or a column.
_NEW = {"checkpoints": 2, "contexts": 3, "trials.context": 3, "trials.threads": 4}
_FORMATS = {n: "\x1f".join(["%s"] * n) for n in range(2, 1 + max(map(len, COLUMNS.values())))}


class BrokenSealError(ValueError):
    """A row is not what was written."""


def digest_of(*fields: Any) -> int:
    """CRC-32 of a row's fields as SQLite returns them; any change of up to 32 bits shows."""
    return zlib.crc32((_FORMATS[len(fields)] % fields).encode("utf-8", "replace"))


def teach(connection: sqlite3.Connection) -> None:
    """Makes `row_digest(...)` known to a connection that writes."""
    connection.create_function("row_digest", -1, digest_of, deterministic=True)


def seal(
    connection: sqlite3.Connection,
    table: str,
    where: str,
    key: Sequence[Any] = (),
    version: int = SCHEMA_VERSION,
) -> None:
    """Writes the digest of rows that were just written, within the same commit.

    SQLite computes it from the stored values: an integer in a REAL column has become a float.
    """
    columns = ", ".join(columns_of(table, version))
    statement = f"UPDATE {table} SET digest = row_digest({columns}) WHERE {where}"
    connection.execute(statement, key)


@cache
def columns_of(table: str, version: int = SCHEMA_VERSION) -> tuple[str, ...]:
    """The sealed columns of a table in a ledger of some version; none where it was not there."""
    if _NEW.get(table, 1) > version:
        return ()
    return tuple(c for c in COLUMNS[table] if _NEW.get(f"{table}.{c}", 1) <= version)


def checked_rows(table: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows without their digest, which stands behind the sealed columns; others follow it.

    Raises:
        BrokenSealError: a row is not what was written.
    """
    count = len(COLUMNS[table])
    layout, crc32 = _FORMATS[count], zlib.crc32
    for row in rows:
        fields = row[:count]
        if crc32((layout % fields).encode("utf-8", "replace")) != row[count]:
            raise BrokenSealError(f"row {fields[0]} of {table} is not what was written")
        yield fields + row[count + 1 :]
