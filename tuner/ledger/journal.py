"""SQLite's rollback journal, read before SQLite plays it back.

A crash inside a commit leaves `ledger.sqlite-journal` with the pages as they were; the next one to
open the ledger puts them back. SQLite stops without a word at a record that is cut or changed, and
the ledger would be half of before and half of after. Layout: https://sqlite.org/fileformat.html
(section 3, The Rollback Journal).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

_MAGIC = bytes.fromhex("d9d505f920a163d7")
_NOT_YET = bytes(12)  # instead of magic and records, until the records are on the disk
_HEADER = struct.Struct(">8s5I")  # magic, records, nonce, pages of the database, sector, page size
_CHECKED_EVERY = 200  # SQLite's checksum adds up every 200th byte of a page
_PAUSE_SECONDS = 0.05


def journal_of(path: Path) -> Path:
    """Where SQLite keeps the journal of a database."""
    return path.with_name(path.name + "-journal")


def problem_of(path: Path) -> str:
    """What is wrong with the journal beside a ledger; empty where there is none or it is whole.

    A writer at work changes it under our eyes: what looks wrong is looked at twice.
    """
    journal = journal_of(path)
    first = _content(journal)
    problem = _problem(first, path)
    if not problem:
        return ""
    time.sleep(_PAUSE_SECONDS)
    return problem if _content(journal) == first else ""


def _problem(content: bytes, path: Path) -> str:
    return next(_broken_parts(content, path), "")


def _broken_parts(content: bytes, path: Path) -> Iterator[str]:
    """Every part of the journal that SQLite would play back wrongly or not at all."""
    start = 0
    while start < len(content):
        head = content[start : start + _HEADER.size].ljust(_HEADER.size, b"\0")
        magic, records, nonce, _, sector, page = _HEADER.unpack(head)
        end = start + sector + records * (page + 8)
        is_headed = magic == _MAGIC or head[:12] == _NOT_YET
        if not is_headed or not _is_size(sector) or not _is_size(page) or end > len(content):
            yield "its journal is cut or has lost its head"
            return
        places = range(start + sector, end, page + 8)
        if not all(_is_record(content, place, page, nonce) for place in places):
            yield "its journal is damaged"
        uncounted = [*_records_from(content, end, page, nonce)]
        if uncounted and (records or any(_differs(content, at, page, path) for at in uncounted)):
            yield "its journal has lost count of its records"
        if not records:
            return
        start = -(-end // sector) * sector


def _records_from(content: bytes, place: int, page: int, nonce: int) -> Iterator[int]:
    """Places of the whole records from here on."""
    while _is_record(content, place, page, nonce):
        yield place
        place += page + 8


def _is_record(content: bytes, place: int, page: int, nonce: int) -> bool:
    """A page number, a page, and the checksum of the page."""
    if place + page + 8 > len(content):
        return False
    found = content[place + 4 : place + 4 + page]
    (checksum,) = struct.unpack_from(">I", content, place + 4 + page)
    total = nonce + sum(found[index] for index in range(page - _CHECKED_EVERY, 0, -_CHECKED_EVERY))
    return bool(total & 0xFFFFFFFF == checksum)


def _differs(content: bytes, place: int, page: int, path: Path) -> bool:
    """Whether the ledger's page is no more the one in the record: the commit had begun to write."""
    (number,) = struct.unpack_from(">I", content, place)
    with path.open("rb") as file:
        file.seek(max(0, number - 1) * page)
        now = file.read(page)
    return now != content[place + 4 : place + 4 + page]


def _is_size(number: int) -> bool:
    return 512 <= number <= 65536 and number & (number - 1) == 0


def _content(journal: Path) -> bytes:
    try:
        return journal.read_bytes()
    except OSError:
        return b""
