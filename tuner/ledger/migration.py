"""Brings the ledger of an older tuner up to date, in the commit that says so.

There is no copy of the old file: the whole migration is one transaction (SQLite's changes of tables
included), so that whatever interrupts it leaves the old version as it was. Only a writer migrates
the file; a reader migrates a copy in its memory, so that nothing else has to know old versions.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

from tuner.ledger.codec import decode, encode
from tuner.ledger.records import Names
from tuner.ledger.schema import SCHEMA_VERSION, columns_of, seal, teach


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """All steps from `version` to the present one, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(version, SCHEMA_VERSION):
            STEPS[step](connection)
        statement = "UPDATE meta SET value = ? WHERE name = 'schema'"
        connection.execute(statement, (str(SCHEMA_VERSION),))
        seal(connection, "meta", "name = 'schema'")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrated_copy(connection: sqlite3.Connection, version: int) -> sqlite3.Connection:
    """The ledger in memory and up to date; its file stays what it is, its connection is closed."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        with closing(connection):
            connection.backup(copy)
        teach(copy)
        migrate(copy, version)
    except BaseException:
        copy.close()
        raise
    return copy


def _from_1(connection: sqlite3.Connection) -> None:
    """Digests of rows, and checkpoints. These statements stay when tables change again."""
    connection.execute(
        "CREATE TABLE checkpoints (trial INTEGER NOT NULL REFERENCES trials (number), "
        "epoch INTEGER NOT NULL, file TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, "
        "digest INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (trial, epoch)) STRICT, WITHOUT ROWID"
    )
    connection.execute(
        "CREATE INDEX trials_by_score_down ON trials (score DESC) WHERE score IS NOT NULL"
    )
    texts = connection.execute("SELECT configuration, searched, metrics FROM trials")
    try:
        for text in (text for row in texts for text in row):
            decode(text)  # a digest will vouch for it from now on
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
    for table in ("meta", "trials", "epochs", "events"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN digest INTEGER NOT NULL DEFAULT 0")
        seal(connection, table, "TRUE", version=2)


def _from_2(connection: sqlite3.Connection) -> None:
    """Which trials are current, and what decides an outcome beside the configuration.

    Version 2 kept the numbers of superseded trials in one list. A harmed row keeps its digest,
    which tells it apart as before: it is refused where it is read, and a repair saves all others.
    """
    for column in ("context INTEGER NOT NULL DEFAULT 0", "is_current INTEGER NOT NULL DEFAULT 1"):
        connection.execute(f"ALTER TABLE trials ADD COLUMN {column}")
    connection.execute(
        "CREATE TABLE contexts (id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE, "
        "digest INTEGER NOT NULL DEFAULT 0) STRICT"
    )
    for name, columns in (
        ("trials_by_state", "is_current, state)"),
        ("trials_by_score", "is_current, score) WHERE score IS NOT NULL"),
        ("trials_by_score_down", "is_current, score DESC) WHERE score IS NOT NULL"),
    ):
        connection.execute(f"DROP INDEX {name}")
        connection.execute(f"CREATE INDEX {name} ON trials ({columns}")
    sound = f"name = 'plan' AND {_sound('meta', 2)}"
    found = connection.execute(f"SELECT value FROM meta WHERE {sound}").fetchone()
    plan = json.loads(found[0]) if found else {}
    superseded = plan.pop("strangers", [])
    statement = "UPDATE trials SET is_current = 0 WHERE number = ?"
    connection.executemany(statement, [(number,) for number in superseded])
    seal(connection, "trials", _sound("trials", 2), version=3)
    if superseded:
        _note_names(connection)
    if found:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'plan'", (encode(plan),))
        seal(connection, "meta", "name = 'plan'", version=3)


def _from_3(connection: sqlite3.Connection) -> None:
    """With how many threads a trial was trained; of older ones nobody knows."""
    connection.execute("ALTER TABLE trials ADD COLUMN threads INTEGER")
    seal(connection, "trials", _sound("trials", 3), version=4)


def _sound(table: str, version: int) -> str:
    """Holds for rows that are what was written."""
    return f"digest = row_digest({', '.join(columns_of(table, version))})"


def _note_names(connection: sqlite3.Connection) -> None:
    """The names of columns, of current trials alone."""
    names = Names({})
    query = (
        "SELECT searched, metrics FROM trials "
        f"WHERE is_current AND {_sound('trials', 3)} ORDER BY number"
    )
    for searched, metrics in connection.execute(query):
        names.note(decode(searched))
        names.note_metrics(decode(metrics))
    statement = "INSERT OR REPLACE INTO meta (name, value) VALUES ('names', ?)"
    connection.execute(statement, (encode(names.to_json()),))
    seal(connection, "meta", "name = 'names'", version=3)


# From each version to the next. Version 5 adds one function and one line.
STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1, 2: _from_2, 3: _from_3}
