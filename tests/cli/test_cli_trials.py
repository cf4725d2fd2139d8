"""Trials by their names in every command that takes one, and what is said of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import fixed_ledger
from tuner.actions.plan import planned_trials
from tuner.cli import status
from tuner.experiment.experiment import load_experiment
from tuner.experiment.trial import TrialState
from tuner.ledger import logs
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import SEVERAL, NewTrial, Outcome
from tuner.report.status import Status

LOG = f"""\
{logs.STARTED}
imports
{logs.begins(1, 1)}
of one\t\x1b[2J
{logs.ends(1)}
between
{logs.begins(2, 1)}
killed
{logs.STARTED}
{logs.begins(2, 2)}
of two
{logs.ends(2)}
"""


@pytest.fixture
def logged(results: Path) -> Path:
    folder = results / "grid" / "logs"
    (folder / "worker-1.log").write_text(LOG)
    (folder / "worker-10.log").write_text("ten\n")
    (folder / "worker-2.log").write_text(f"{logs.begins(3, 1)}\nof three\n")
    return results


@pytest.mark.parametrize("named", [("grid/3",), ("grid", "3")])
@pytest.mark.parametrize("command", ["show", "logs"])
def test_a_trial_is_named_in_one_word_or_two(tuner_of_grid, logged, command, named):
    said = tuner_of_grid(command, *named)
    assert said.status == 0
    assert said.out.startswith({"show": "Trial 3: completed", "logs": "--- worker-2\n"}[command])


def test_best_and_paths_are_understood(tuner, tuner_of_grid, results):
    shown = tuner_of_grid("show", "grid/best").out
    assert shown == tuner_of_grid("show", "grid").out
    assert shown == tuner("show", results / "grid" / "best").out


@pytest.mark.parametrize("command", ["show", "logs", "export"])
@pytest.mark.parametrize(
    ("named", "message"),
    [
        (("grid/3", "4"), "a trial is named twice"),
        (("grid/10",), "a number from 1 to 9"),
        (("gird/3",), "did you mean grid?"),
        (("grid/three",), "no results of this name"),
        (("grid", "three"), "a number from 1 to 9"),
    ],
)
def test_what_is_no_trial_is_refused(tuner_of_grid, command, named, message):
    said = tuner_of_grid(command, *named)
    assert (said.status, said.out) == (2, "")
    assert message in said.err


@pytest.mark.parametrize("command", ["report", "status", "compare"])
def test_where_an_experiment_is_wanted_a_trial_is_told_apart(tuner_of_grid, command):
    said = tuner_of_grid(command, "grid/3")
    assert said.status == 2
    assert "this names a trial" in said.err
    assert "grid, or tuner show grid/3" in said.err


def test_an_experiment_whose_name_is_a_number_is_no_trial(tuner, results):
    fixed_ledger.make(results / "grid", "3")
    shown = tuner("show", "grid/3", "--results", results).out
    assert shown.startswith("Trial 2: completed")  # the best of grid/3


def test_the_log_of_a_trial_is_what_was_printed_while_it_was_trained(tuner_of_grid, logged):
    assert tuner_of_grid("logs", "grid", "1").out.splitlines() == [
        "--- worker-1",
        logs.begins(1, 1),
        "of one\t\N{REPLACEMENT CHARACTER}[2J",
        logs.ends(1),
    ]
    two = tuner_of_grid("logs", "grid/2").out
    assert "killed" in two
    assert "of two" in two
    assert "between" not in two
    whole = tuner_of_grid("logs", "grid").out.splitlines()
    assert [line for line in whole if line.startswith("--- ")] == [
        "--- worker-1",
        "--- worker-2",
        "--- worker-10",
    ]
    assert {"imports", "between", "ten"} <= set(whole)


def test_a_log_that_has_nothing_of_a_trial_says_so(tuner_of_grid, results):
    assert "no log is in" in tuner_of_grid("logs", "grid").err
    (results / "grid" / "logs" / "worker-1.log").write_text("from long ago\n")
    assert "did not note which trial printed what" in tuner_of_grid("logs", "grid/1").err


def test_retry_with_nothing_to_do_says_so_and_starts_nothing(tuner, tmp_path, monkeypatch):
    folder = fixed_ledger.make(tmp_path)
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.retry([TrialState.FAILED, TrialState.DIVERGED])
        for row in ledger.rows([TrialState.WAITING]):
            ledger.start(row.number, 1)
            ledger.finish(row.number, Outcome(TrialState.COMPLETED))
        ledger.begin_run(total=9, done=9, workers=1)
    monkeypatch.setattr("tuner.cli.retry.run_with", lambda *_, **__: pytest.fail("it ran"))
    said = tuner("retry", "grid", "--results", tmp_path)
    assert (said.status, said.out) == (0, "")
    assert said.err == (
        "grid: nothing to do: none of 9 trials failed or diverged; --stopped continues "
        "the 1 that a rule has stopped\n"
    )


def test_report_names_every_format_that_it_has(tuner_of_grid):
    said = tuner_of_grid("report", "grid", "-f", "excel")
    helped = " ".join(tuner_of_grid("report", "--help").out.split())
    for name in ("table", "csv", "json", "markdown", "latex", "html", "optuna"):
        assert name in said.err
        assert name in helped


def test_status_watch_says_what_has_changed(tuner_of_grid, monkeypatch):
    statuses = [*([Status("grid", "running", done=n, total=9)] for n in (1, 1, 2))]

    def looks(look):
        assert look()[0].name == "grid"
        yield from statuses
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "_looks", looks)
    said = tuner_of_grid("status", "--watch")
    assert said.status == 130
    assert [line.split()[2] for line in said.out.splitlines()] == ["1/9", "2/9"]
    assert "cannot grow" in tuner_of_grid("status", "--watch", "--json").err


def test_a_listed_plan_has_the_numbers_of_trials_and_no_others(tuner, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "data: {dataset: synthetic, train_images: 500, validation: 100}\n"
        "model: {family: resnet, depth: {choice: [8, 14]}}\n"
    )
    second = list(planned_trials(load_experiment(path), data_dir=None))[1]
    folder = RunFolder(tmp_path, "tiny")
    folder.prepare()
    with Ledger.create_or_open(folder.ledger, "tiny") as ledger:
        ledger.add([NewTrial(second.key, {}, {}, 0, 0, "s")])
    lines = tuner("plan", path, "--list", "--results", tmp_path).out.splitlines()[-2:]
    assert lines == ["              to run     depth 8", "     trial 1  waiting    depth 14"]


def test_a_trial_is_shown_with_the_threads_that_trained_it(tuner_of_grid, results):
    path = results / "grid" / "ledger.sqlite"
    shown = {1: "1, attempt 1, 1 thread", 4: "1, attempt 1, 4 threads"}
    shown[SEVERAL] = "1, attempt 1, several threads"
    for threads, text in shown.items():
        with Ledger.create_or_open(path, "grid") as ledger:
            ledger._update(2, threads=threads)
        assert f"worker         {text}" in tuner_of_grid("show", "grid", "2").out
