"""A data function is asked in a process that is as a worker's, so that it returns the same."""

from __future__ import annotations

import json
import os

import pytest

from tuner.code.keras_globals import settings_differ
from tuner.data.own import FunctionDataset
from tuner.data.probe import probed_info
from tuner.errors import InputError

CODE = """
import os
import numpy as np

def load():
    print(os.environ["KERAS_BACKEND"], os.environ["CUDA_VISIBLE_DEVICES"])
    names = list({"cat", "dog", "owl", "yak", "emu", "ant"})  # in the order of their hashes
    return np.zeros((6, 4, 4), "uint8") + np.arange(6)[:, None, None] / 8, names

def crashes():
    os._exit(4)

def fails():
    return np.load("/no/such/file.npz")

def interrupted():
    raise KeyboardInterrupt
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    (tmp_path / "their_function.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    return lambda name: probed_info(FunctionDataset(f"their_function:{name}"), "jax")


def test_the_process_is_as_a_workers_without_gpus(theirs, capfd):
    first, second = theirs("load"), theirs("load")
    assert first == second
    assert (first.image_shape, first.num_train, first.pixels.high) == ((4, 4, 1), 6, 1.0)
    assert first.class_names == ("ant", "cat", "dog", "emu", "owl", "yak")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "jax -1\njax -1\n")
    assert (os.environ["KERAS_BACKEND"], os.environ["CUDA_VISIBLE_DEVICES"]) == (
        "tensorflow",
        "0,1",
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("crashes", "ended its process: exit status 4"),
        ("fails", "their_function.py:14"),
    ],
)
def test_what_goes_wrong_there_is_told_here(theirs, name, told):
    with pytest.raises(InputError) as caught:
        theirs(name)
    assert told in str(caught.value)


def test_an_interrupt_there_is_one_here(theirs):
    with pytest.raises(KeyboardInterrupt):
        theirs("interrupted")


@pytest.mark.parametrize(
    ("text", "differ"),
    [
        (None, False),
        ("{}", False),
        ("no JSON", False),
        ("[]", False),
        (json.dumps({"floatx": "float32", "epsilon": 1e-7, "backend": "torch"}), False),
        (json.dumps({"floatx": "float64"}), True),
        (json.dumps({"image_data_format": "channels_first"}), True),
    ],
)
def test_settings_that_differ_are_seen_without_keras(tmp_path, text, differ):
    if text is not None:
        (tmp_path / "keras.json").write_text(text)
    assert settings_differ({"KERAS_HOME": str(tmp_path)}) is differ
