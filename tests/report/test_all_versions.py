"""Trials of earlier versions of an experiment: shown when asked for, apart, and in no ranking."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.execution.conftest import Bench, good
from tests.execution.test_current import EDITED, GRID
from tuner.cli import main
from tuner.report.results import open_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Six trials, and after an edit of `validation` six others with the same curves."""
    bench = Bench(tmp_path / "grid")
    bench.folder.mkdir()
    bench.run(good, GRID)
    bench.run(good, EDITED)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main.run([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_python_gives_current_trials_unless_asked(results: Path) -> None:
    opened = open_results(results / "grid")
    assert list(opened.trials()["trial"]) == [7, 8, 9, 10, 11, 12]
    assert set(opened.epochs()["trial"]) == set(range(7, 13))
    best = opened.best()
    assert best is not None and best.number == 12  # trial 6 has the same score, and is earlier
    everything = opened.trials(all_versions=True)
    assert list(everything["is_current"]) == [False] * 6 + [True] * 6
    assert list(everything["data.validation"]) == [100] * 6 + [200] * 6
    assert set(opened.epochs(all_versions=True)["trial"]) == set(range(1, 13))


def test_a_report_ranks_current_trials_and_lists_the_others_apart(results: Path, capsys) -> None:
    for form in ("table", "markdown", "latex"):
        typed = ("report", "grid", "-f", form, "--results", results)
        alone, both = said(capsys, *typed), said(capsys, *typed, "--all-versions")
        assert "of earlier versions" not in alone
        ranked, apart = both.split("of earlier versions")
        assert "6 ranked trials" in ranked
        assert "validation" not in ranked and "validation" in apart
        assert "not ranked" in apart


def test_programs_can_tell_them_apart(results: Path, capsys) -> None:
    text = said(capsys, "report", "grid", "-f", "csv", "--all-versions", "--results", results)
    lines = list(csv.DictReader(io.StringIO(text)))
    apart = {line["data.validation"] for line in lines if line["is_current"] == "false"}
    assert len(lines) == 12 and apart == {"100"}
    text = said(capsys, "report", "grid", "--json", "--all-versions", "--results", results)
    (document,) = json.loads(text)["experiments"]
    assert [trial["trial"] for trial in document["superseded"]] == [1, 2, 3, 4, 5, 6]
    assert {trial["rank"] for trial in document["superseded"]} == {None}
    assert len(document["trials"]) == 6


def test_a_page_has_a_section_for_them(results: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "page.html"
    typed = ("report", "grid", "-f", "html", "-o", path, "--results", results)
    said(capsys, *typed)
    assert "Earlier versions" not in path.read_text("utf-8")
    said(capsys, *typed, "--all-versions")
    page = path.read_text("utf-8")
    assert "Earlier versions" in page and "6 trials" in page


def test_a_study_of_optuna_has_one_ranking(results: Path, tmp_path: Path, capsys) -> None:
    typed = ("-f", "optuna", "-o", str(tmp_path / "s.db"), "--results", str(results))
    assert main.run(["report", "grid", "--all-versions", *typed]) == 2
    assert "one ranking" in capsys.readouterr().err


def test_views_say_when_a_trial_counts_no_more(results: Path, capsys) -> None:
    assert "earlier version" in said(capsys, "show", "grid", "1", "--results", results)
    assert "earlier version" not in said(capsys, "show", "grid", "7", "--results", results)
    status = said(capsys, "status", "grid", "--all-versions", "--results", results)
    assert "6/?" in status and "6 of earlier versions" in status
    assert "earlier" not in said(capsys, "status", "grid", "--results", results)


def test_a_diff_names_what_differs_beside_the_configuration(results: Path, capsys) -> None:
    text = said(capsys, "diff", "grid/1", "grid/7", "--results", results)
    assert "data.validation" in text


def test_a_trial_that_is_not_there_is_told_the_numbers_of_all_versions(
    results: Path, capsys
) -> None:
    for typed in (["show", "grid", "99"], ["diff", "grid/99", "grid/1"]):
        assert main.run([*typed, "--results", str(results)]) == 2
        assert "from 1 to 12" in capsys.readouterr().err


def test_planned_and_trained_epochs_have_different_names(tmp_path: Path, capsys) -> None:
    bench = Bench(tmp_path / "grid")
    bench.folder.mkdir()
    bench.run(good, GRID.replace("epochs: 4", "epochs: {choice: [2, 3]}"))
    text = said(capsys, "report", "grid", "--results", tmp_path)
    heads = next(line for line in text.splitlines() if line.startswith("trial ")).split()
    assert len(heads) == len(set(heads))
    assert "training.epochs" in text
