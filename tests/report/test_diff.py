"""What differs between two trials, and when they are one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from tests.report import fixed_ledger
from tests.report.rows import trial
from tuner.errors import InputError
from tuner.experiment.objective import Objective
from tuner.ledger.records import EpochRow
from tuner.report.comparing import difference, sheet
from tuner.report.comparing.diff import Change, Diff, Subject, diff, read_subject


def subject(values: dict[str, Any], *, epochs=(), environment=None, **more: Any) -> Subject:
    row = trial(1, 0.5, values, **more)
    return Subject("x", row, tuple(epochs), environment or {}, Objective())


def names(changes: tuple[Change, ...]) -> list[str]:
    return [change.name for change in changes]


def test_only_what_differs_is_listed_and_the_rest_counted():
    found = diff(subject({"a": 1, "b": 2, "c": [1, 2]}), subject({"a": 1.0, "b": 3, "c": [1, 2]}))
    assert found.configuration == (Change("b", 2, 3),)
    assert found.equal["configuration"] == 4  # with seed and replicate


def test_an_absent_value_is_not_null_and_true_is_not_one():
    found = diff(subject({"a": None, "b": True}), subject({"b": 1, "c": None}))
    assert found.configuration == (
        Change("a", None, None, (True, False)),
        Change("b", True, 1),
        Change("c", None, None, (False, True)),
    )
    assert [sorted(change) for change in difference.to_json(found)["configuration"]] == [
        ["name", "one"], ["name", "one", "other"], ["name", "other"],
    ]  # fmt: skip


def test_seeds_are_part_of_the_configuration():
    found = diff(subject({}, seed=1, key="one"), subject({}, seed=2, key="two"))
    assert names(found.configuration) == ["seed", "replicate"]
    assert not found.is_same_trial


def test_environments_are_compared_by_their_leaves():
    one = {"packages": {"keras": "3.15", "numpy": "2.4"}, "gpus": [], "created_at": "a"}
    other = {"packages": {"keras": "3.16", "numpy": "2.4"}, "gpus": [], "created_at": "b"}
    found = diff(subject({}, environment=one), subject({}, environment=other))
    assert found.environment == (Change("packages.keras", "3.15", "3.16"),)
    assert found.equal["environment"] == 2


def test_the_same_key_is_the_same_trial():
    found = diff(subject({}, key="k"), subject({}, key="k"))
    assert found.is_same_trial
    assert "are the same trial" in text(found)


def test_best_epochs_of_every_metric():
    one = [
        EpochRow(1, e, {"val_loss": v, "val_accuracy": v}, 1.0) for e, v in enumerate((2, 1, 3), 1)
    ]
    other = [EpochRow(1, 1, {"val_loss": math.nan}, 1.0)]
    found = diff(subject({}, epochs=one), subject({}, epochs=other))
    loss, accuracy = found.curves
    assert (loss.one, loss.other) == ((1, 2), None)
    assert (accuracy.one, accuracy.other) == ((3, 3), None)


def test_nan_equals_nan():
    one, other = subject({}), subject({})
    rows = [dataclasses.replace(s.row, metrics={"loss": math.nan}) for s in (one, other)]
    found = diff(*(dataclasses.replace(one, row=row) for row in rows))
    assert found.result == ()


@pytest.mark.parametrize(
    "reference", ["grid", "grid/", "grid/x", "grid/-1", "grid/1.0", "/1", "grid/٣", "\x1b[31m/x"]
)
def test_what_names_no_trial_is_refused(reference, tmp_path: Path):
    fixed_ledger.make(tmp_path)
    with pytest.raises(InputError, match="names no trial") as error:
        read_subject(reference, tmp_path)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("number", ["0", "10", "9" * 400])
def test_a_number_without_a_trial_says_what_there_is(number, tmp_path: Path):
    fixed_ledger.make(tmp_path)
    with pytest.raises(InputError, match="a number from 1 to 9"):
        read_subject(f"grid/{number}", tmp_path)


def test_best_and_paths_are_understood(tmp_path: Path):
    folder = fixed_ledger.make(tmp_path)
    assert read_subject("grid/best", tmp_path).row.number == 2
    assert read_subject(f"{folder.path}/3", Path("elsewhere")).row.number == 3


def test_hostile_values_stay_text():
    found = diff(subject({"a\x1b": "\x1b[2J" + "x" * 200}), subject({"a\x1b": "\u202e"}))
    shown = text(found)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def text(found: Diff) -> str:
    return sheet.to_text(difference.sections(found), width=80)
