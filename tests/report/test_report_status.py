from __future__ import annotations

import pytest

from tuner.ledger.estimate import Estimate, StructureTime
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
        found = status_of(folder)
    assert found.state == "running"
    # Epochs take 2 seconds, and the eight that have ended had 19 in all: 2 trials are left.
    assert found.seconds_left == pytest.approx(2 * 2 * 19 / 8)


def test_a_running_trial_counts_by_its_epochs(folder: RunFolder) -> None:
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.start(9, 1)
        ledger.record_epoch(9, 1, {"loss": 1.0}, 2.0)
    with folder.lock():
        after = status_of(folder)
    assert after.running == 1
    # Two epochs of three, and one trial, of three epochs or as much of them as the others had.
    assert after.seconds_left == pytest.approx(2 * 2 + 2 * 3 * (19 + 3) / (24 + 3))


def test_time_left_weighs_epochs_by_their_structure(folder: RunFolder) -> None:
    """The two trials that are left are of a structure that is ten times as slow."""
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        done = {"s20": StructureTime(4, 12, epoch_seconds=1.0)}
        slow = {"slow": StructureTime(2, 6, epoch_seconds=10.0)}
        Estimate(1, {**done, **slow}).keep(ledger)
    with folder.lock():
        found = status_of(folder)
    # An epoch of s20 took twice what was expected; its four trials had nine of twelve epochs.
    assert found.seconds_left == pytest.approx(2 * 3 * 20.0 * 9 / 12 + 1.5)


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
