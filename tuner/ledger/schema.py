"""The ledger's tables, and what tells a ledger of ours from any other file."""

from __future__ import annotations

SCHEMA_VERSION = 3
APPLICATION_ID = 0x74756E65  # "tune": what `file` and SQLite call the kind of a database
MAGIC = b"SQLite format 3\x00"

# `digest` is the CRC-32 of the rest of its row (sealed.py). `context` names what else than the
# configuration decides an outcome, which few rows share. A trial that is not `is_current` is of an
# earlier version of the experiment; the indices put those apart.
# Only a ranked trial has a score, so that the indices hold nothing else and find the best at once:
# one for each direction, since equal scores go to the earlier trial in both.
TABLES = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE trials (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    score REAL,
    best_epoch INTEGER,
    epochs INTEGER NOT NULL DEFAULT 0,
    configuration TEXT NOT NULL,
    searched TEXT NOT NULL,
    replicate INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    structure TEXT NOT NULL,
    metrics TEXT NOT NULL DEFAULT '{}',
    parameters INTEGER,
    macs INTEGER,
    train_seconds REAL,
    compile_seconds REAL,
    worker INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    started_at TEXT,
    finished_at TEXT,
    digest INTEGER NOT NULL DEFAULT 0,
    context INTEGER NOT NULL DEFAULT 0,
    is_current INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE epochs (
    trial INTEGER NOT NULL REFERENCES trials (number),
    epoch INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    seconds REAL NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (trial, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    trial INTEGER NOT NULL REFERENCES trials (number),
    epoch INTEGER NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (trial, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    digest INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY,
    content TEXT NOT NULL UNIQUE,
    digest INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX trials_by_state ON trials (is_current, state);
CREATE INDEX trials_by_score ON trials (is_current, score) WHERE score IS NOT NULL;
CREATE INDEX trials_by_score_down ON trials (is_current, score DESC) WHERE score IS NOT NULL;
"""
