"""A copy of the ledger from the start of the last run: what is left where pages are damaged.

It is made by SQLite's own backup. The copy carries the ledger's time of change, so that one sees
at once whether the ledger has changed since.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from tuner.errors import TunerError
from tuner.ledger import connection as files
from tuner.ledger.salvage import Broken, read_rows

# Compared with their digests before they are copied. Epochs are not: a million of them would take
# longer than all the rest, and no score hangs on them.
_COMPARED = ("meta", "trials", "checkpoints", "events")
_ROOM = 2  # times the ledger's size: a copy must not take the last room from the run


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
    state = ledger.stat()
    if copy.exists() and (copy.stat().st_mtime_ns, copy.stat().st_size) == (
        state.st_mtime_ns,
        state.st_size,
    ):
        return ""
    with closing(files.open_for_reading(ledger)) as connection:
        if connection.execute("SELECT number FROM trials LIMIT 1").fetchone() is None:
            return ""
        for table in _COMPARED:
            broken = next((r for r in read_rows(connection, table) if isinstance(r, Broken)), None)
            if broken:
                return (
                    f"{broken.what}, so {copy.name} was left as it is; when this run has ended, "
                    f"`tuner doctor {ledger.parent.name} --repair` mends it"
                )
        if shutil.disk_usage(ledger.parent).free < _ROOM * state.st_size:
            return f"{copy.name}: no room to copy the ledger; the run goes on without"
        draft.unlink(missing_ok=True)
        _write(connection, draft)
        kept = _set_aside_if_other(connection, copy)
    os.utime(draft, ns=(state.st_atime_ns, state.st_mtime_ns))
    draft.replace(copy)
    files.sync(ledger.parent)
    return kept


def _write(connection: sqlite3.Connection, draft: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = OFF")  # a draft that is cut short is thrown away
        target.execute("PRAGMA synchronous = OFF")
        connection.backup(target)
    files.sync(draft)


def _set_aside_if_other(connection: sqlite3.Connection, copy: Path) -> str:
    """The copy of a ledger that was lost, or moved away, may be all that is left of it."""
    if not copy.exists() or _birth(copy) in (None, _birth_of(connection)):
        return ""
    names = (copy.with_name(f"{copy.stem}-{n}{copy.suffix}") for n in range(2, 1000))
    aside = next(path for path in names if not path.exists())
    copy.rename(aside)
    return f"{copy.name} was a copy of another ledger; it is {aside.name} now"


def _birth(path: Path) -> tuple[str | None, ...] | None:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return _birth_of(connection)
    except sqlite3.Error:
        return None


def _birth_of(connection: sqlite3.Connection) -> tuple[str | None, ...]:
    """First trial and first event: what a ledger and its copies have in common for ever."""
    query = (
        "SELECT (SELECT key FROM trials ORDER BY number LIMIT 1), "
        "(SELECT at FROM events ORDER BY id LIMIT 1)"
    )
    found: tuple[str | None, ...] = connection.execute(query).fetchone()
    return found
