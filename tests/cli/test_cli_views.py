"""`report`, `status`, `show`: what they print of the fixed run beside the golden texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tuner.cli.show import curve_lines
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow
from tuner.ledger.workers import WorkerRecord

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


def test_status_shows_who_does_what_where_there_are_several(tuner_of_grid, results) -> None:
    folder = RunFolder(results, "grid")
    workers = [
        WorkerRecord(1, "node-a", "CPU", True, 9, 2, 3, 100.0, 97.0, 5, 0),
        WorkerRecord(2, "node-b", "CPU", True, None, 0, 0, 100.0, 80.0, 4, 1),
        WorkerRecord(3, "node-b", "CPU", is_ready=False, losses=2),
    ]
    with folder.lock():
        with Ledger.create_or_open(folder.ledger, "grid") as ledger:
            ledger.keep_workers(workers[:1])
        alone = tuner_of_grid("status", "grid").out
        with Ledger.create_or_open(folder.ledger, "grid") as ledger:
            ledger.keep_workers(workers)
        said = tuner_of_grid("status", "grid").out.splitlines()
        everywhere = tuner_of_grid("status").out.splitlines()
        document = json.loads(tuner_of_grid("status", "--json").out)["experiments"][0]
        with Ledger.create_or_open(folder.ledger, "grid") as ledger:
            many = [replace(workers[n % 2], worker=n) for n in range(1, 41)]
            ledger.keep_workers(many)
        by_node = tuner_of_grid("status", "grid").out.splitlines()
    assert "node-a" in alone
    assert len(everywhere) == 1
    assert [" ".join(line.split()) for line in said[4:]] == [
        "1 node-a CPU trial 9, epoch 2/3 97% 3.00s 5 –",
        "2 node-b CPU idle 80% 20.0s 4 1",
        "3 node-b CPU starting – 0.00s 0 2",
    ]
    assert [" ".join(line.split()) for line in by_node[4:]] == [
        "node-a 20 20 0 0 97% 1m 00s 100 –",
        "node-b 20 0 20 0 80% 6m 40s 80 20",
    ]
    first = document["workers"][0]
    assert (first["does"], first["trial"], first["idle_seconds"]) == ("training", 9, 3.0)
    assert [worker["utilization"] for worker in document["workers"]] == [0.97, 0.8, None]
    assert len(tuner_of_grid("status", "grid").out.splitlines()) == 1  # it has ended


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


def test_five_best_of_five_classes_are_no_curve():
    """They are 1 for every network."""
    same = {"top5_accuracy": 1.0, "val_top5_accuracy": 1.0}
    rows = [
        EpochRow(1, epoch, {"accuracy": epoch / 4, "val_accuracy": epoch / 5, **same}, 1.0)
        for epoch in (1, 2)
    ]
    assert not any("top5" in line for line in curve_lines(rows, 80))
    known = [replace(rows[0], metrics={**rows[0].metrics, "top5_accuracy": 0.9}), rows[1]]
    assert any("top5_accuracy 0.9000 → 1.0000" in line for line in curve_lines(known, 80))
