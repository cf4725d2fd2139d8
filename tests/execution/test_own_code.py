"""A person's own network in workers: their surroundings change nothing, an edit is noticed."""

from __future__ import annotations

import json

import pytest

from tests.execution.tiny import write_experiment
from tests.on_jax import XLA_FLAGS
from tuner.errors import InputError
from tuner.execution.events import RunStarted
from tuner.execution.run import run_experiment
from tuner.experiment import load_experiment
from tuner.experiment.trial import TrialState

NETS = """
import sys
import keras
from surrounded_blocks import head

print("no answer of anybody's")
sys.stdin.readline()
assert keras.config.floatx() == "float32"
assert keras.config.epsilon() == 1e-7
assert keras.config.image_data_format() == "channels_last"
keras.config.set_epsilon(1e-3)


def build(hp):
    assert keras.config.epsilon() == 1e-7
    return head(keras.Input((8, 8, 3)))
"""
BLOCKS = """
import keras


def head(image):
    x = keras.layers.AveragePooling2D(4)(image)
    return keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(x)))
"""
EXPERIMENT = """
name: surrounded
backend: jax
data: {{dataset: {data}, validation: 24}}
model: {{family: "surrounded_nets:build"}}
training: {{epochs: 1, batch_size: 16}}
"""
KERAS_JSON = {
    "floatx": "float64",
    "epsilon": 0.1,
    "image_data_format": "channels_first",
    "backend": "tensorflow",
    "nnx_enabled": True,
}


def test_surroundings_change_nothing_and_an_edit_is_noticed(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(json.dumps(KERAS_JSON))
    (tmp_path / "surrounded_nets.py").write_text(NETS)
    (tmp_path / "surrounded_blocks.py").write_text(BLOCKS)
    for name in ("tuner", "random", "logging", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('it was run')")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "0")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("XLA_FLAGS", XLA_FLAGS)
    monkeypatch.chdir(tmp_path)
    experiment = load_experiment(write_experiment(tmp_path, EXPERIMENT))
    started: list[RunStarted] = []

    def edit(event):
        if isinstance(event, RunStarted):
            started.append(event)
            (tmp_path / "surrounded_blocks.py").write_text(BLOCKS + "# edited\n")

    where = tmp_path / "results"
    with pytest.raises(InputError, match="has changed since the run began") as caught:
        run_experiment(experiment, results_dir=where, listener=edit)
    assert caught.value.problems[0].received == str(tmp_path / "surrounded_blocks.py")
    assert any("sets Keras' epsilon to 0.001" in note for note in started[0].notes)
    (tmp_path / "surrounded_blocks.py").write_text(BLOCKS)
    ended = run_experiment(experiment, results_dir=where)
    assert ended.counts[TrialState.COMPLETED] == 1


def test_code_that_cannot_be_imported_where_a_worker_is_keeps_it_from_training():
    from tuner.models.own.build import import_as_known

    with pytest.raises(InputError, match="no such module: not_on_this_node"):
        import_as_known({"not_on_this_node:build": ()})
