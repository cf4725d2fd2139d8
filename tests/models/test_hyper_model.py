"""Our families in ordinary keras-tuner programs."""

from __future__ import annotations

import keras
import keras_tuner
import numpy as np
import pytest

import tuner
from tuner.errors import InputError
from tuner.models import FAMILIES

IMAGE, CLASSES = (8, 8, 3), 4
TINY = {
    "depth": 8,
    "dropout": {"min": 0.0, "max": 0.5, "step": 0.25},
    "shortcut": {"choice": ["identity", "projection"]},
}


def hyper_model(**values):
    return tuner.models.hyper_model("resnet", IMAGE, CLASSES, **{**TINY, **values})


def test_open_values_become_hyperparameters():
    hp = keras_tuner.HyperParameters()
    hyper_model(learning_rate={"min": 1e-4, "max": 1e-1, "scale": "log"}).build(hp)
    assert {one.name for one in hp.space} == {"dropout", "shortcut", "learning_rate"}
    (rate,) = (one for one in hp.space if one.name == "learning_rate")
    assert (rate.min_value, rate.max_value, rate.sampling) == (1e-4, 1e-1, "log")


def test_their_values_reach_the_network_and_the_optimizer():
    hp = keras_tuner.HyperParameters()
    hp.values = {"dropout": 0.25, "shortcut": "projection", "learning_rate": 0.01}
    model = hyper_model(learning_rate={"min": 1e-4, "max": 1e-1, "scale": "log"}).build(hp)
    expected = FAMILIES["resnet"].cost(
        FAMILIES["resnet"].config(depth=8, dropout=0.25, shortcut="projection"), IMAGE, CLASSES
    )
    assert sum(keras.ops.size(v) for v in model.trainable_variables) == expected.parameters
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_the_optimizer_can_be_ones_own():
    hp = keras_tuner.HyperParameters()
    made = hyper_model(optimizer=lambda hp: keras.optimizers.SGD(hp.Float("rate", 0.5, 0.6)))
    assert isinstance(made.build(hp).optimizer, keras.optimizers.SGD)
    assert "rate" in hp.values


def test_a_name_that_is_not_known_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="dropout"):
        hyper_model(dropuot=0.1)
    with pytest.raises(InputError, match="unknown model family"):
        tuner.models.hyper_model("resnt", IMAGE, CLASSES)


def test_options_are_seen_as_they_are_written():
    hp = keras_tuner.HyperParameters()
    dropout, rate = {"choice": [0, 0.5]}, {"min": 1, "max": 2}
    hyper_model(dropout=dropout, shortcut="projection", learning_rate=rate).build(hp)
    assert hp.values == {"dropout": 0.0, "learning_rate": 1.0}
    assert [type(entry).__name__ for entry in hp.space] == ["Choice", "Float"]


def test_lists_are_chosen_by_their_text(monkeypatch):
    configs = []
    family = FAMILIES["dual_path"]
    monkeypatch.setattr(type(family), "build", lambda self, config, *_: configs.append(config))
    options = {"choice": [[1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 1.0, 2.0]]}
    made = tuner.models.hyper_model("dual_path", IMAGE, CLASSES, growth_multipliers=options)
    hp = keras_tuner.HyperParameters()
    hp.values["growth_multipliers"] = "[0.5, 1.0, 1.0, 2.0]"
    with pytest.raises(AttributeError):  # no network is built here
        made.build(hp)
    assert configs[0].growth_multipliers == [0.5, 1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"dropout": {"min": 0.0, "max": 0.5, "count": 3}}, "list the points in a choice"),
        ({"dropout": {"min": 0.0, "max": 0.5, "sampling": "log"}}, "is written so"),
        ({"dropout": {"choice": []}}, "is written so"),
        ({"learning_rate": {"min": 0.1}}, "is written so"),
        ({"learning_rate": {"min": 0, "max": 1, "scale": "log"}}, "negative values"),
        ({"dropout": {"min": 0, "max": 0.5, "scale": "logarithmic"}}, "sampling must be one"),
        ({"dropout": {"min": 0.0, "max": 1.5}}, "dropout: .*less than"),
        ({"depth": {"choice": [8, 9]}, "dropout": 0.1, "shortcut": "identity"}, "depth: .*nearest"),
        ({"shortcut": {"choice": ["identity", "none"]}}, "shortcut: .*projection"),
        ({"learning_rate": 0.1, "optimizer": lambda hp: None}, "its own learning rate"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_tuned(values, told):
    with pytest.raises(InputError, match=told):
        hyper_model(**values)


def test_values_that_only_go_together_are_not_refused_apart():
    together = {"groups": {"choice": [8, 12]}, "bottleneck_filters": {"choice": [24, 12]}}
    tuner.models.hyper_model("dual_path", IMAGE, CLASSES, **together)
    tuner.models.hyper_model("dual_path", IMAGE, CLASSES, groups=12, bottleneck_filters=12)


def test_a_function_of_ones_own_goes_to_keras_tuner_as_it_is():
    with pytest.raises(InputError, match="as it is"):
        tuner.models.hyper_model("mynets:build", IMAGE, CLASSES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # keras-tuner's own
def test_an_ordinary_search_finds_a_best_trial(tmp_path):
    pytest.importorskip("tensorboard")  # keras-tuner imports it on TensorFlow
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, *IMAGE)).astype("float32"), rng.integers(0, CLASSES, 32)
    search = keras_tuner.RandomSearch(
        tuner.models.hyper_model(
            "mlp", IMAGE, CLASSES, hidden_units={"choice": [4, 8]}, dropout=TINY["dropout"]
        ),
        objective="val_accuracy",
        max_trials=2,
        seed=1,
        directory=tmp_path,
        project_name="p",
    )
    search.search(x, y, validation_data=(x, y), epochs=1, verbose=0)
    (best,) = search.get_best_hyperparameters(1)
    assert best.values["dropout"] in (0.0, 0.25, 0.5)
