"""Rows read page by page from the bytes of a ledger, when SQLite finds no way to them.

A table is a tree of pages; where one above the leaves is lost, SQLite reaches nothing below it,
though every row is still there. Each row has its digest, so what only looks like one is told
apart. Format: https://sqlite.org/fileformat.html (sections 1.5, 1.6, 2.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.ledger.sealed import COLUMNS, digest_of

Row = tuple[Any, ...]

PAGE_BYTES = 4096
_FILE_HEADER_BYTES = 100
_FIRST_FREE_PAGE = slice(32, 36)
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 13, 10, 2
# By kind of tree and number of columns; those without rowid are trees of the index kind.
_TABLES = {
    (True, len(COLUMNS["trials"]) + 1): "trials",
    (True, len(COLUMNS["events"]) + 1): "events",
    (False, len(COLUMNS["epochs"]) + 1): "epochs",
    (False, len(COLUMNS["checkpoints"]) + 1): "checkpoints",
    (False, len(COLUMNS["meta"]) + 1): "meta",
}
# SQLite stores 2.0 as 2 and gives it back as 2.0.
_REALS = {"trials": ("score", "train_seconds", "compile_seconds"), "epochs": ("seconds",)}
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def carved(path: Path) -> Iterator[tuple[str, Row]]:
    """Table and row (columns as in `COLUMNS`) of every cell whose digest is right."""
    content = path.read_bytes()
    free = _free_pages(content)
    for number in range(1, len(content) // PAGE_BYTES + 1):
        if number in free:
            continue
        for cell, is_table in _cells(content, number):
            try:
                table, row = _row(content, cell, is_table)
            except (IndexError, KeyError, ValueError, struct.error):
                continue
            if digest_of(*row[:-1]) == row[-1]:
                yield table, row[:-1]


def _free_pages(content: bytes) -> set[int]:
    """Pages that hold nothing, or something that was deleted; as far as they can be followed."""
    found: set[int] = set()
    trunk = int.from_bytes(content[_FIRST_FREE_PAGE], "big")
    while trunk and trunk not in found and trunk * PAGE_BYTES <= len(content):
        found.add(trunk)
        start = (trunk - 1) * PAGE_BYTES
        following, count = struct.unpack_from(">II", content, start)
        count = min(count, PAGE_BYTES // 4 - 2)
        found.update(struct.unpack_from(f">{count}I", content, start + 8))
        trunk = following
    return found


def _cells(content: bytes, number: int) -> Iterator[tuple[int, bool]]:
    """Where each cell of a page begins, and whether it is of a table with rowid."""
    start = (number - 1) * PAGE_BYTES
    head = start + (_FILE_HEADER_BYTES if number == 1 else 0)
    kind = content[head]
    if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
        return
    count = min(int.from_bytes(content[head + 3 : head + 5], "big"), PAGE_BYTES // 6)
    pointers = head + (12 if kind == _INDEX_INTERIOR else 8)
    for place in struct.unpack_from(f">{count}H", content, pointers):
        if place < PAGE_BYTES:
            yield start + place + (4 if kind == _INDEX_INTERIOR else 0), kind == _TABLE_LEAF


def _row(content: bytes, place: int, is_table: bool) -> tuple[str, Row]:
    size, place = _varint(content, place)
    rowid = 0
    if is_table:
        rowid, place = _varint(content, place)
    values = _values(_payload(content, place, size, is_table))
    table = _TABLES[is_table, len(values)]
    if is_table:
        values[0] = rowid
    for name in _REALS.get(table, ()):
        column = COLUMNS[table].index(name)
        values[column] = None if values[column] is None else float(values[column])
    return table, tuple(values)


def _payload(content: bytes, place: int, size: int, is_table: bool) -> bytes:
    """A cell's content, with what did not fit into its page."""
    if size > len(content):
        raise ValueError("larger than the file")
    most = PAGE_BYTES - 35 if is_table else (PAGE_BYTES - 12) * 64 // 255 - 23
    if size <= most:
        return content[place : place + size]
    least = (PAGE_BYTES - 12) * 32 // 255 - 23
    local = least + (size - least) % (PAGE_BYTES - 4)
    local = local if local <= most else least
    parts = [content[place : place + local]]
    following = int.from_bytes(content[place + local : place + local + 4], "big")
    missing = size - local
    while missing > 0:
        start = (following - 1) * PAGE_BYTES
        if not 0 <= start <= len(content) - PAGE_BYTES:
            raise ValueError("no such page")
        parts.append(content[start + 4 : start + 4 + min(missing, PAGE_BYTES - 4)])
        missing -= PAGE_BYTES - 4
        following = int.from_bytes(content[start : start + 4], "big")
    return b"".join(parts)


def _values(payload: bytes) -> list[Any]:
    end, place = _varint(payload, 0)
    kinds = []
    while place < end:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        value, place = _value(payload, place, kind)
        values.append(value)
    return values


def _value(payload: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in _INTEGER_BYTES:
        end = place + _INTEGER_BYTES[kind]
        return int.from_bytes(payload[place:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack_from(">d", payload, place)[0], place + 8
    if kind >= 13 and kind % 2:
        end = place + (kind - 13) // 2
        return payload[place:end].decode(), end
    return {0: None, 8: 0, 9: 1}[kind], place


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """One to nine bytes, seven bits each, the most significant first."""
    value = 0
    for offset in range(8):
        byte = content[place + offset]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + offset + 1
    return value << 8 | content[place + 8], place + 9
