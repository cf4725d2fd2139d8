"""A new ledger from whatever can be read of a damaged one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.experiment.yaml import compose
from tuner.ledger import connection as files
from tuner.ledger.carving import carved
from tuner.ledger.codec import decode, encode
from tuner.ledger.folder import RunFolder
from tuner.ledger.names import Names
from tuner.ledger.records import FINISHED_STATES, NewTrial
from tuner.ledger.salvage import UNREADABLE, Broken, Row, salvaged
from tuner.ledger.schema import SCHEMA_VERSION
from tuner.ledger.sealed import COLUMNS, seal
from tuner.ledger.soundness import version_of

_TABLES = ("trials", "epochs", "checkpoints", "events")
_ENDED = {state.value for state in FINISHED_STATES}
_NUMBER, _STATE, _EPOCHS, _METRICS, _SEED = (
    COLUMNS["trials"].index(name) for name in ("number", "state", "epochs", "metrics", "seed")
)
_KEY, _CONFIGURATION, _SEARCHED = (
    COLUMNS["trials"].index(name) for name in ("key", "configuration", "searched")
)


@dataclass(frozen=True)
class Rebuilt:
    """The new file, how many rows of each table it has, and how many were lost that were seen."""

    path: Path
    saved: Counter[str]
    lost: Counter[str]


def rebuild(old: Path, draft: Path, folder: RunFolder) -> Rebuilt | None:
    """A sound ledger at `draft` with every row of `old` that is what was written.

    `old` is a copy that may be written to. None if nothing of worth could be read.
    """
    found, lost = _read(old)
    if lost or not _worth(found):
        lost -= _add_carved(old, found)
    if not _worth(found):
        return None
    lost += _without_orphans(found)
    files.create(draft, folder.name)
    _write(draft, found, folder)
    return Rebuilt(draft, Counter({table: len(rows) for table, rows in found.items()}), lost)


def _worth(found: dict[str, dict[Row, Row]]) -> int:
    return len(found.get("trials", ()))


# ---------------------------------------------------------------------- reading


def _add_carved(old: Path, found: dict[str, dict[Row, Row]]) -> Counter[str]:
    """Adds the rows that SQLite did not reach; how many there were of each table.

    Of two that have the same key the later one counts: pages that SQLite has moved or given up
    may still hold what a row was before.
    """
    added: dict[str, dict[Row, Row]] = {table: {} for table in COLUMNS}
    for table, row in carved(old):
        key = row[: _num_keys(table)]
        before = added[table].get(key)
        if key not in found.setdefault(table, {}) and (before is None or _age(row) > _age(before)):
            added[table][key] = row
    for table, rows in added.items():
        found[table] = dict(sorted((found[table] | rows).items()))
    return Counter({table: len(rows) for table, rows in added.items()})


def _age(row: Row) -> tuple[bool, int]:
    is_trial = len(row) == len(COLUMNS["trials"])
    return (row[_STATE] in _ENDED, row[_EPOCHS]) if is_trial else (False, 0)


def _num_keys(table: str) -> int:
    return 1 if table in ("meta", "trials", "events") else 2


def _read(old: Path) -> tuple[dict[str, dict[Row, Row]], Counter[str]]:
    """Rows by table and key, and how many were seen but could not be read."""
    found: dict[str, dict[Row, Row]] = {}
    lost: Counter[str] = Counter()
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        version = _version(connection)
        for table in COLUMNS:
            rows: dict[Row, Row] = {}
            for row in salvaged(connection, table, version):
                if isinstance(row, Broken):
                    lost[table] += 1
                else:
                    rows.setdefault(row[: _num_keys(table)], row)
            found[table] = rows
    return found, lost


def _version(connection: sqlite3.Connection) -> int:
    """What the ledger says of itself; the present version if it says nothing sensible."""
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        found = version_of(connection)
    except UNREADABLE:
        return SCHEMA_VERSION
    return found if 1 <= found <= SCHEMA_VERSION else SCHEMA_VERSION


def _without_orphans(found: dict[str, dict[Row, Row]]) -> Counter[str]:
    """Takes out what belongs to no trial, and the second of two trials with one key."""
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    for number, row in list(found["trials"].items()):
        if row[_KEY] in seen:
            del found["trials"][number]
            dropped["trials"] += 1
        seen.add(row[_KEY])
    for table in ("epochs", "checkpoints"):
        for key in [key for key in found[table] if key[:1] not in found["trials"]]:
            del found[table][key]
            dropped[table] += 1
    for number, row in list(found["trials"].items()):
        dropped.update(_whole_epochs(found, number, row))
    return dropped


def _whole_epochs(found: dict[str, dict[Row, Row]], number: Row, row: Row) -> Counter[str]:
    """An unfinished trial goes back to the last epoch before a gap; none has more than it says."""
    reached = 0
    while (number[0], reached + 1) in found["epochs"] and reached < row[_EPOCHS]:
        reached += 1
    if row[_STATE] in _ENDED:
        reached = row[_EPOCHS]
    dropped: Counter[str] = Counter()
    for table in ("epochs", "checkpoints"):
        epoch = reached + 1
        while (number[0], epoch) in found[table] or epoch <= row[_EPOCHS]:
            dropped[table] += found[table].pop((number[0], epoch), None) is not None
            epoch += 1
    found["trials"][number] = (*row[:_EPOCHS], reached, *row[_EPOCHS + 1 :])
    return +dropped


# ---------------------------------------------------------------------- writing


def _write(draft: Path, found: dict[str, dict[Row, Row]], folder: RunFolder) -> None:
    with closing(files.open_for_writing(draft)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for name, value in _meta(found, folder):
            statement = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
            connection.execute(statement, (name, value))
        for table in _TABLES:
            marks = ", ".join("?" * len(COLUMNS[table]))
            columns = ", ".join(COLUMNS[table])
            statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
            connection.executemany(statement, found[table].values())
        for table in COLUMNS:
            seal(connection, table, "TRUE", ())
        connection.execute("COMMIT")


def _meta(found: dict[str, dict[Row, Row]], folder: RunFolder) -> Iterator[tuple[str, str]]:
    """What was saved of it; names are found again from the trials, the objective from the file."""
    saved: dict[str, str] = {name: value for (name,), (_, value) in found["meta"].items()}
    saved.pop("schema", None)
    saved["names"] = encode(_names(found["trials"].values()).to_json())
    if "objective" not in saved and (objective := _objective(folder)) is not None:
        saved["objective"] = encode(objective)
    yield from saved.items()


def _names(trials: Iterable[Row]) -> Names:
    names = Names()
    for row in trials:
        configuration, searched = decode(row[_CONFIGURATION]), decode(row[_SEARCHED])
        names.note([NewTrial(row[_KEY], configuration, searched, 0, row[_SEED], "")])
        if row[_STATE] in _ENDED:
            names.note_metrics(decode(row[_METRICS]))
    return names


def _objective(folder: RunFolder) -> tuple[str, str] | None:
    try:
        text = folder.experiment.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    document: Any = compose(text, str(folder.experiment))[0].value
    found = document.get("objective") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    return str(found.get("metric", "val_accuracy")), str(found.get("direction", "max"))
