"""Every row of a ledger that can still be read and is what was written, by ordinary SELECTs.

SQLite goes through a table from either end up to the first page that it cannot read. What lies
between two such pages is asked for by ever smaller ranges of keys. What no SELECT reaches is lost
here: the copy made at the start of the last run (backup.py) may still have it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.codec import decode
from tuner.ledger.sealed import COLUMNS, digest_of

KEYS: dict[str, tuple[str, ...]] = {
    "meta": ("name",),
    "trials": ("number",),
    "epochs": ("trial", "epoch"),
    "checkpoints": ("trial", "epoch"),
    "events": ("id",),
    "contexts": ("id",),
}
# What SQLite raises on damaged pages; its messages may quote bytes that are no text.
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
_WINDOW = 2_000  # keys that are asked for at once
# Windows in a row after which nothing more is expected: a lost page above the leaves has some
# hundred of them below it, with a few dozen rows each.
_MAX_EMPTY_WINDOWS = 10
_LEAST_ROW_BYTES = 20  # so a file has no more keys than its size allows
_MOST_NUMBERS = 1_000_000  # of a version 1 ledger
_JSON = {"configuration", "searched", "metrics", "detail", "value", "content"}

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Broken:
    """Something of a table that cannot be read or is not what was written."""

    table: str
    what: str


def columns_of(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The table's columns in this file: those that the digest covers, the digest, any others."""
    try:
        description = connection.execute(f"SELECT * FROM {table} LIMIT 0").description
    except UNREADABLE:
        return ()
    present = [column[0] for column in description]
    known = [name for name in (*COLUMNS[table], "digest") if name in present]
    return (*known, *(name for name in present if name not in known))


def read_rows(connection: sqlite3.Connection, table: str) -> Iterator[Row | Broken]:
    """Rows (columns as `columns_of` says) in the order of their keys, and what is broken."""
    columns = columns_of(connection, table)
    if not columns:
        return  # of a later version, or lost with all its rows
    connection.text_factory = _text
    query, keys = f"SELECT {', '.join(columns)} FROM {table}", KEYS[table]
    last: Row = ()
    try:
        for values in connection.execute(f"{query} ORDER BY {', '.join(keys)}"):
            row = _checked(table, columns, values)
            last = last if isinstance(row, Broken) else row[: len(keys)]
            yield row
        return
    except UNREADABLE:
        pass
    backwards = f"{query} ORDER BY {', '.join(f'{key} DESC' for key in keys)}"
    checked = (_checked(table, columns, row) for row in _until_damage(connection, backwards))
    tail = [row for row in checked if not isinstance(row, Broken) and row[: len(keys)] > last]
    first = tail[-1][: len(keys)] if tail else ()
    yield Broken(table, _gap(table, last, first))
    between = _between(connection, table, query, last, first) if table != "meta" else ()
    for row in (_checked(table, columns, values) for values in between):
        if isinstance(row, Broken) or _is_between(row[: len(keys)], last, first):
            yield row
    yield from reversed(tail)


def count_trials(connection: sqlite3.Connection) -> int | None:
    """How many trials there are, by an index on pages of its own; None if that is damaged."""
    try:
        query = "SELECT count(*) FROM trials INDEXED BY trials_by_state"
        return int(connection.execute(query).fetchone()[0])
    except UNREADABLE:
        return None


def _between(
    connection: sqlite3.Connection, table: str, query: str, last: Row, first: Row
) -> Iterator[Row]:
    """Rows by ranges of the first key from `last` to `first`, or until nothing more is met."""
    high = first[0] if first else _most_keys(connection)
    empty = 0
    for start in range(last[0] if last else 1, high + 1, _WINDOW):
        end = min(start + _WINDOW - 1, high)
        rows = _halved(connection, table, query, start, end)
        yield from rows
        empty = 0 if rows else empty + 1
        if empty == _MAX_EMPTY_WINDOWS:
            return


def _most_keys(connection: sqlite3.Connection) -> int:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    return int(pages * page_bytes // _LEAST_ROW_BYTES)


def _is_between(key: Row, last: Row, first: Row) -> bool:
    return last < key and (not first or key < first)


def _halved(
    connection: sqlite3.Connection, table: str, query: str, low: int, high: int
) -> list[Row]:
    key, others = KEYS[table][0], KEYS[table][1:]
    where = f"{query} WHERE {key} BETWEEN {low} AND {high}"
    try:
        return connection.execute(where).fetchall()
    except UNREADABLE:
        pass
    if low < high:
        middle = (low + high) // 2
        lower = _halved(connection, table, query, low, middle)
        return lower + _halved(connection, table, query, middle + 1, high)
    if not others:
        return []
    found: dict[Row, None] = {}
    for direction in ("ASC", "DESC"):  # the epochs of one trial before and after a lost page
        query_in_order = f"{where} ORDER BY {others[0]} {direction}"
        found.update(dict.fromkeys(_until_damage(connection, query_in_order)))
    return list(found)


def _until_damage(connection: sqlite3.Connection, query: str) -> list[Row]:
    rows: list[Row] = []
    with suppress(*UNREADABLE):
        rows.extend(connection.execute(query))  # keeps what came before an error
    return rows


def _checked(table: str, columns: tuple[str, ...], row: Row) -> Row | Broken:
    """The row if it is what was written. One without a digest (version 1) must make sense."""
    if "digest" in columns:
        num_covered = columns.index("digest")
        if digest_of(*row[:num_covered]) == row[num_covered]:
            return row
        return Broken(table, f"row {row[0]} of {table} is not what was written")
    try:
        for name, value in zip(columns, row, strict=True):
            if name in ("number", "trial", "id") and not 0 < value <= _MOST_NUMBERS:
                raise ValueError(f"{name} {value}")
            if name in _JSON:
                decode(value)
            elif name == "state":
                TrialState(value)
    except (ValueError, TypeError) as error:
        return Broken(table, f"row {row[0]} of {table} makes no sense: {error}")
    return row


def _gap(table: str, last: Row, first: Row) -> str:
    after = f" after {KEYS[table][0]} {last[0]}" if last else ""
    before = f" before {KEYS[table][0]} {first[0]}" if first else ""
    return f"{table} cannot be read whole{after}{' and' * bool(after and before)}{before}"


def _text(content: bytes) -> str:
    """Damaged text as well: its digest tells, and the rows after it are read."""
    return content.decode("utf-8", "replace")
