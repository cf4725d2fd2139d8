"""Batch normalization in the place of Keras': its arguments, masks, saving; several axes."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest

from tests.layers.on_backend import BACKEND, gradients, images, values
from tuner.layers import BatchNormalization

VECTORS, SEQUENCE, IMAGES = (6, 4), (4, 5, 3), (4, 3, 2, 5)
# What each argument changes shows in outputs, gradients, averages or losses of these steps.
ARGUMENTS = {
    "initializers": {
        "gamma_initializer": keras.initializers.Constant(0.5),
        "beta_initializer": keras.initializers.RandomNormal(seed=1),
        "moving_mean_initializer": "ones",
        "moving_variance_initializer": keras.initializers.Constant(3.0),
    },
    "regularizers": {"gamma_regularizer": "l2", "beta_regularizer": keras.regularizers.L1(0.3)},
    "constraints": {"gamma_constraint": "non_neg", "beta_constraint": "unit_norm"},
    "neither": {"center": False, "scale": False},
    "renorm": {"renorm": True, "renorm_clipping": {"rmax": 1.5, "dmax": 0.1}},
    "synchronized": {"synchronized": True},
    "frozen": {"trainable": False},
    "whole_float16": {"dtype": "float16"},
}
# float16 is as exact as its own rounding.
TOLERANCE = {"rtol": 3e-5, "atol": 5e-5}
COARSE = {"rtol": 2e-2, "atol": 2e-2}


def twins(**arguments):
    return BatchNormalization(**arguments), keras.layers.BatchNormalization(**arguments)


def same(got, expected, tolerance=TOLERANCE):
    for ours, theirs in zip(got, expected, strict=True):
        ours, theirs = (np.asarray(array, "float32") for array in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, **tolerance)


@pytest.mark.parametrize("shape", [VECTORS, IMAGES])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_does_what_it_does_in_keras(name, shape):
    if name == "synchronized" and BACKEND != "tensorflow":
        with pytest.raises(ValueError, match="synchronized=True is only supported"):
            BatchNormalization(synchronized=True)
        return
    tolerance = COARSE if "float16" in name else TOLERANCE
    ours, theirs = twins(**ARGUMENTS[name])
    for step in range(2):
        x = 1.0 + images(shape, seed=step)
        for training in (True, None, False):
            same([ours(x, training=training)], [theirs(x, training=training)], tolerance)
    same(values(ours.variables), values(theirs.variables), tolerance)
    same(ours.losses, theirs.losses)
    assert [v.constraint is None for v in ours.weights] == [
        v.constraint is None for v in theirs.weights
    ]
    weights = images(shape, seed=3)
    same(gradients(ours, x, weights), gradients(theirs, x, weights), tolerance)


def test_each_is_made_of_the_others_configuration():
    theirs = keras.layers.BatchNormalization(name="mine", **ARGUMENTS["regularizers"])
    ours = BatchNormalization.from_config(theirs.get_config())
    assert ours.get_config() == theirs.get_config()
    assert isinstance(ours, keras.layers.BatchNormalization)
    # Keras 2 wrote a list of one axis.
    assert BatchNormalization(axis=[3]).get_config()["axis"] == 3


def test_it_loads_what_was_saved_before_it_took_initializers():
    config = {"axis": 1, "momentum": 0.9, "epsilon": 1e-5, "center": True, "scale": False}
    written = {"module": "tuner.layers.normalization", "class_name": "BatchNormalization"}
    written |= {"config": config, "registered_name": "tuner>BatchNormalization"}
    layer = keras.saving.deserialize_keras_object(written)
    assert {name: layer.get_config()[name] for name in config} == config


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_predicts_the_same(copied):
    layer = BatchNormalization(axis=[1, -1])
    layer(images(SEQUENCE), training=True)
    x = images(SEQUENCE, 1)
    np.testing.assert_array_equal(np.array(copied(layer)(x)), np.array(layer(x)))


@pytest.mark.parametrize("shape", [SEQUENCE, IMAGES, (4, 5, 1)])
def test_a_mask_hides_places_from_the_statistics(shape):
    x, mask = 1.0 + images(shape), np.random.default_rng(1).random(shape[:-1]) < 0.6
    layer = BatchNormalization(momentum=0.0)
    y = np.array(
        layer(np.where(mask[..., None], x, 1e6).astype("float32"), mask=mask, training=True)
    )
    seen = x[mask]
    np.testing.assert_allclose(np.array(layer.moving_mean), seen.mean(0), rtol=1e-4)
    np.testing.assert_allclose(np.array(layer.moving_variance), seen.var(0), rtol=1e-4)
    expected = (seen - seen.mean(0)) / np.sqrt(seen.var(0) + layer.epsilon)
    np.testing.assert_allclose(y[mask], expected, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [SEQUENCE, IMAGES])
def test_masked_steps_agree_with_keras(shape, training):
    ours, theirs = twins(momentum=0.5)
    mask = np.random.default_rng(1).random(shape[:-1]) < 0.6
    for seed in range(2):
        x = 1.0 + images(shape, seed)
        outputs = (layer(x, mask=mask, training=training) for layer in (ours, theirs))
        same(*([y] for y in outputs))
    same(values(ours.variables), values(theirs.variables))


def test_a_mask_comes_from_the_layer_before_and_goes_on_to_the_next():
    x = images(SEQUENCE)
    x[:, 3:] = 0.0
    outputs = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        masking, layer = keras.layers.Masking(), kind(momentum=0.5)
        pool = keras.layers.GlobalAveragePooling1D()
        model = keras.Sequential([masking, layer, pool])
        outputs.append([model(x, training=True), model(x), *values(layer.variables)])
    same(*outputs)
    np.testing.assert_allclose(values(layer.variables)[2], 0.5 * x[:, :3].mean((0, 1)), rtol=1e-4)


@pytest.mark.parametrize("axes", [[1, -1], [-1, 1], [1, 2, 3], [0, 2]])
def test_several_axes_keep_statistics_for_each_combination_of_their_places(axes):
    x = 1.0 + images(IMAGES)
    layer = BatchNormalization(axes, momentum=0.0, epsilon=1e-6)
    y = np.array(layer(x, training=True))
    others = tuple(i for i in range(4) if i not in [axis % 4 for axis in axes])
    mean, variance = x.mean(others, keepdims=True), x.var(others, keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-6), atol=1e-4)
    order = [axis % 4 for axis in axes]
    expected = np.transpose(mean, [*others, *order]).ravel()
    np.testing.assert_allclose(np.array(layer.moving_mean), expected, rtol=1e-5, atol=1e-6)
    predicted = np.array(layer(x))
    np.testing.assert_allclose(predicted, y, atol=1e-4)


def test_several_axes_take_a_batch_of_any_size_but_sizes_of_their_own():
    inputs = keras.Input((None, 2, 5))
    model = keras.Model(inputs, BatchNormalization([2, 3])(inputs))
    assert model.output_shape == (None, None, 2, 5)
    assert tuple(model(images(IMAGES), training=True).shape) == IMAGES
    with pytest.raises(ValueError, match=r"axis \[1, 3\] of the inputs .* must have known sizes"):
        BatchNormalization([1, 3])(inputs)


@pytest.mark.parametrize(
    ("axis", "mask", "message"),
    [
        ([1, 2], np.ones((4, 5), bool), r"a mask needs a single axis of channels; .* \[1, 2\]"),
        ([1, -2], None, r"axis must name each axis once; received \[1, -2\]"),
        ([], None, r"axis must name each axis once; received \[\]"),
        ([0, 3], None, r"axis must be in \[-3, 3\); received \[0, 3\]"),
        (-1, np.ones((4,), bool), "mask provided should be one dimension less"),
    ],
)
def test_refuses_what_cannot_be(axis, mask, message):
    with pytest.raises(ValueError, match=message):
        BatchNormalization(axis)(images(SEQUENCE), mask=mask)
