"""What differs between two trials, and when they are one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from tests.report import fixed_ledger
from tests.report.rows import in_context, trial
from tuner.errors import InputError
from tuner.experiment.objective import Objective
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report import render
from tuner.report.diff import Change, ComparedTrial, Diff, diff, read_trial, sections, to_json


def subject(values: dict[str, Any], *, epochs=(), environment=None, **more: Any) -> ComparedTrial:
    return of_row(trial(1, 0.5, values, **more), epochs, environment)


def of_row(row: TrialRow, epochs=(), environment=None) -> ComparedTrial:
    return ComparedTrial("x", row, tuple(epochs), environment or {}, Objective())


def test_two_folders_of_one_name_are_told_apart():
    one, other = (
        dataclasses.replace(subject({}), folder=path) for path in ("/r/mine/x", "/r/theirs/x")
    )
    assert text(diff(one, other)).startswith("mine/x/1 and theirs/x/1 are the same trial")
    assert text(diff(one, one)).startswith("x/1 and x/1 are the same trial")


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
    assert [sorted(change) for change in to_json(found)["configuration"]] == [
        ["name", "one"], ["name", "one", "other"], ["name", "other"],
    ]  # fmt: skip


def test_the_data_that_differ_are_named_and_the_rest_counted():
    one = in_context(trial(1, 0.5, {}))
    other = in_context(trial(2, 0.4, {}), dataset="cifar100", fingerprint="f100")
    found = diff(of_row(one), of_row(other))
    assert found.context == (
        Change("data.dataset", "cifar10", "cifar100"),
        Change("data.fingerprint", "f10", "f100"),
    )
    assert (found.configuration, found.equal["context"]) == ((), 3)
    assert to_json(found)["context"][0] == {
        "name": "data.dataset", "one": "cifar10", "other": "cifar100",
    }  # fmt: skip
    assert text(found).split("\n\n")[2].splitlines()[0] == "Data and surroundings"
    assert "cifar10" in text(found)


def test_what_an_older_ledger_does_not_say_is_not_called_equal():
    older, newer = of_row(trial(1, 0.5, {})), of_row(in_context(trial(2, 0.5, {})))
    assert "Data and surroundings" not in text(diff(older, older))
    assert diff(older, newer).context[0] == Change("data.dataset", None, "cifar10", (False, True))
    assert "x/1: not recorded; an older tuner trained it." in text(diff(older, newer))


def test_another_objective_is_named():
    one = of_row(trial(1, 0.5, {}))
    other = dataclasses.replace(one, objective=Objective("val_loss", "min"))
    assert Change("objective", "val_accuracy (max)", "val_loss (min)") in diff(one, other).result


def test_seeds_are_part_of_the_configuration_and_keys_tell_trials_apart():
    found = diff(subject({}, seed=1, key="one"), subject({}, seed=2, key="two"))
    assert found.configuration == (Change("seed", 1, 2), Change("replicate", 1, 2))
    assert not found.is_same_trial
    same = diff(subject({}, key="k"), subject({}, key="k"))
    assert same.is_same_trial
    assert "are the same trial" in text(same)


def test_environments_are_compared_by_their_leaves():
    one = {"packages": {"keras": "3.15", "numpy": "2.4"}, "gpus": [], "created_at": "a"}
    other = {"packages": {"keras": "3.16", "numpy": "2.4"}, "gpus": [], "created_at": "b"}
    found = diff(subject({}, environment=one), subject({}, environment=other))
    assert found.environment == (Change("packages.keras", "3.15", "3.16"),)
    assert found.equal["environment"] == 2


def test_best_epochs_of_every_metric():
    one = [
        EpochRow(1, e, {"val_loss": v, "val_accuracy": v}, 1.0) for e, v in enumerate((2, 1, 3), 1)
    ]
    other = [EpochRow(1, 1, {"val_loss": math.nan}, 1.0)]
    found = diff(subject({}, epochs=one), subject({}, epochs=other))
    loss, accuracy = found.curves
    assert (loss.one, loss.other) == ((1, 2), None)
    assert (accuracy.one, accuracy.other) == ((3, 3), None)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        *((r, "names no trial") for r in ("grid", "grid/", "grid/-1", "/1", "g/٣", "\x1b[31m/x")),
        *((f"grid/{n}", "a number from 1 to 9") for n in ("0", "10", "9" * 400)),
    ],
)
def test_what_is_no_trial_is_refused(reference, message, tmp_path: Path):
    fixed_ledger.make(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        read_trial(reference, tmp_path)
    assert "\x1b" not in str(error.value)


def test_best_and_paths_are_understood(tmp_path: Path):
    folder = fixed_ledger.make(tmp_path)
    assert read_trial("grid/best", tmp_path).row.number == 2
    assert read_trial(f"{folder.path}/3", Path("elsewhere")).row.number == 3


def test_hostile_values_stay_text():
    found = diff(subject({"a\x1b": "\x1b[2J" + "x" * 200}), subject({"a\x1b": "\u202e"}))
    shown = text(found)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def text(found: Diff) -> str:
    return render.to_text(*sections(found), width=80)


def test_trials_of_an_older_tuner_that_differ_in_nothing_recorded_are_said_to() -> None:
    one, other = (of_row(trial(1, 0.5, {"a": 1}, key=key)) for key in ("k1", "k2"))
    told = render.to_text(*sections(diff(one, other)), width=80)
    assert "older tuner did not record which" in " ".join(told.split())
