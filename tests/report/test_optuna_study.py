"""Optuna's own readers see what the ledger has."""

from __future__ import annotations

import math
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.report import fixed_ledger
from tuner.cli import main
from tuner.errors import InputError
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report.open_values import Extent, Spread, experiment_tree, spreads_of
from tuner.report.optuna_study import write_studies

EXPERIMENT = """
model: {family: resnet, depth: {choice: [20, 32, 44]}}
training: {epochs: 3, learning_rate: {min: 0.001, max: 1.0, scale: log, count: 4}}
"""


@pytest.fixture(scope="module")
def optuna():
    return pytest.importorskip("optuna", reason="the extra optuna is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    folder = fixed_ledger.make(tmp_path_factory.mktemp("results"))
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.keep_experiment(EXPERIMENT)
    return folder


@pytest.fixture(scope="module")
def path(optuna, run) -> Path:
    """A file with the study."""
    path = run.path / "study.db"
    assert write_studies([run], path) == 1
    return path


def load(optuna, path: Path):
    return optuna.load_study(study_name="grid", storage=f"sqlite:///{path}")


def rows_of(folder: RunFolder):
    with Ledger.open_read_only(folder.ledger) as ledger:
        ended = [row for row in ledger.rows() if row.finished_at]
        return [(row, ledger.epochs(row.number)) for row in ended]


def test_every_ended_trial_is_there_as_it_is_in_the_ledger(optuna, run, path) -> None:
    study = load(optuna, path)
    assert study.direction.name == "MAXIMIZE"
    assert study.metric_names == ["val_accuracy"]
    states = [trial.state.name for trial in study.trials]
    assert states == [*["COMPLETE"] * 5, "PRUNED", "FAIL", "FAIL"]
    assert study.best_trial.user_attrs["trial"] == 2
    for trial, (row, epochs) in zip(study.trials, rows_of(run), strict=True):
        assert (trial.value, trial.params) == (row.score, row.values)
        expected = {e.epoch: pytest.approx(e.metrics["val_accuracy"], nan_ok=True) for e in epochs}
        assert trial.intermediate_values == expected
        assert trial.datetime_complete is not None
        assert trial.datetime_complete.astimezone(UTC) == datetime.fromisoformat(row.finished_at)
        assert trial.user_attrs["seed"] == row.seed
        assert trial.user_attrs["state"] == row.state.value


def test_distributions_are_those_of_the_experiment_and_hold_what_was_tried(optuna, path) -> None:
    found = load(optuna, path).trials[0].distributions
    assert found["model.depth"].choices == (20, 32, 44)
    rate = found["training.learning_rate"]
    assert (rate.low, rate.high, rate.log) == (0.001, 1.0, True)


def test_without_the_experiment_what_was_tried_is_a_choice(optuna, tmp_path) -> None:
    path = tmp_path / "study.db"
    write_studies([fixed_ledger.make(tmp_path / "results")], path)
    found = load(optuna, path).trials[0].distributions["training.learning_rate"]
    assert found.choices == (0.001, 0.01, 0.1, 1.0)


def test_optuna_can_analyse_and_continue_it(optuna, path, tmp_path) -> None:
    study = load(optuna, Path(shutil.copy(path, tmp_path)))
    frame = study.trials_dataframe()
    assert len(frame) == 8
    assert "params_training.learning_rate" in frame
    trial = study.ask()
    assert 0.001 <= trial.suggest_float("training.learning_rate", 0.001, 1.0, log=True) <= 1.0


def test_it_is_written_again_over_itself_and_over_nothing_else(optuna, run, path, tmp_path) -> None:
    again = Path(shutil.copy(path, tmp_path))
    write_studies([run], again)
    assert len(load(optuna, again).trials) == 8
    other, text = tmp_path / "other.db", tmp_path / "notes.txt"
    optuna.create_study(storage=f"sqlite:///{other}", study_name="mine")
    text.write_text("mine")
    for theirs in (other, text):
        before = theirs.read_bytes()
        with pytest.raises(InputError):
            write_studies([run], theirs)
        assert theirs.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"notes.txt", "other.db", "study.db"}


def test_the_command_needs_a_file_and_says_what_it_left_out(optuna, run, tmp_path, capsys) -> None:
    place = ["--results", str(run.results_dir)]
    assert main.run(["report", "grid", "-f", "optuna", *place]) == 2
    assert "-o study.db" in capsys.readouterr().err
    path = tmp_path / "study.db"
    assert main.run(["report", "grid", "-f", "optuna", "-o", str(path), *place]) == 0
    assert "left out: 1 trial that" in capsys.readouterr().err
    assert path.is_file()


def test_without_optuna_the_error_says_what_to_install(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'convtuner\[optuna\]'"):
        write_studies([run], tmp_path / "study.db")


def test_spreads_are_read_from_every_branch() -> None:
    text = """
    model:
      choice:
        - {family: resnet, depth: {choice: [20, 56]}}
        - {family: densenet, depth: {min: 40, max: 100, step: 6}}
    training: {optimizer: {choice: [adam, sgd]}, learning_rate: {min: 1e-4, max: 1, scale: log}}
    """
    found = spreads_of(experiment_tree(text))
    assert found["model.depth"] == Spread([Extent(40, 100)], [20, 56])
    assert found["training.learning_rate"] == Spread([Extent(1e-4, 1, "log")])
    assert found["training.optimizer"].options == ["adam", "sgd"]
    assert experiment_tree("") == experiment_tree("a: [") == {}
    assert math.isclose(found["training.learning_rate"].ranges[0].minimum, 1e-4)
