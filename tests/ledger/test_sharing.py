"""Readers and the writer at once, a full disk, and clocks that jump."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tuner.errors import TunerError
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.report.record import read_record
from tuner.report.status import status_of


def trial(number: int) -> NewTrial:
    return NewTrial(f"k{number}", {"a": number, "training.epochs": 2}, {"a": number}, 0, 0, "s")


def test_a_reader_with_an_open_report_never_stops_the_writer(ledger: Ledger, path: Path) -> None:
    ledger.add([trial(1)])
    with Ledger.open_read_only(path) as reader:
        before = reader.rows()
        for epoch in range(1, 30):
            ledger.record_epoch(1, epoch, {"loss": 1.0 / epoch}, 0.1)
            assert len(reader.epochs(1)) == epoch
        assert before[0].epochs == 0
        assert reader.rows()[0].epochs == 29


def test_a_commit_under_way_does_not_stop_a_reader(ledger: Ledger, path: Path) -> None:
    ledger.add([trial(1)])
    with ledger._commit():
        ledger._update(1, reason="half of a commit")
        with Ledger.open_read_only(path) as reader:
            assert reader.rows()[0].reason == ""
    with Ledger.open_read_only(path) as reader:
        assert reader.rows()[0].reason == "half of a commit"


def test_a_full_disk_keeps_everything_and_says_what_to_type(ledger: Ledger, path: Path) -> None:
    ledger.add([trial(1)])
    ledger.record_epoch(1, 1, {"loss": 1.0}, 0.1)
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(TunerError) as error:
        ledger.add([trial(number) for number in range(2, 500)])
    assert str(path) in str(error.value)
    assert "everything recorded before" in str(error.value)
    assert "run the same command again" in str(error.value)
    with Ledger.open_read_only(path) as reader:
        assert [row.number for row in reader.rows()] == [1]
        assert len(reader.epochs()) == 1
    ledger._connection.execute("PRAGMA max_page_count = 100000")
    assert ledger.add([trial(2)]) == [2]


def test_a_changed_value_is_noticed_though_sqlite_does_not_mind(ledger: Ledger, path: Path) -> None:
    ledger.add([trial(1)])
    other = sqlite3.connect(path)
    other.execute("UPDATE trials SET seed = 7")
    other.commit()
    other.close()
    with Ledger.open_read_only(path) as reader, pytest.raises(TunerError, match="not what was"):
        reader.rows()


class JumpingClock:
    """A year back, a year ahead, and so on."""

    def __init__(self) -> None:
        self.steps = self._jumps()

    def _jumps(self) -> Iterator[datetime]:
        time, sign = datetime(2026, 6, 1, tzinfo=UTC), -1
        while True:
            time += timedelta(days=365 * sign, seconds=1)
            sign = -sign
            yield time

    def __call__(self) -> datetime:
        return next(self.steps)


def test_a_clock_that_jumps_gives_no_negative_times_and_keeps_the_order(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "grid")
    folder.prepare()
    with Ledger.create_or_open(folder.ledger, "grid", now=JumpingClock()) as ledger, folder.lock():
        ledger.set_objective(Objective("val_accuracy", "max"))
        ledger.begin_run(total=4, done=0, workers=1)
        ledger.add([trial(number) for number in range(1, 5)])
        for number in (1, 2, 3):
            ledger.start(number, 1)
            ledger.record_epoch(number, 1, {"val_accuracy": number / 10}, 0.5)
        for number in (1, 2):
            outcome = Outcome(TrialState.COMPLETED, number / 10, 1, {}, 0.5, 0.1)
            ledger.finish(number, outcome)
        ledger.event("note", {})
        found = status_of(folder)
        assert [event.kind for event in ledger.events()] == ["run", "note"]
    assert found.state == "running"
    assert found.seconds_left is None or found.seconds_left >= 0
    record = read_record(folder)
    assert [row.number for row in record.ranking.ranked] == [2, 1]
    assert all((row.train_seconds or 0) >= 0 for row in record.rows)
