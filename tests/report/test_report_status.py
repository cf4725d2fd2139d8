from __future__ import annotations

import pytest

from tuner.ledger.estimate import Estimate, StructureTime, keep_estimate
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report.status import status_of


def keep(folder: RunFolder, **structures: StructureTime) -> None:
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        keep_estimate(ledger, Estimate(1, structures))


def test_an_interrupted_experiment_is_incomplete(folder: RunFolder) -> None:
    found = status_of(folder)
    assert (found.state, found.done, found.total) == ("incomplete", 8, 10)
    assert (found.best, found.best_trial, found.failures) == (0.3, 2, 2)
    assert found.seconds_left is None


def test_a_locked_experiment_is_running_and_has_a_time_left(folder: RunFolder) -> None:
    keep(folder, s20=StructureTime(5, 15), s32=StructureTime(5, 15))
    with folder.lock():
        found = status_of(folder)
    assert found.state == "running"
    # Epochs take 2 seconds, and the eight that have ended had 19 of 24: 2 trials are left.
    assert found.seconds_left == pytest.approx(2 * 2 * 3 * 19 / 24)


def test_a_running_trial_counts_by_its_epochs(folder: RunFolder) -> None:
    keep(folder, s20=StructureTime(5, 15), s32=StructureTime(5, 15))
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
    done, slow = ((4, 12, None, 1.0), (2, 6, None, 10.0))
    keep(folder, s20=StructureTime(*done), slow=StructureTime(*slow))
    with folder.lock():
        found = status_of(folder)
    # An epoch of s20 took twice what was expected; all trials had 19 of 24 epochs.
    assert found.seconds_left == pytest.approx(2 * 3 * 20.0 * 19 / 24 + 1.5)


def test_time_left_of_a_run_without_an_estimate_is_unknown(folder: RunFolder) -> None:
    with folder.lock():
        assert status_of(folder).seconds_left is None


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
