from __future__ import annotations

import subprocess
import sys

import pytest

from tuner.errors import InputError
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report.results import open_results


def test_trials_have_one_row_each_and_the_columns_of_the_csv(folder: RunFolder) -> None:
    frame = open_results(folder.path).trials()
    assert list(frame["trial"]) == list(range(1, 10))
    assert frame.columns[0] == "trial"
    assert frame.columns[-1] == "reason"
    assert frame["model.depth"].tolist()[:4] == [20, 20, 20, 32]
    assert frame["score"].max() == 0.3


def test_epochs_have_one_row_each(folder: RunFolder) -> None:
    frame = open_results("grid", folder.results_dir).epochs()
    assert len(frame) == 3 * 5 + 2 + 2
    assert list(frame.columns[:2]) == ["trial", "epoch"]
    assert frame["val_accuracy"].isna().sum() == 1


def test_the_best_and_the_summary(folder: RunFolder) -> None:
    results = open_results(folder.path)
    best = results.best()
    assert best is not None
    assert best.number == 2
    assert "Best: trial 2" in results.summary


def test_an_empty_run_has_empty_frames(folder: RunFolder) -> None:
    folder.ledger.unlink()
    Ledger.create_or_open(folder.ledger, "grid").close()
    results = open_results(folder.path)
    assert results.best() is None
    assert len(results.trials()) == 0
    assert len(results.epochs()) == 0
    assert "No trial has a score" in results.summary


def test_a_missing_run_is_an_input_error(folder: RunFolder) -> None:
    with pytest.raises(InputError, match="did you mean grid"):
        open_results("gird", folder.results_dir)


def test_reading_results_imports_pandas_only_for_frames(folder: RunFolder) -> None:
    script = (
        "import sys; from tuner.report.results import open_results\n"
        "open_results(sys.argv[1]).summary\n"
        "bad = {'keras', 'tensorflow', 'jax', 'pandas', 'scipy', 'numpy'} & set(sys.modules)\n"
        "print(sorted(bad)); sys.exit(bool(bad))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder.path)], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
