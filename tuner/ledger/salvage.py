"""Every row that can still be read from a ledger, damaged or not, and what could not be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tuner.ledger.codec import decode
from tuner.ledger.rows import row_of
from tuner.ledger.sealed import COLUMNS, SINCE_VERSION, BrokenSealError, opened, selection

_WINDOW = 2_000  # rows that are read at once
_MAX_EMPTY_WINDOWS = 20  # damage in a row after which nothing more is expected
_NUM_PROBES = 16  # keys of a window; where none can be read, its other keys are not tried
_LEAST_ROW_BYTES = 20  # so a file holds no more keys than its size allows
_MAX_GAP = 1_000_000  # keys are consecutive: one that is so far off is damage
_FIRST_KEY = {"trials": "number", "epochs": "trial", "checkpoints": "trial", "events": "id"}
_META = ("schema", "experiment", "objective", "names", "run", "experiment_yaml", "plan")

Row = tuple[Any, ...]
# What SQLite raises on damaged pages; its messages may quote bytes that are no text.
UNREADABLE = (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError)


@dataclass(frozen=True)
class Broken:
    """Something of a table that cannot be read or is not what was written."""

    table: str
    what: str


def salvaged(connection: sqlite3.Connection, table: str, version: int) -> Iterator[Row | Broken]:
    """Rows of a table (columns as in `COLUMNS`) in the order of their keys, and what is broken."""
    columns = selection(table, version)
    if columns is None:
        return
    query = f"SELECT {columns} FROM {table}"
    found = _meta(connection, query) if table == "meta" else _windows(connection, table, query)
    for row in found:
        yield row if isinstance(row, Broken) else _checked(table, version, row)


def _checked(table: str, version: int, row: Row) -> Row | Broken:
    try:
        (fields,) = opened(table, version, [row])
        _READERS[table](fields)
    except BrokenSealError as error:
        return Broken(table, str(error))
    except (ValueError, KeyError, TypeError) as error:
        return Broken(table, f"row {row[0]} of {table} makes no sense: {error}")
    return fields


def _windows(connection: sqlite3.Connection, table: str, query: str) -> Iterator[Row | Broken]:
    """By key, so many rows at once; where that fails, by ever smaller ranges of keys."""
    key = _FIRST_KEY[table]
    order = ", ".join(COLUMNS[table][: 1 if table in ("trials", "events") else 2])
    last, empty, most = 0, 0, _most_keys(connection)
    while empty < _MAX_EMPTY_WINDOWS and last <= most:
        where = f"NOT INDEXED WHERE {key} > ? ORDER BY {order} LIMIT {_WINDOW}"
        rows = _tried(connection, f"{query} {where}", (last,))
        if rows is None:
            found = list(_damaged_window(connection, table, query, last + 1))
            empty = 0 if any(not isinstance(row, Broken) for row in found) else empty + 1
            yield from found
            last += _WINDOW
            continue
        if not rows:
            return
        sane = [row for row in rows if isinstance(row[0], int) and row[0] <= last + _MAX_GAP]
        if len(sane) < len(rows):
            yield Broken(table, f"{len(rows) - len(sane)} rows of {table} have impossible numbers")
        if not sane:
            last, empty = last + _WINDOW, empty + 1
            continue
        yield from _whole_keys(connection, f"{query} WHERE {key} = ?", sane, len(rows) < _WINDOW)
        last = max(last + 1, _last_whole_key(sane, len(rows) < _WINDOW))
        if len(rows) < _WINDOW:
            return


def _whole_keys(
    connection: sqlite3.Connection, query: str, rows: list[Row], is_last: bool
) -> list[Row]:
    """Rows without those of the last key, which may go on in the next window."""
    if is_last:
        return rows
    whole = [row for row in rows if row[0] != rows[-1][0]]
    return whole or _tried(connection, query, (rows[-1][0],)) or rows


def _last_whole_key(rows: list[Row], is_last: bool) -> int:
    keys = [row[0] for row in rows]
    before = [key for key in keys if key != keys[-1]]
    return int(keys[-1] if is_last or not before else before[-1])


def _most_keys(connection: sqlite3.Connection) -> int:
    try:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    except UNREADABLE:
        return 0
    return int(pages * size // _LEAST_ROW_BYTES)


def _damaged_window(
    connection: sqlite3.Connection, table: str, query: str, low: int
) -> Iterator[Row | Broken]:
    """Rows around damaged pages, found by halving; but where all is damaged, not key by key."""
    high = low + _WINDOW - 1
    where = f"{query} NOT INDEXED WHERE {_FIRST_KEY[table]}"
    probes = range(low, high + 1, _WINDOW // _NUM_PROBES)
    if all(_tried(connection, f"{where} = ?", (key,)) is None for key in probes):
        yield from _until_damage(connection, f"{where} BETWEEN ? AND ?", (low, high))
        yield Broken(table, f"{_FIRST_KEY[table]} {low} and later of {table} cannot be read")
        return
    yield from _halved(connection, table, query, low, high)


def _halved(
    connection: sqlite3.Connection, table: str, query: str, low: int, high: int
) -> Iterator[Row | Broken]:
    key = _FIRST_KEY[table]
    rows = _tried(connection, f"{query} NOT INDEXED WHERE {key} BETWEEN ? AND ?", (low, high))
    if rows is not None:
        yield from rows
    elif low < high:
        middle = (low + high) // 2
        yield from _halved(connection, table, query, low, middle)
        yield from _halved(connection, table, query, middle + 1, high)
    else:
        yield from _from_both_ends(connection, table, query, low)


def _from_both_ends(
    connection: sqlite3.Connection, table: str, query: str, key: int
) -> Iterator[Row | Broken]:
    """The rows of one key before and after the damage between them."""
    found: dict[Row, None] = {}
    for order in ("ASC", "DESC"):
        where = f"WHERE {_FIRST_KEY[table]} = ? ORDER BY {COLUMNS[table][1]} {order}"
        found.update(dict.fromkeys(_until_damage(connection, f"{query} {where}", (key,))))
    yield from found
    yield Broken(table, f"{_FIRST_KEY[table]} {key} of {table} cannot be read")


def _meta(connection: sqlite3.Connection, query: str) -> Iterator[Row | Broken]:
    rows = _tried(connection, query, ())
    if rows is not None:
        yield from rows
        return
    yield Broken("meta", "meta cannot be read whole")
    for name in _META:
        yield from _tried(connection, f"{query} WHERE name = ?", (name,)) or ()


def _tried(connection: sqlite3.Connection, query: str, values: Row) -> list[Row] | None:
    try:
        return connection.execute(query, values).fetchall()
    except UNREADABLE:
        return None


def _until_damage(connection: sqlite3.Connection, query: str, values: Row) -> Iterator[Row]:
    try:
        yield from connection.execute(query, values)
    except UNREADABLE:
        return


def _read_meta(row: Row) -> None:
    decode(row[1])


def _read_epoch(row: Row) -> None:
    if not isinstance(decode(row[2]), dict):
        raise ValueError("metrics are no mapping")


def _read_event(row: Row) -> None:
    decode(row[3])


def _read_trial(row: Row) -> None:
    row_of(row, SINCE_VERSION - 1)


def _read_checkpoint(row: Row) -> None:
    if len(row[3]) != 64:
        raise ValueError("no SHA-256")


_READERS: dict[str, Callable[[Row], None]] = {
    "meta": _read_meta,
    "trials": _read_trial,
    "epochs": _read_epoch,
    "checkpoints": _read_checkpoint,
    "events": _read_event,
}
