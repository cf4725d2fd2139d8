"""What is left where pages are damaged: the rows that can be read, and the copy of the last run.

The copy is made by SQLite's own backup when a run begins. It carries the ledger's time of change,
so that one sees at once whether the ledger has changed since.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tuner.errors import TunerError
from tuner.ledger import connection as files
from tuner.ledger.connection import UNREADABLE
from tuner.ledger.folder import RunFolder, free_path
from tuner.ledger.schema import COLUMNS, digest_of

# Compared with their digests before they are copied. Epochs are not: a million of them would take
# longer than all the rest, and no score hangs on them.
_COMPARED = ("meta", "trials", "checkpoints", "events", "contexts")
_ROOM = 2  # times the ledger's size: a copy must not take the last room from the run
_LEAST_ROW_BYTES = 40
_AT_ONCE = 200  # keys of a range


def backup_of(ledger: Path) -> Path:
    """Where the copy of a ledger lies."""
    return ledger.with_name(f"{ledger.stem}.backup{ledger.suffix}")


def keep_copy(ledger: Path) -> str:
    """Copies the ledger, unless it is empty or has not changed since; never stops a run.

    To be called when a run begins: under its lock, and after the ledger was opened for writing,
    which looks through the pages. Rows are compared with their digests first, so that a sound copy
    is not replaced by a damaged one (100,000 trials with a million epochs: 2 seconds).

    Returns:
        What a person should know: why there is no new copy. Empty if all is well.
    """
    copy = backup_of(ledger)
    draft = ledger.with_name(f".{copy.name}.tmp")
    try:
        return _keep_copy(ledger, copy, draft)
    except (OSError, sqlite3.Error, TunerError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"{copy.name}: the ledger could not be copied: {reason}; the run goes on without"
    finally:
        draft.unlink(missing_ok=True)


def _keep_copy(ledger: Path, copy: Path, draft: Path) -> str:
    state, said = ledger.stat(), ""
    same = (state.st_mtime_ns, state.st_size)
    if copy.exists() and (copy.stat().st_mtime_ns, copy.stat().st_size) == same:
        return ""
    with closing(files.open_for_reading(ledger)) as connection:
        if connection.execute("SELECT number FROM trials LIMIT 1").fetchone() is None:
            return ""
        broken: list[str] = []
        for table in _COMPARED:
            deque(read_rows(connection, table, broken), maxlen=0)
        if broken:
            folder = shlex.quote(RunFolder(ledger.parent.parent, ledger.parent.name).typed)
            return (
                f"{broken[0]}, so {copy.name} was left as it is; when this run has ended, "
                f"`tuner doctor {folder} --repair` repairs it"
            )
        if shutil.disk_usage(ledger.parent).free < _ROOM * state.st_size:
            return f"{copy.name}: no room to copy the ledger; the run goes on without"
        _write(connection, draft)
        if copy.exists() and _has_other_trials(connection, copy):
            aside = free_path(copy, copy.stem)
            copy.rename(aside)
            said = f"{copy.name} was a copy of another ledger; it is {aside.name} now"
    os.utime(draft, ns=(state.st_atime_ns, state.st_mtime_ns))
    draft.replace(copy)
    files.sync(ledger.parent)
    return said


def _write(connection: sqlite3.Connection, draft: Path) -> None:
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = OFF")  # a draft that is cut short is thrown away
        target.execute("PRAGMA synchronous = OFF")
        connection.backup(target)
    files.sync(draft)


def _has_other_trials(connection: sqlite3.Connection, copy: Path) -> bool:
    """Such a copy may be all that is left of a ledger that was lost: no ledger loses trials."""
    query = "SELECT number, key FROM copy.trials EXCEPT SELECT number, key FROM main.trials"
    try:
        connection.execute("ATTACH ? AS copy", (f"{copy.resolve().as_uri()}?mode=ro",))
        return connection.execute(query).fetchone() is not None
    except UNREADABLE:
        return False


# ---------------------------------------------------------------------- what can be read


def columns_in(table: str) -> tuple[str, ...]:
    """All columns of a table: those that the digest covers, the digest, any others."""
    return (*COLUMNS[table], "digest", *(["is_current"] if table == "trials" else []))


def read_rows(
    connection: sqlite3.Connection, table: str, broken: list[str]
) -> Iterator[tuple[Any, ...]]:
    """Rows that are what was written, in the order of their keys, with `columns_in` the table.

    What cannot be read, or is not what was written, is told in `broken`.
    """
    # Damaged text as well: its digest tells, and the rows after it are read.
    connection.text_factory = lambda content: content.decode("utf-8", "replace")
    count, key = len(COLUMNS[table]), COLUMNS[table][0]
    query = f"SELECT {', '.join(columns_in(table))} FROM {table}"
    try:
        connection.execute(f"{query} LIMIT 0")
    except UNREADABLE as error:
        broken.append(f"{table} cannot be read at all: {error}")
        return
    query += f" WHERE {key} BETWEEN ? AND ? ORDER BY {key}"
    lost: list[Any] = []
    for low, high in _ranges(connection, table):
        for row in _readable(connection, query, low, high, lost):
            if digest_of(*row[:count]) == row[count]:
                yield row
            else:
                broken.append(f"row {row[0]} of {table} is not what was written")
    if lost:
        place = f" from {key} {lost[0]} on" if table != "meta" else ""
        broken.append(f"{table} cannot be read whole{place}")


def _ranges(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Any, Any]]:
    """Keys, a few at a time; a file has no more of them than its size allows."""
    if table == "meta":
        yield "", "\U0010ffff"
        return
    pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    highest = pages * page_bytes // _LEAST_ROW_BYTES
    key = COLUMNS[table][0]
    key, table = ("number", "trials") if key == "trial" else (key, table)
    with suppress(*UNREADABLE):
        found = connection.execute(f"SELECT max({key}) FROM {table}").fetchone()[0]
        highest = min(highest, found or 0)
    for low in range(1, highest + 1, _AT_ONCE):
        yield low, min(low + _AT_ONCE - 1, highest)


def _readable(
    connection: sqlite3.Connection, query: str, low: Any, high: Any, lost: list[Any]
) -> list[tuple[Any, ...]]:
    """Rows of a range of keys; one that cannot be read whole is read in halves."""
    rows: list[tuple[Any, ...]] = []
    try:
        rows.extend(connection.execute(query, (low, high)))  # keeps what came before an error
    except UNREADABLE:
        if low != high and isinstance(low, int):
            middle = (low + high) // 2
            lower = _readable(connection, query, low, middle, lost)
            return lower + _readable(connection, query, middle + 1, high, lost)
        lost.append(low)
    return rows
