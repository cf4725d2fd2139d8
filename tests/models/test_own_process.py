"""What the process of a network answers, and what is told of one that ended before."""

from __future__ import annotations

import sys

import keras
import pytest

from tuner.errors import InputError
from tuner.models.own.family import _last_words
from tuner.models.own.server import _answer, _declaration

NETS = """
import os, keras
keras.config.set_epsilon(1e-3)
os.environ["KERAS_BACKEND"] = "torch"
def build(hp):
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(2)])
def edited(hp):
    with open(__file__, "a") as file:
        file.write("# and more")
    return build(hp)
def leaving(hp):
    raise SystemExit("enough")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    (tmp_path / "looked_into.py").write_text(NETS)
    yield "looked_into"
    del sys.modules["looked_into"]


def test_what_a_module_sets_for_the_whole_process_is_undone_and_noted(module):
    told = _declaration(f"{module}:build")
    assert [file["module"] for file in told["files"]] == [module]
    assert told["notes"] == (
        "looked_into sets Keras' epsilon to 0.001, which has no effect here",
        "looked_into sets Keras' backend to torch, which has no effect here: write backend: torch",
    )
    assert keras.config.epsilon() == 1e-7


def test_code_that_is_edited_while_it_is_looked_into_is_not_taken_for_what_it_was(module):
    with pytest.raises(InputError, match="was edited while it was looked into"):
        _declaration(f"{module}:edited")


def test_a_build_that_ends_python_does_not_end_the_answers(module):
    request = {"ask": "cost", "values": {}, "image_shape": (8, 8, 3), "num_classes": 2}
    told = "it ended Python: sys.exit('enough'), at looked_into.py:"
    assert _answer(f"{module}:leaving", request)["error"].startswith(told)


def test_its_last_lines_are_shown_without_what_a_framework_says():
    lines = ["I0000 00:00:17 port.cc:153] oneDNN is on.\n", "\n", *(f"{n}\n" for n in range(20))]
    assert _last_words(lines[:3]) == ["0"]
    assert _last_words(lines) == [str(n) for n in range(12, 20)]


def test_of_a_crash_it_is_the_lines_of_the_persons_own(tmp_path):
    own, foreign = tmp_path / "nets.py", _last_words.__code__.co_filename
    stack = [f'  File "{own}", line 7 in build\n', f'  File "{foreign}", line 9 in ask\n']
    crash = "Fatal Python error: Segmentation fault"
    lines = ["printed\n", f"{crash}\n", *stack, "Extension modules: a\n"]
    assert _last_words(lines) == [crash, f"{own}:7"]
