"""A model's file is read back, and says what it needs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner import layers
from tuner.errors import TunerError
from tuner.training.exported import write_model

IMAGE = (4, 4, 3)


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Unregistered(Doubled):
    pass


@keras.saving.register_keras_serializable(package="tests")
class Stubborn(keras.layers.Layer):
    """Calls layers of ours inside, where they are not seen."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.BatchNormalization()

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def model_with(*made):
    return keras.Sequential([keras.Input(IMAGE), *made, keras.layers.Flatten()])


def written(model, tmp_path, *, standard=True, probabilities=False):
    path = tmp_path / "x.keras"
    return write_model(model, path, standard=standard, probabilities=probabilities)


def test_standard_layers_need_nothing(tmp_path):
    found = written(model_with(layers.BatchNormalization(), layers.Dropout(0.5)), tmp_path)
    assert (found.needs, found.kept_because) == ((), "")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert loaded.input_shape == (None, *IMAGE)


def test_integer_pixels_are_taken_as_they_are(tmp_path):
    scale = keras.layers.Rescaling(1 / 255)
    written(model_with(scale, layers.BatchNormalization()), tmp_path, probabilities=True)
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    images = np.random.default_rng(0).integers(0, 256, (3, *IMAGE)).astype(np.uint8)
    whole = keras.ops.convert_to_numpy(loaded(images))
    floats = keras.ops.convert_to_numpy(loaded(images.astype(np.float32)))
    np.testing.assert_array_equal(whole, floats)
    np.testing.assert_allclose(whole.sum(axis=1), 1.0, rtol=1e-5)


def test_a_layer_of_someone_else_is_named(tmp_path):
    found = written(model_with(Doubled(), layers.BatchNormalization()), tmp_path)
    assert found.needs == (__name__,)


def test_layers_of_ours_that_stay_are_named_too(tmp_path):
    found = written(model_with(Stubborn()), tmp_path)
    assert found.needs == (__name__, "tuner.layers")
    kept = written(model_with(layers.BatchNormalization()), tmp_path, standard=False)
    assert kept.needs == ("tuner.layers",)


def test_what_keras_cannot_load_again_is_refused(tmp_path):
    with pytest.raises(TunerError, match="register_keras_serializable"):
        written(model_with(Unregistered(), layers.BatchNormalization()), tmp_path)


def test_a_form_that_predicts_something_else_is_not_used(tmp_path, monkeypatch):
    def wrong(model):
        return model_with(keras.layers.Rescaling(3.0))

    monkeypatch.setattr("tuner.training.exported.in_standard_layers", wrong)
    found = written(model_with(layers.BatchNormalization()), tmp_path)
    assert "differ" in found.kept_because
    assert found.needs == ("tuner.layers",)
