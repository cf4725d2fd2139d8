"""Brings the ledger of an older tuner up to date, in the commit that says so.

There is no copy of the old file: one file is the rule, and the whole migration is one transaction
(SQLite's changes of tables included), so that whatever interrupts it leaves the old version as it
was. Only a writer migrates; readers read old versions as they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from tuner.ledger.schema import SCHEMA_VERSION
from tuner.ledger.sealed import seal

_EVERY_ROW = "TRUE"


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """All steps from `version` to the present one, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(version, SCHEMA_VERSION):
            STEPS[step](connection)
        statement = "UPDATE meta SET value = ? WHERE name = 'schema'"
        connection.execute(statement, (str(SCHEMA_VERSION),))
        seal(connection, "meta", "name = 'schema'", ())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


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
    for table in ("meta", "trials", "epochs", "events"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN digest INTEGER NOT NULL DEFAULT 0")
        seal(connection, table, _EVERY_ROW, ())


# From each version to the next. Version 3 adds one function and one line.
STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1}
