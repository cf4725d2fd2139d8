"""How a process starts in which a person's code runs."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import pytest

from tuner.code.process import (
    no_garbage_search,
    plain_environment,
    python_command,
    recorded_variables,
    searched_folders,
)
from tuner.code.start import PACKAGE

NAMES = ("random", "logging", "json", "typing", "pathlib", "tuner", "click", "yaml", "tempfile")


def test_no_file_beside_an_experiment_is_run_in_place_of_another(tmp_path):
    """Not in the process of a network, and none but `tuner.py` by `python -m tuner`."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open('executed', 'a').write('{name} ')\n")
    question = json.dumps({"ask": "declare"}) + "\n"
    command = python_command("tuner.models.own.server", "logging:build")
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        command, input=question, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem["what"] == "logging is the name of a module of Python itself"
    (tmp_path / "tuner.py").unlink()
    environment["PYTHONPATH"] = str(PACKAGE.parent)
    module = [sys.executable, "-m", "tuner", "--help"]
    subprocess.run(module, capture_output=True, cwd=tmp_path, env=environment, check=True)
    assert not (tmp_path / "executed").exists()


def test_the_folders_of_this_process_are_searched_and_last_the_present_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "mine"), *sys.path])
    monkeypatch.chdir(tmp_path)
    folders = searched_folders()
    assert folders[:2] == [str(tmp_path), str(tmp_path / "mine")]
    assert folders.count(str(tmp_path)) == 1


def test_variables_that_would_change_what_a_trial_gives_are_set_or_gone():
    given = {
        "JAX_ENABLE_X64": "1",
        "KERAS_MAX_EPOCHS": "1",
        "KERAS_BACKEND": "torch",
        "PYTHONHASHSEED": "7",
        "TF_USE_LEGACY_KERAS": "1",
        "PATH": "/bin",
    }
    plain = plain_environment(given, "jax")
    assert {"JAX_ENABLE_X64", "KERAS_MAX_EPOCHS"}.isdisjoint(plain)
    assert plain["KERAS_BACKEND"] == "jax"
    assert plain["PYTHONHASHSEED"] == "0"
    assert plain["TF_USE_LEGACY_KERAS"] == "0"
    assert plain["PATH"] == "/bin"


def test_variables_that_may_change_the_last_digits_are_recorded():
    given = {"XLA_FLAGS": "--a", "TF_DETERMINISTIC_OPS": "1", "JAX_ENABLE_X64": "1"}
    given |= {"TF_CPP_MIN_LOG_LEVEL": "3", "HOME": "/", "TF_VAR_password": "secret"}
    assert recorded_variables(given) == {"TF_DETERMINISTIC_OPS": "1", "XLA_FLAGS": "--a"}


@pytest.mark.parametrize("was_enabled", [True, False])
def test_garbage_is_looked_for_after_imports_if_it_was_before(was_enabled):
    enable = {True: gc.enable, False: gc.disable}
    before = gc.isenabled()
    try:
        enable[was_enabled]()
        with pytest.raises(ImportError), no_garbage_search():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == was_enabled
    finally:
        enable[before]()
