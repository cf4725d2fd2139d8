"""A model of our layers and its expansion into layers of Keras predict the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner import layers
from tuner.models import FAMILIES
from tuner.training.standard import foreign_modules, in_standard_layers

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


def test_layers_of_someone_else_stay_and_are_named():
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.BatchNormalization()(Doubled()(inputs)))
    standard = in_standard_layers(model)
    assert foreign_modules(standard) == [__name__]
