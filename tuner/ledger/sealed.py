"""Rows that carry a digest of themselves, so that a value that was changed on the disk is noticed.

SQLite has no checksums: a flipped bit inside a number or a text is a valid number or text. From
version 2 on each row ends in `digest`, the CRC-32 of the other columns; it is written in the
commit that writes the row and compared whenever the row is read (3 microseconds a trial).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tuner.ledger.schema import SCHEMA_VERSION

# What the digest covers, in this order. A column that is added later goes to the end. Not in it is
# `trials.is_current`: it follows from the rest, and one edit changes it in every row.
COLUMNS: dict[str, tuple[str, ...]] = {
    "meta": ("name", "value"),
    "trials": (
        *("number", "key", "state", "score", "best_epoch", "epochs", "configuration", "searched"),
        *("replicate", "seed", "structure", "metrics", "parameters", "macs", "train_seconds"),
        *("compile_seconds", "worker", "attempt", "reason", "started_at", "finished_at"),
        "context",
    ),
    "epochs": ("trial", "epoch", "metrics", "seconds"),
    "checkpoints": ("trial", "epoch", "file", "sha256", "bytes"),
    "events": ("id", "at", "kind", "detail"),
    "contexts": ("id", "content"),
}
SINCE_VERSION = 2
# The version that brought a table or a column.
_NEW = {"checkpoints": 2, "contexts": 3, "trials.context": 3}
_FORMATS = {n: "\x1f".join(["%s"] * n) for n in range(2, 23)}


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


def columns_of(table: str, version: int = SCHEMA_VERSION) -> tuple[str, ...]:
    """The sealed columns of a table in a ledger of some version; none where it was not there."""
    if _NEW.get(table, 1) > version:
        return ()
    return tuple(c for c in COLUMNS[table] if _NEW.get(f"{table}.{c}", 1) <= version)


def opened(table: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
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
