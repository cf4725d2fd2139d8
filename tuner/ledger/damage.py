"""What is said when a ledger cannot be read or written: what happened, what to type next."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import InputError, Problem, TunerError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, for the writer."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _is_damage(error):
            raise damaged(path, str(error)) from error
        raise TunerError(
            f"{path}: cannot write the ledger: {error}\n"
            "    kept:     everything recorded before\n"
            f"    mend:     {_mend(error)}, then run the same command again"
        ) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise damaged(path, str(error)) from error
    except UnicodeDecodeError as error:  # SQLite quotes what it cannot read
        raise damaged(path, _quoted(error)) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, for a reader."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _is_damage(error):
            raise damaged(path, str(error)) from error
        problem = Problem(
            f"cannot read the ledger: {error}",
            where=str(path),
            mend="try again; give rights to read the file and to write to its folder",
        )
        raise InputError(problem) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error
    except UnicodeDecodeError as error:
        raise damaged(path, _quoted(error)) from error


def damaged(path: Path, detail: str) -> InputError:
    """The error for a ledger whose contents are broken."""
    folder = shlex.quote(str(path.parent))
    return InputError(
        Problem(
            "this ledger is damaged; it was left as it is",
            where=str(path),
            received=detail,
            mend=f"tuner doctor {folder} --repair keeps a copy and saves every row that can be "
            "read; or put a copy of yours in its place",
        )
    )


def foreign(path: Path, received: str) -> InputError:
    """The error for a file of somebody else."""
    return InputError(
        Problem(
            "this file is not a ledger of tuner; it was left as it is",
            where=str(path),
            received=received,
            expected="an SQLite file written by `tuner run`",
            mend="move it away, or give another name or --results folder",
        )
    )


def too_new(path: Path, version: int, known: int) -> InputError:
    """The error for a ledger of a later tuner."""
    return InputError(
        Problem(
            "this ledger was written by a newer version of tuner; it was left as it is",
            where=str(path),
            received=f"schema version {version}",
            expected=f"at most {known}",
            mend="upgrade tuner, or give another --results folder",
        )
    )


def _quoted(error: UnicodeDecodeError) -> str:
    return error.object.decode("utf-8", "replace")


def _mend(error: sqlite3.OperationalError) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith("SQLITE_FULL"):
        return "free disk space (rm, or --results on another disk for new experiments)"
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "end the other program that has the file open"
    return "free disk space or rights"


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Errors of the file's contents that SQLite counts among those of operation."""
    text = str(error)
    return text.startswith(("Could not decode", "no such table", "no such column", "malformed"))
