from __future__ import annotations

import shutil
import sqlite3
from datetime import datetime
from pathlib import Path

import pytest

from tuner.errors import InputError, TunerError
from tuner.experiment.trial import TrialState
from tuner.ledger import migration, schema
from tuner.ledger.backup import backup_of
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.repair import mend
from tuner.ledger.schema import APPLICATION_ID

# As version 1 made them.
VERSION_1 = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
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
    finished_at TEXT
) STRICT;
CREATE TABLE epochs (
    trial INTEGER NOT NULL REFERENCES trials (number),
    epoch INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (trial, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX trials_by_state ON trials (state);
CREATE INDEX trials_by_score ON trials (score) WHERE score IS NOT NULL;
"""


@pytest.fixture
def old(path: Path) -> Path:
    """A ledger of version 1 with two trials."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.executescript(f"BEGIN; {VERSION_1} COMMIT;")
    meta = [("schema", "1"), ("experiment", '"grid"'), ("objective", '["val_accuracy","max"]')]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    for number, score in ((1, 1), (2, 0.25)):  # 1 becomes 1.0 in a REAL column
        connection.execute(
            "INSERT INTO trials (number, key, state, score, best_epoch, epochs, configuration, "
            "searched, replicate, seed, structure, metrics) VALUES "
            "(?, ?, 'completed', ?, 1, 1, ?, ?, 0, 0, 's', '{\"val_accuracy\":0.5}')",
            (number, f"k{number}", score, '{"a":1,"name":"ü"}', '{"a":1}'),
        )
        epoch = (number, 1, '{"val_accuracy":0.5}', 2)
        connection.execute("INSERT INTO epochs VALUES (?, ?, ?, ?)", epoch)
    event = (1, "2026-01-02T03:04:05.000+00:00", "run", "{}")
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", event)
    connection.close()
    return path


@pytest.fixture
def version_2(old: Path) -> Path:
    """The same of version 2, where trial 1 is of an earlier version of the experiment."""
    connection = sqlite3.connect(old, isolation_level=None)
    schema.teach(connection)
    migration.STEPS[1](connection)
    connection.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    names = '{"values":["a"],"metrics":["gone","val_accuracy"],"first":{"a":1,"name":"ü"}}'
    plan = '{"plan":"p","strangers":[1]}'
    connection.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?)", [("names", names), ("plan", plan)]
    )
    schema.seal(connection, "meta", "TRUE", version=2)
    connection.close()
    return old


def test_version_2_keeps_apart_what_an_edit_had_left_behind(version_2: Path) -> None:
    with Ledger.open_read_only(version_2) as ledger:
        assert [row.number for row in ledger.rows()] == [2]
        assert [row.is_current for row in ledger.rows(all_versions=True)] == [False, True]
        assert ledger.top(2)[0].score == 0.25
        assert ledger.plan == "p"
        assert ledger.metric_names == ("val_accuracy",)
        assert ledger.rows()[0].context == {}
    with Ledger.create_or_open(version_2, "grid") as ledger:
        assert [row.number for row in ledger.rows()] == [2]


def test_a_harmed_row_of_version_2_gets_no_new_digest(version_2: Path) -> None:
    connection = sqlite3.connect(version_2)
    connection.execute("UPDATE trials SET score = 0.9 WHERE number = 2")
    connection.commit()
    connection.close()
    for opened in (Ledger.open_read_only(version_2), Ledger.create_or_open(version_2, "grid")):
        with opened, pytest.raises(InputError, match="row 2 of trials is not what was written"):
            opened.rows()


def test_a_repair_saves_all_other_rows_of_version_2(version_2: Path) -> None:
    connection = sqlite3.connect(version_2)
    connection.execute("UPDATE trials SET score = 0.9 WHERE number = 2")
    connection.execute("UPDATE meta SET value = '{' WHERE name = 'plan'")
    connection.commit()
    connection.close()
    folder = RunFolder(version_2.parent.parent, version_2.parent.name)
    assert mend(folder, datetime(2026, 1, 2)).missing == (2,)
    with Ledger.open_read_only(version_2) as ledger:
        assert [row.number for row in ledger.rows(all_versions=True)] == [1]


def test_of_version_3_nobody_knows_the_threads(version_2: Path) -> None:
    connection = sqlite3.connect(version_2, isolation_level=None)
    schema.teach(connection)
    migration.STEPS[2](connection)
    connection.execute("UPDATE meta SET value = '3' WHERE name = 'schema'")
    schema.seal(connection, "meta", "TRUE", version=3)
    connection.execute("UPDATE trials SET score = 0.9 WHERE number = 2")  # harmed
    connection.close()
    with Ledger.open_read_only(version_2) as ledger:
        assert ledger.row(1).threads is None  # type: ignore[union-attr]
    with Ledger.create_or_open(version_2, "grid") as ledger:
        ledger.start(1, worker=1, threads=2)
        assert ledger.row(1).threads is None  # type: ignore[union-attr] # it has an epoch of before
        with pytest.raises(InputError, match="row 2 of trials is not what was written"):
            ledger.row(2)


def everything(ledger: Ledger) -> list[object]:
    rows = [(row.number, row.score, dict(row.values), row.value("name")) for row in ledger.rows()]
    return [rows, ledger.epochs(), ledger.events(), ledger.objective, ledger.counts()]


def statements(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {"".join(row[0].split()) for row in found}


def test_a_reader_reads_an_old_ledger_and_leaves_it_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    with Ledger.open_read_only(old) as ledger:
        assert [row.score for row in ledger.rows()] == [1.0, 0.25]
        assert ledger.top(1)[0].value("name") == "ü"
        assert ledger.checkpoints() == []
        assert len(ledger.epochs()) == 2
    assert old.read_bytes() == before


def test_a_writer_brings_an_old_ledger_up_to_date_and_loses_nothing(old: Path) -> None:
    with Ledger.open_read_only(old) as ledger:
        before = everything(ledger)
    with Ledger.create_or_open(old, "grid") as ledger:
        assert everything(ledger) == before
        assert ledger.checkpoints() == []
        ledger.record_epoch(2, 2, {"val_accuracy": 0.75}, 1.0)
    with Ledger.open_read_only(old) as ledger:
        assert len(ledger.epochs()) == 3
    assert sorted(file.name for file in old.parent.iterdir()) == [old.name]


def test_an_old_ledger_ends_up_with_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite"
    for path in (old, new):
        Ledger.create_or_open(path, "grid").close()
    assert statements(old) == statements(new)


def test_a_migration_that_is_interrupted_leaves_the_old_version(old, monkeypatch):
    def interrupted(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE events")
        raise KeyboardInterrupt

    before = old.read_bytes()
    with monkeypatch.context() as patch:
        patch.setitem(migration.STEPS, 1, interrupted)
        with pytest.raises(KeyboardInterrupt):
            Ledger.create_or_open(old, "grid")
    with Ledger.open_read_only(old) as ledger:
        assert len(ledger.events()) == 1
    assert old.read_bytes() == before


def test_an_old_ledger_with_a_damaged_row_is_refused_by_readers(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("UPDATE trials SET configuration = '{broken' WHERE number = 2")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="damaged"):
        Ledger.open_read_only(old)
    with pytest.raises(InputError, match="damaged"):
        Ledger.create_or_open(old, "grid")


def test_a_full_disk_stops_a_migration_and_loses_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = migration.STEPS[1]

    def on_a_full_disk(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        step(connection)

    with monkeypatch.context() as patch:
        patch.setitem(migration.STEPS, 1, on_a_full_disk)
        with pytest.raises(TunerError, match="disk is full"):
            Ledger.create_or_open(old, "grid")
    with Ledger.open_read_only(old) as ledger:
        assert ledger.counts()[TrialState.COMPLETED] == 2


@pytest.mark.parametrize("has_copy", [True, False])
def test_a_damaged_old_ledger_is_replaced_by_the_copy_or_left_as_it_is(
    old: Path, has_copy: bool
) -> None:
    folder = RunFolder(old.parent.parent, old.parent.name)
    if has_copy:
        shutil.copyfile(old, backup_of(old))
    connection = sqlite3.connect(old)
    connection.execute("UPDATE trials SET configuration = '{' WHERE number = 2")
    connection.commit()
    connection.close()
    before = old.read_bytes()
    result = mend(folder, datetime(2026, 1, 2))
    assert "of version 1, damaged, and cannot be brought up to date" in " ".join(result.done)
    if has_copy:
        with Ledger.open_read_only(old) as ledger:
            rows = ledger.rows(all_versions=True)
        assert [(row.number, row.score) for row in rows] == [(1, 1.0), (2, 0.25)]
        assert result.missing == ()
    else:
        assert "nothing in it could be read" in " ".join(result.done)
        assert old.read_bytes() == before
