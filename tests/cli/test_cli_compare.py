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


def test_json_is_the_same_either_way(tuner, results: Path) -> None:
    one = tuner(*BY_DEPTH, "--json", "--results", results)
    assert one.out == tuner(*BY_DEPTH, "-f", "json", "--results", results).out
    document = json.loads(one.out)
    assert document["baseline"] == "20"
    assert document["sides"][1]["difference"]["told"] == "not decidable with 3 pairs"


def test_two_experiments_and_a_file(tuner, results: Path, tmp_path: Path) -> None:
    fixed_ledger.make(results, "other")
    path = tmp_path / "out.md"
    said = tuner("compare", "grid", "other", "-f", "markdown", "-o", path, "--results", results)
    assert (said.status, said.out) == (0, "")
    assert "| other | 6 | 6 | 0.2200" in path.read_text()


def test_experiments_of_one_name_are_told_apart_by_their_path(tuner, results: Path) -> None:
    shutil.copytree(results, results.parent / "copy")
    other = results.parent / "copy" / "grid"
    said = tuner("compare", "grid", other, "--json", "--results", results)
    assert [side["side"] for side in json.loads(said.out)["sides"]] == ["grid", str(other)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grid"], "nothing to be compared with"),
        (["grid", "grid"], "given twice"),
        (["grid", "gird"], "did you mean grid?"),
        (["grid", "--by", "dept"], "did you mean depth?"),
        (["grid", "--by", "depth", "--baseline", "21"], "no side has this name"),
        (["grid", "--by", "depth", "-f", "docx"], "there is no such format"),
        (["grid", "--by", "depth", "--target", "nan"], "this is no score"),
        (["grid", "--by", "depth", "-o", "absent/x"], "cannot write"),
        ([], "NAME"),
    ],
)
def test_what_compare_refuses(tuner, results: Path, arguments: list[str], message: str) -> None:
    said = tuner("compare", *arguments, "--results", results)
    assert said.status == 2
    assert message in said.err
    assert said.out == ""


def test_different_objectives_are_named(tuner, results: Path) -> None:
    folder = fixed_ledger.make(results, "other")
    with Ledger.create_or_open(folder.ledger, "other") as ledger:
        ledger.set_objective(Objective("val_loss", "min"))
    said = tuner("compare", "grid", "other", "--results", results)
    assert said.status == 2
    assert "val_accuracy (max) in grid, val_loss (min) in other" in said.err


def test_an_empty_experiment_is_compared(tuner, results: Path) -> None:
    empty = RunFolder(results, "empty")
    empty.prepare()
    Ledger.create_or_open(empty.ledger, "empty").close()
    said = tuner("compare", "grid", "empty", "--results", results)
    assert said.status == 0
    assert "no trial of empty has a score" in said.out


def test_diff_with_a_trial_that_has_no_result(tuner, results: Path) -> None:
    said = tuner("diff", "grid/9", "grid/7", "--results", results)
    assert said.out == (GOLDEN / "diff-unequal.txt").read_text()


def test_diff_as_json(tuner, results: Path) -> None:
    said = tuner("diff", "grid/1", "grid/6", "--json", "--results", results)
    document = json.loads(said.out)
    assert [change["name"] for change in document["configuration"]] == [
        "model.depth",
        "training.learning_rate",
    ]
    assert document["same_trial"] is False


def test_diff_of_a_trial_with_itself(tuner, results: Path) -> None:
    said = tuner("diff", "grid/2", "grid/best", "--results", results)
    assert "are the same trial" in said.out


@pytest.mark.parametrize("reference", ["grid", "grid/99", "gird/1"])
def test_diff_refuses_what_is_no_trial(tuner, results: Path, reference: str) -> None:
    said = tuner("diff", reference, "grid/1", "--results", results)
    assert said.status == 2
    assert said.err.startswith("tuner: ")
