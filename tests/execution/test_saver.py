"""When a worker writes a trial's state: now and then, at its end, and when it is given up."""

from __future__ import annotations

import time
import weakref

import numpy as np
import pytest

from tuner.execution.protocol import Epoch, Saved, TrainTrial
from tuner.execution.saver import Saver
from tuner.experiment.objective import Objective
from tuner.ledger import checkpoint


class Trial:
    """A trial whose epochs have these scores, each so many seconds after the one before."""

    def __init__(self, folder):
        self.folder = folder
        self.now = 0.0
        self.reports = []
        self.saver = Saver(folder, self.reports.append, seconds=5, clock=lambda: self.now)

    def train(self, *scores, seconds=2.0, first=1, last=None, notes=None):
        self.saver.begin(Objective("val_accuracy"), notes)
        for epoch, score in enumerate(scores, first):
            self.now += seconds
            report = Epoch(1, epoch, {"val_accuracy": score}, seconds)
            copy = lambda epoch=epoch: {"weights": np.array(epoch)}  # noqa: E731
            self.saver.put(report, copy, {"attempt": 1, "epoch": epoch}, must_save=epoch == last)
            self.saver.flush()

    @property
    def told(self):
        """Epochs as they are reported: bare, +with a checkpoint, or (an earlier one's state)."""
        return [
            f"({report.epoch})"
            if isinstance(report, Saved)
            else f"{'+' if report.checkpoint else ''}{report.epoch}"
            for report in self.reports
        ]

    def notes(self, epoch):
        saved = next(r.checkpoint for r in self.reports if r.checkpoint and r.epoch == epoch)
        arrays, notes = checkpoint.load(self.folder, saved.file, saved.sha256)
        assert arrays["weights"] == epoch
        return notes


@pytest.fixture
def trial(tmp_path):
    return Trial(tmp_path / "checkpoints")


def test_short_epochs_are_reported_at_once_and_saved_after_seconds(trial):
    trial.train(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, last=7)
    assert trial.told == ["1", "2", "+3", "4", "5", "+6", "+7"]


def test_every_epoch_that_takes_long_is_saved(trial):
    trial.train(0.1, 0.2, 0.3, seconds=5.0, last=3)
    assert trial.told == ["+1", "+2", "+3"]


def test_the_best_state_is_written_beside_the_newest_and_once(trial):
    trial.train(0.1, 0.9, 0.2, 0.3, 0.4, 0.9, last=6)
    assert trial.told == ["1", "2", "(2)", "+3", "4", "5", "+6"]
    assert trial.notes(2)["best"] == trial.notes(6)["best"] == [2, 0.9]


def test_a_trial_that_is_given_up_loses_no_epoch(trial):
    trial.train(0.1, 0.9, 0.2)
    trial.reports.clear()
    trial.train(0.9, 0.2, first=2)
    trial.saver.give_up()
    trial.saver.give_up()
    assert trial.told == ["2", "3", "(2)", "(3)"]


def test_what_was_best_before_a_checkpoint_stays_the_best(trial):
    trial.train(0.1, 0.6, 0.2, last=3)
    notes = trial.notes(3)
    trial.reports.clear()
    trial.train(0.5, 0.4, first=4, notes=notes)
    trial.saver.give_up()
    assert trial.told == ["4", "5", "(5)"]
    assert trial.notes(5)["best"] == [2, 0.6]


def test_what_was_best_by_another_objective_is_not(trial):
    trial.train(0.1, last=1)
    notes = {**trial.notes(1), "best": [1, 2.3], "objective": ["val_loss", "minimize"]}
    trial.reports.clear()
    trial.train(0.5, 0.4, first=2, notes=notes)
    trial.saver.give_up()
    assert trial.told == ["2", "3", "(2)", "(3)"]


def test_a_diverged_trial_writes_nothing_more(trial):
    trial.train(0.1, 0.2)
    trial.saver.forget()
    trial.saver.give_up()
    assert trial.told == ["1", "2"]


def test_a_state_that_cannot_be_written_is_told(trial):
    trial.folder.write_text("in the way")
    trial.train(0.1, last=1)
    assert "checkpoints" in trial.reports[0].not_saved


def test_copies_that_take_longer_than_an_epoch_do_not_put_checkpoints_off(trial):
    def copy():
        time.sleep(0.005)
        return {"weights": np.zeros(1)}

    trial.saver.begin(Objective("val_accuracy"), None)
    for epoch in range(1, 21):
        trial.now += 1.0
        report = Epoch(1, epoch, {"val_accuracy": -epoch}, 1.0)
        trial.saver.put(report, copy, {"attempt": 1}, must_save=False)
    trial.saver.flush()
    assert sum("+" in told for told in trial.told) >= 2


def test_a_state_that_is_written_is_kept_in_memory_no_longer(trial):
    trial.saver.begin(Objective("val_accuracy"), None)
    seen = []

    def copy():
        weights = np.zeros(1)
        seen.append(weakref.ref(weights))
        return {"weights": weights}

    for epoch, score in enumerate((0.9, 0.1, 0.2), 1):
        trial.now += 5.0
        report = Epoch(1, epoch, {"val_accuracy": score}, 5.0)
        trial.saver.put(report, copy, {"attempt": 1}, must_save=False)
        trial.saver.flush()
    assert [state() for state in seen] == [None, None, None]


def test_what_a_rule_may_end_after_any_epoch_is_saved_after_each():
    """When the worker hears of it the next epoch may have ended, and its state is the only one."""
    given = {"key": "", "attempt": 1, "model": {}, "training": {}, "switches": frozenset()}
    given |= {"precision": "float32", "seed": 0, "structure": "", "number": 1, "until": 4}
    free, bound = TrainTrial(**given, rungs=(2,)), TrainTrial(**given, may_end=True)
    assert [free.must_save(epoch) for epoch in range(1, 5)] == [False, True, False, True]
    assert all(bound.must_save(epoch) for epoch in range(1, 5))
