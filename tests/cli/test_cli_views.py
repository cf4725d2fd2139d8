"""`report`, `status`, `show`: what they print of the fixed run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuner.ledger.folder import RunFolder

REPORT = Path(__file__).parents[1] / "report" / "golden"


def test_report_writes_files(tuner, results: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    said = tuner("report", "grid", "-f", "csv", "-o", path, "--results", results)
    assert (said.status, said.out) == (0, "")
    assert path.read_text() == (REPORT / "table.csv").read_text()


def test_report_to_a_place_that_cannot_be_written(tuner, results: Path, tmp_path: Path) -> None:
    said = tuner("report", "grid", "-o", tmp_path / "absent" / "x.txt", "--results", results)
    assert said.status == 2
    assert "cannot write" in said.err


@pytest.mark.parametrize("way", [["--json"], ["-f", "json"]])
def test_report_json_is_one_document_with_every_trial(tuner, results: Path, way: list[str]) -> None:
    said = tuner("report", "grid", *way, "--results", results)
    (experiment,) = json.loads(said.out)["experiments"]
    assert len(experiment["trials"]) == 9
    assert experiment["trials"][0]["rank"] == 1
    assert experiment["summary"]["marginals"][0]["name"] == "training.learning_rate"


def test_formats_that_are_not_there_are_refused(tuner, results: Path) -> None:
    said = tuner("report", "grid", "-f", "word", "--results", results)
    assert said.status == 2
    assert "table, csv, json, markdown, latex" in said.err


def test_report_html_is_a_file_in_the_folder_of_the_run(tuner, results: Path) -> None:
    said = tuner("report", "grid", "-f", "html", "--results", results)
    assert (said.status, said.out) == (0, "")
    page = (results / "grid" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "grid" in page


def test_report_groups_are_given_often_or_with_commas(tuner, results: Path) -> None:
    often = tuner(
        "report", "grid", "--group-by", "depth", "--group-by", "state", "--results", results
    )
    commas = tuner("report", "grid", "--group-by", "depth,state", "--results", results)
    assert often.out == commas.out
    assert "4 groups" not in often.out
    assert "3 groups of 6 ranked trials" in often.out


def test_report_json_has_the_groups_that_were_asked_for(tuner, results: Path) -> None:
    said = tuner("report", "grid", "--json", "--group-by", "depth", "--results", results)
    (experiment,) = json.loads(said.out)["experiments"]
    assert [group["n"] for group in experiment["groups"]] == [3, 3]
    assert len(experiment["trials"]) == 9


def test_report_of_a_part(tuner, results: Path) -> None:
    said = tuner(
        *("report", "grid", "--min", "score=0.2", "--max", "params=3e5"),
        *("-f", "csv", "--columns", "trial,score", "--results", results),
    )
    assert said.out == "trial,score\n2,0.3\n3,0.25\n"


def test_report_refuses_a_bound_that_is_none(tuner, results: Path) -> None:
    said = tuner("report", "grid", "--min", "score", "--results", results)
    assert said.status == 2
    assert "NAME=NUMBER" in said.err


def test_report_of_several_names(tuner, results: Path) -> None:
    for form, once in (("table", "grid: 6 ranked"), ("latex", r"\begin{table}")):
        said = tuner("report", "grid", "grid", "-f", form, "--results", results)
        assert said.out.count(once) == 2


def test_report_of_an_unknown_name_suggests_the_nearest(tuner, results: Path) -> None:
    said = tuner("report", "gird", "--results", results)
    assert said.status == 2
    assert "did you mean grid?" in said.err


def test_status_of_a_running_experiment(tuner, results: Path) -> None:
    with RunFolder(results, "grid").lock():
        said = tuner("status", "grid", "--results", results)
        document = json.loads(tuner("status", "--json", "--results", results).out)
    assert said.out.startswith("grid  running     8/10")
    assert document["experiments"][0]["state"] == "running"


def test_status_shows_a_damaged_ledger_and_goes_on(tuner, results: Path) -> None:
    bad = RunFolder(results, "bad")
    bad.prepare()
    bad.ledger.write_bytes(b"")
    said = tuner("status", "--results", results)
    assert said.status == 0
    first, second = said.out.splitlines()
    assert first.startswith("bad   unreadable")
    assert second.startswith("grid  incomplete")


def test_status_without_results(tuner, tmp_path: Path) -> None:
    said = tuner("status", "--results", tmp_path / "none")
    assert (said.status, said.out) == (0, "")
    assert "No results" in said.err


def test_show_prints_the_best_trial_at_80_columns(tuner, results: Path) -> None:
    said = tuner("show", "grid", "--results", results)
    assert said.status == 0
    head = said.out.split("\n\n")[0]
    assert head == "Trial 2: completed, val_accuracy 0.3000 in epoch 3"
    assert " * training.learning_rate  0.01" in said.out
    assert "val_accuracy 0.1000 → 0.3000" in said.out
    curves = said.out.split("Facts")[0]
    assert max(len(line) for line in curves.splitlines()) <= 80


def test_show_prints_a_failure_with_its_whole_reason(tuner, results: Path) -> None:
    said = tuner("show", "grid", "8", "--results", results)
    assert said.out.startswith("Trial 8: failed\nMemoryError: too large\nsecond line\n")


def test_show_survives_a_diverged_trial(tuner, results: Path) -> None:
    said = tuner("show", "grid", "7", "--results", results)
    assert "loss is nan in epoch 2" in said.out


def test_show_json_has_the_curves(tuner, results: Path) -> None:
    document = json.loads(tuner("show", "grid", "7", "--json", "--results", results).out)
    assert document["number"] == 7
    assert [epoch["metrics"]["val_accuracy"] for epoch in document["curves"]] == [0.01, None]


@pytest.mark.parametrize("trial", ["99", "0", "worst", "²"])
def test_show_of_a_trial_that_is_not_there(tuner, results: Path, trial: str) -> None:
    said = tuner("show", "grid", trial, "--results", results)
    assert said.status == 2
    assert "best, or a number from 1 to 9" in said.err
