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

# What the digest covers, in this order. A column that is added later goes to the end.
COLUMNS: dict[str, tuple[str, ...]] = {
    "meta": ("name", "value"),
    "trials": (
        *("number", "key", "state", "score", "best_epoch", "epochs", "configuration", "searched"),
        *("replicate", "seed", "structure", "metrics", "parameters", "macs", "train_seconds"),
        *("compile_seconds", "worker", "attempt", "reason", "started_at", "finished_at"),
    ),
    "epochs": ("trial", "epoch", "metrics", "seconds"),
    "checkpoints": ("trial", "epoch", "file", "sha256", "bytes"),
    "events": ("id", "at", "kind", "detail"),
}
SINCE_VERSION = 2
_NEW_IN_2 = ("checkpoints",)
_FORMATS = {len(c): "\x1f".join(["%s"] * len(c)) for c in COLUMNS.values()}


class BrokenSealError(ValueError):
    """A row is not what was written."""


def digest_of(*fields: Any) -> int:
    """CRC-32 of a row's fields as SQLite returns them; any change of up to 32 bits shows."""
    return zlib.crc32((_FORMATS[len(fields)] % fields).encode("utf-8", "replace"))


def teach(connection: sqlite3.Connection) -> None:
    """Makes `row_digest(...)` known to a connection that writes."""
    connection.create_function("row_digest", -1, digest_of, deterministic=True)


def seal(connection: sqlite3.Connection, table: str, where: str, key: Sequence[Any]) -> None:
    """Writes the digest of rows that were just written, within the same commit.

    SQLite computes it from the stored values: an integer in a REAL column has become a float.
    """
    statement = f"UPDATE {table} SET digest = row_digest({', '.join(COLUMNS[table])}) WHERE {where}"
    connection.execute(statement, key)


def selection(table: str, version: int) -> str | None:
    """What to read of a ledger of some version; None where the table was not there yet."""
    if version >= SINCE_VERSION:
        return ", ".join((*COLUMNS[table], "digest"))
    return None if table in _NEW_IN_2 else ", ".join(COLUMNS[table])


def opened(table: str, version: int, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows without their digest.

    Raises:
        BrokenSealError: a row is not what was written.
    """
    if version < SINCE_VERSION:
        yield from rows
        return
    layout, crc32 = _FORMATS[len(COLUMNS[table])], zlib.crc32
    for row in rows:
        fields = row[:-1]
        if crc32((layout % fields).encode("utf-8", "replace")) != row[-1]:
            raise BrokenSealError(f"row {fields[0]} of {table} is not what was written")
        yield fields
