from __future__ import annotations

from datetime import UTC, datetime

from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report.status import status_of


def test_an_interrupted_experiment_is_incomplete(folder: RunFolder) -> None:
    found = status_of(folder)
    assert (found.state, found.done, found.total) == ("incomplete", 8, 10)
    assert (found.best, found.best_trial, found.failures) == (0.3, 2, 2)
    assert found.seconds_left is None


def test_a_locked_experiment_is_running_and_has_a_time_left(folder: RunFolder) -> None:
    with folder.lock():
        # The fixed run began at 03:04:07 and has ended 8 of 10 trials.
        found = status_of(folder, datetime(2026, 1, 2, 3, 5, 47, tzinfo=UTC))
    assert found.state == "running"
    assert found.seconds_left is not None
    assert 20 < found.seconds_left < 30


def test_a_running_trial_counts_by_its_epochs(folder: RunFolder) -> None:
    now = datetime(2026, 1, 2, 3, 5, 47, tzinfo=UTC)
    with folder.lock():
        before = status_of(folder, now).seconds_left
        with Ledger.create_or_open(folder.ledger, "grid") as ledger:
            ledger.start(9, 1)
            ledger.record_epoch(9, 1, {"loss": 1.0}, 1.0)
            ledger.record_epoch(9, 2, {"loss": 1.0}, 1.0)
        after = status_of(folder, now)
    assert after.running == 1
    assert before is not None
    assert after.seconds_left is not None
    assert after.seconds_left < before


def test_an_edited_experiment_counts_its_own_trials_only(folder: RunFolder) -> None:
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.begin_run(total=4, done=4, workers=1)
    found = status_of(folder)
    assert (found.state, found.done, found.total) == ("done", 4, 4)


def test_a_damaged_ledger_is_a_status_of_its_own(folder: RunFolder) -> None:
    folder.ledger.write_bytes(b"")
    found = status_of(folder)
    assert found.state == "unreadable"
    assert "damaged" in found.problem
