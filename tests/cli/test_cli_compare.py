"""`compare` and `diff`: what they print of the fixed run, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.report import fixed_ledger
from tuner.experiment.objective import Objective
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger

GOLDEN = Path(__file__).parent / "golden"
BY_DEPTH = ("compare", "grid", "--by", "depth")


def test_json_is_the_same_either_way(tuner_of_grid) -> None:
    one = tuner_of_grid(*BY_DEPTH, "--json")
    assert one.out == tuner_of_grid(*BY_DEPTH, "-f", "json").out
    document = json.loads(one.out)
    assert document["baseline"] == "20"
    assert document["sides"][1]["difference"]["told"] == "not decidable with 3 pairs"


def test_two_experiments_and_a_file(tuner_of_grid, results, tmp_path) -> None:
    fixed_ledger.make(results, "other")
    path = tmp_path / "out.md"
    said = tuner_of_grid("compare", "grid", "other", "-f", "markdown", "-o", path)
    assert (said.status, said.out) == (0, "")
    assert "| other | 6 | 6 | 0.2200" in path.read_text()


def test_experiments_of_one_name_are_told_apart_by_their_path(tuner_of_grid, results) -> None:
    shutil.copytree(results, results.parent / "copy")
    other = results.parent / "copy" / "grid"
    said = tuner_of_grid("compare", "grid", other, "--json")
    assert [side["side"] for side in json.loads(said.out)["sides"]] == ["grid", str(other)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "grid"], "nothing to be compared with"),
        (["compare", "grid", "grid"], "given twice"),
        (["compare", "grid", "gird"], "did you mean grid?"),
        (["compare", "grid", "--by", "dept"], "did you mean depth?"),
        ([*BY_DEPTH, "--baseline", "21"], "no side has this name"),
        ([*BY_DEPTH, "-f", "docx"], "there is no such format"),
        ([*BY_DEPTH, "--target", "nan"], "this is no score"),
        ([*BY_DEPTH, "-o", "absent/x"], "cannot write"),
        (["compare"], "NAME"),
        (["diff", "grid", "grid/1"], "tuner: "),
        (["diff", "grid/99", "grid/1"], "tuner: "),
        (["diff", "gird/1", "grid/1"], "tuner: "),
    ],
)
def test_what_is_refused(tuner_of_grid, arguments, message) -> None:
    said = tuner_of_grid(*arguments)
    assert (said.status, said.out) == (2, "")
    assert message in said.err


def test_different_objectives_are_named(tuner_of_grid, results) -> None:
    folder = fixed_ledger.make(results, "other")
    with Ledger.create_or_open(folder.ledger, "other") as ledger:
        ledger.set_objective(Objective("val_loss", "min"))
    said = tuner_of_grid("compare", "grid", "other")
    assert said.status == 2
    assert "val_accuracy (max) in grid, val_loss (min) in other" in said.err


def test_an_empty_experiment_is_compared(tuner_of_grid, results) -> None:
    empty = RunFolder(results, "empty")
    empty.prepare()
    Ledger.create_or_open(empty.ledger, "empty").close()
    said = tuner_of_grid("compare", "grid", "empty")
    assert said.status == 0
    assert "no trial of empty has a score" in said.out


def test_diff_with_a_trial_that_has_no_result_and_with_itself(tuner_of_grid) -> None:
    said = tuner_of_grid("diff", "grid/9", "grid/7")
    assert said.out == (GOLDEN / "diff-unequal.txt").read_text()
    assert "are the same trial" in tuner_of_grid("diff", "grid/2", "grid/best").out


def test_only_some_settings_and_another_metric(tuner_of_grid) -> None:
    """At rate 0.1 one trial of each depth; the smallest loss of an epoch counts, not the last."""
    said = tuner_of_grid(*BY_DEPTH, "--only", "learning_rate=1e-1", "--metric", "loss", "--json")
    document = json.loads(said.out)
    assert document["objective"] == {"metric": "loss", "direction": "min"}
    assert "Only trials with learning_rate 0.1." in document["notes"]
    assert [side["trials"] for side in document["sides"]] == [1, 1]
    every = json.loads(tuner_of_grid(*BY_DEPTH, "--json").out)
    assert sum(side["trials"] for side in every["sides"]) > 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "depth"], "NAME=VALUE"),
        (["--only", "dept=20"], "did you mean depth?"),
        (["--only", "depth=21"], "20 or 32"),
        (["--only", "depth=true"], "no trial has this value"),
        (["--metric", "los"], "did you mean loss?"),
    ],
)
def test_what_no_trial_has_is_refused(tuner_of_grid, arguments, message) -> None:
    said = tuner_of_grid(*BY_DEPTH, *arguments)
    assert (said.status, said.out) == (2, "")
    assert message in said.err
