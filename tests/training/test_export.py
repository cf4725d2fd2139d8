"""A trained model's file: in layers of Keras that predict the same, read back before it is used."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner import layers
from tuner.errors import TunerError
from tuner.models import FAMILIES
from tuner.training.export import foreign_modules, in_standard_layers, write_model

SMALL_IMAGE = (4, 4, 3)


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
    return keras.Sequential([keras.Input(SMALL_IMAGE), *made, keras.layers.Flatten()])


def written(model, tmp_path, *, standard=True, probabilities=False):
    path = tmp_path / "x.keras"
    return write_model(model, path, standard=standard, probabilities=probabilities)


def test_standard_layers_need_nothing(tmp_path):
    found = written(model_with(layers.BatchNormalization(), layers.Dropout(0.5)), tmp_path)
    assert (found.needs, found.kept_because) == ((), "")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert loaded.input_shape == (None, *SMALL_IMAGE)


def test_integer_pixels_are_taken_as_they_are(tmp_path):
    scale = keras.layers.Rescaling(1 / 255)
    written(model_with(scale, layers.BatchNormalization()), tmp_path, probabilities=True)
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    images = np.random.default_rng(0).integers(0, 256, (3, *SMALL_IMAGE)).astype(np.uint8)
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

    monkeypatch.setattr("tuner.training.export.in_standard_layers", wrong)
    found = written(model_with(layers.BatchNormalization()), tmp_path)
    assert "differ" in found.kept_because
    assert found.needs == ("tuner.layers",)


IMAGE, CLASSES = (16, 16, 3), 4
SMALL = {
    "resnet": {"depth": 8, "dropout": 0.2, "stochastic_depth": 0.5},
    "densenet": {"depth": 10, "growth_rate": 4, "bottleneck": True, "memory_efficient": True},
    "dual_path": {"depth": 14, "bottleneck_filters": 8, "groups": 4},
    "highway": {"depth": 5, "dropout": 0.1},
    "mlp": {"hidden_units": 8, "dropout": 0.2},
}


def disturb(model):
    """Values at which every weight matters."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "rate" in weight.path:
            continue
        low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.3, 0.3)
        weight.assign(rng.uniform(low, high, weight.shape))


def check_equal(model, image_shape=IMAGE):
    disturb(model)
    standard = in_standard_layers(model)
    images = np.random.default_rng(1).normal(size=(4, *image_shape)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    given = keras.ops.convert_to_numpy(standard(images, training=False))
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert foreign_modules(model) == ["tuner.layers"]
    assert foreign_modules(standard) == []
    return standard


@pytest.mark.parametrize("name", SMALL)
def test_a_family_becomes_layers_of_keras(name, kernels_by_numpy):
    config = FAMILIES[name].config(**SMALL[name])
    standard = check_equal(FAMILIES[name].build(config, IMAGE, CLASSES))
    assert len({layer.name for layer in standard.layers}) == len(standard.layers)


def test_dropout_keeps_its_rate_and_its_convention():
    model = keras.Sequential(
        [
            keras.Input(IMAGE),
            layers.SpatialDropout2D(0.3),
            layers.Dropout(0.25, "downscale_in_infer"),
            keras.layers.Flatten(),
            layers.BatchNormalization(epsilon=0.1, scale=False),
            layers.Dropout(0.5),
        ]
    )
    standard = check_equal(model)
    kinds = {type(layer): layer for layer in standard.layers}
    assert kinds[keras.layers.Dropout].rate == 0.5
    assert kinds[keras.layers.SpatialDropout2D].rate == pytest.approx(0.3)
    assert kinds[keras.layers.Rescaling].scale == pytest.approx(0.75)


def test_a_shared_layer_stays_one_layer():
    block = layers.ResidualBlock(3, name="block")
    inputs = keras.Input(IMAGE)
    x = keras.layers.Flatten()(block(block(inputs)))
    standard = check_equal(keras.Model(inputs, keras.layers.Dense(CLASSES)(x)))
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in standard.layers) == 2


def test_layers_keep_their_arguments():
    penalty = {"kernel_regularizer": keras.regularizers.L2(0.1)}
    parts = [
        layers.GroupedConvolution(4, 1, 2, **penalty),
        layers.ResidualBlock(4, **penalty),
        layers.BatchNormalization(gamma_regularizer="l1", renorm=True),
        layers.Dropout(0.5, noise_shape=(None, 1, 1, None)),
        keras.layers.Flatten(),
    ]
    model = keras.Sequential([keras.Input((4, 4, 4)), *parts])
    standard = check_equal(model, (4, 4, 4))
    assert float(sum(standard.losses)) == pytest.approx(float(sum(model.losses)))
    kinds = {type(layer): layer for layer in standard.layers}
    assert kinds[keras.layers.Dropout].noise_shape == (None, 1, 1, None)
    assert kinds[keras.layers.BatchNormalization].renorm


def test_a_mask_goes_on_behind_a_normalization():
    inputs = keras.Input((4, 3))
    first = keras.ops.any(keras.ops.not_equal(inputs, 0.0), -1)
    x = layers.BatchNormalization()(keras.layers.Dense(3)(inputs), mask=first)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
    disturb(model)
    images = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)
    images[:, 2:] = 0.0
    given, expected = (np.array(each(images)) for each in (in_standard_layers(model), model))
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_a_normalization_over_several_axes_stays_ours_and_that_is_said(tmp_path):
    found = written(model_with(layers.BatchNormalization([1, -1], name="places")), tmp_path)
    assert found.kept_because.endswith("takes one axis, places has several")
    assert found.needs == ("tuner.layers",)
