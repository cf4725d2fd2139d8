"""`report`, `status`, `show`: what they print of the fixed run beside the golden texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuner.ledger.folder import RunFolder

GOLDEN = Path(__file__).parents[1] / "golden" / "texts"


def test_report_writes_files(tuner_of_grid, tmp_path) -> None:
    path = tmp_path / "out.csv"
    said = tuner_of_grid("report", "grid", "-f", "csv", "-o", path)
    assert (said.status, said.out) == (0, "")
    assert path.read_text() == (GOLDEN / "report-csv.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "grid", "-o", "absent/x.txt"], "cannot write"),
        (["report", "grid", "-f", "word"], "table, csv, json, markdown, latex"),
        (["report", "grid", "--min", "score"], "NAME=NUMBER"),
        (["report", "gird"], "did you mean grid?"),
        *(
            (["show", "grid", n], "best, or a number from 1 to 9")
            for n in ("99", "0", "worst", "²")
        ),
        (["show", "grid", "--follow", "--json"], "--json"),
    ],
)
def test_what_is_refused(tuner_of_grid, arguments, message) -> None:
    said = tuner_of_grid(*arguments)
    assert (said.status, said.out) == (2, "")
    assert message in said.err


@pytest.mark.parametrize("command", [["report", "grid"], ["compare", "grid", "grid"]])
def test_no_output_is_written_over_an_experiment_or_what_a_run_keeps(
    tuner_of_grid, results, tmp_path, command
) -> None:
    experiment = tmp_path / "mine.txt"
    experiment.write_text("name: mine\nmodel: {family: mlp}\n")
    notes = tmp_path / "notes.yaml"
    notes.write_text("- anything\n")
    link = tmp_path / "link.csv"
    link.symlink_to(results / "grid" / "ledger.sqlite")
    (results / "grid" / "logs").mkdir(exist_ok=True)
    kept = [results / "grid" / name for name in ("ledger.sqlite", "ledger.backup.sqlite")]
    for path in (experiment, notes, link, *kept, results / "grid" / "logs" / "worker-0.log"):
        before = path.read_bytes() if path.exists() else None
        said = tuner_of_grid(*command, "-f", "markdown", "-o", path)
        assert said.status == 2 and "is not written over" in said.err
        assert (path.read_bytes() if path.exists() else None) == before
    for path in (tmp_path / "new.yaml.md", results / "grid" / "table.md", tmp_path / "new.yaml.md"):
        assert tuner_of_grid("report", "grid", "-f", "markdown", "-o", path).status == 0


def test_report_html_is_a_file_in_the_folder_of_the_run(tuner_of_grid, results) -> None:
    said = tuner_of_grid("report", "grid", "-f", "html")
    assert (said.status, said.out) == (0, "")
    page = (results / "grid" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "grid" in page


def test_report_groups_are_given_often_or_with_commas(tuner_of_grid) -> None:
    often = tuner_of_grid("report", "grid", "--group-by", "depth", "--group-by", "state")
    commas = tuner_of_grid("report", "grid", "--group-by", "depth,state")
    assert often.out == commas.out
    assert "3 groups of 6 ranked trials" in often.out


@pytest.mark.parametrize("way", [["--json"], ["-f", "json"]])
def test_report_json_has_every_trial_and_the_groups_asked_for(tuner_of_grid, way) -> None:
    said = tuner_of_grid("report", "grid", *way, "--group-by", "depth")
    (experiment,) = json.loads(said.out)["experiments"]
    assert [group["n"] for group in experiment["groups"]] == [3, 3]
    assert len(experiment["trials"]) == 9


def test_report_of_a_part(tuner_of_grid) -> None:
    part = ("--min", "score=0.2", "--max", "params=3e5")
    said = tuner_of_grid("report", "grid", *part, "-f", "csv", "--columns", "trial,score")
    assert said.out == "trial,score\n2,0.3\n3,0.25\n"


def test_report_of_several_names(tuner_of_grid) -> None:
    for form, once in (("table", "grid: 6 ranked"), ("latex", r"\begin{table}")):
        assert tuner_of_grid("report", "grid", "grid", "-f", form).out.count(once) == 2


def test_status_of_a_running_experiment(tuner_of_grid, results) -> None:
    with RunFolder(results, "grid").lock():
        said = tuner_of_grid("status", "grid")
        document = json.loads(tuner_of_grid("status", "--json").out)
    assert said.out.startswith("grid  running     8/10")
    assert document["experiments"][0]["state"] == "running"


def test_status_shows_a_damaged_ledger_and_goes_on(tuner_of_grid, results) -> None:
    bad = RunFolder(results, "bad")
    bad.prepare()
    bad.ledger.write_bytes(b"")
    said = tuner_of_grid("status")
    assert said.status == 0
    first, second = said.out.splitlines()
    assert first.startswith("bad   unreadable")
    assert second.startswith("grid  incomplete")


def test_status_without_results(tuner, tmp_path) -> None:
    said = tuner("status", "--results", tmp_path / "none")
    assert (said.status, said.out) == (0, "")
    assert "No results" in said.err


def test_show_prints_the_best_trial_at_80_columns(tuner_of_grid) -> None:
    said = tuner_of_grid("show", "grid")
    assert said.status == 0
    head = said.out.split("\n\n")[0]
    assert head == "Trial 2: completed, val_accuracy 0.3000 in epoch 3"
    assert " * training.learning_rate  0.01" in said.out
    assert "val_accuracy 0.1000 → 0.3000" in said.out
    curves = said.out.split("Facts")[0]
    assert max(len(line) for line in curves.splitlines()) <= 80


def test_show_of_a_failed_and_of_a_diverged_trial(tuner_of_grid) -> None:
    said = tuner_of_grid("show", "grid", "8")
    assert said.out.startswith("Trial 8: failed\nMemoryError: too large\nsecond line\n")
    assert "loss is nan in epoch 2" in tuner_of_grid("show", "grid", "7").out
    document = json.loads(tuner_of_grid("show", "grid", "7", "--json").out)
    assert document["number"] == 7
    assert [epoch["metrics"]["val_accuracy"] for epoch in document["curves"]] == [0.01, None]
