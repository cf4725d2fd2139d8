"""What every layer of `tuner.layers` must do; a new layer adds one line to LAYERS."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest

from tests.layers.on_backend import gradients, values
from tuner import layers
from tuner.layers.base import KernelLayer

LAYERS = {
    "BatchNormalization": lambda **k: layers.BatchNormalization(
        axis=1, momentum=0.5, epsilon=0.1, center=False, scale=False, **k
    ),
    "Dropout": lambda **k: layers.Dropout(
        0.3, mode="downscale_in_infer", seed=3, hyperparameter="other", **k
    ),
    "SpatialDropout2D": lambda **k: layers.SpatialDropout2D(
        0.3, "downscale_in_infer", "channels_first", seed=3, hyperparameter="other", **k
    ),
    "HighwayBlock": lambda **k: layers.HighwayBlock(
        4, 1, gate_bias=-1.0, activation="elu", batch_normalization=True, dropout=0.2, **k
    ),
    "PaddedShortcut": lambda **k: layers.PaddedShortcut(6, strides=2, **k),
    "ProjectionShortcut": lambda **k: layers.ProjectionShortcut(6, strides=2, **k),
    "ResidualBlock": lambda **k: layers.ResidualBlock(
        6, 2, shortcut="projection", dropout=0.2, **k
    ),
    "BottleneckBlock": lambda **k: layers.BottleneckBlock(
        2, 2, activation="elu", stochastic_depth=0.2, stochastic_depth_multiplier=0.5, **k
    ),
    "PreActivationBlock": lambda **k: layers.PreActivationBlock(6, batch_normalization=False, **k),
    "PreActivationBottleneckBlock": lambda **k: layers.PreActivationBottleneckBlock(
        2, 2, shortcut="projection", dropout=0.2, **k
    ),
    "StochasticDepth": lambda **k: layers.StochasticDepth(
        0.3, "upscale_in_train", "image", hyperparameter="other", multiplier=0.5, seed=3, **k
    ),
    "DenseLayer": lambda **k: layers.DenseLayer(2, bottleneck=True, dropout=0.2, **k),
    "DenseBlock": lambda **k: layers.DenseBlock(2, 3, bottleneck=True, dropout=0.2, **k),
    "DualPathBlock": lambda **k: layers.DualPathBlock(
        4, 6, 2, groups=2, strides=2, projection=True, **k
    ),
    "GroupedConvolution": lambda **k: layers.GroupedConvolution(6, 3, groups=2, strides=2, **k),
    "InceptionBlock": lambda **k: layers.InceptionBlock([3, 2, 4, 1, 2, 2], pooling="average", **k),
    "PostActivationConvolution": lambda **k: layers.PostActivationConvolution(
        5, 3, 2, batch_normalization=False, activation="elu", **k
    ),
    "TransitionLayer": lambda **k: layers.TransitionLayer(0.5, dropout=0.2, **k),
    "PreActivationConvolution": lambda **k: layers.PreActivationConvolution(5, 3, dropout=0.2, **k),
}

PRECISIONS = ["float32", "mixed_float16", "mixed_bfloat16"]


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(2, 5, 4, 4)).astype("float32")


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


@pytest.fixture(params=[n for n in LAYERS if issubclass(getattr(layers, n), KernelLayer)])
def make_with_kernels(request):
    return LAYERS[request.param]


def kernels(layer):
    return [v for v in layer.trainable_variables if v.name == "kernel"]


def test_every_public_layer_is_here():
    assert set(LAYERS) == set(layers.__all__)


def test_its_configuration_makes_it_again(make):
    layer = make(name="mine", dtype="mixed_bfloat16")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    assert again.name == "mine"


def test_its_configuration_holds_every_argument(make):
    layer = make()
    arguments = set(type(layer).__init__.__annotations__) - {"kwargs", "return"}
    assert arguments <= set(layer.get_config())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_output_has_the_promised_shape_and_dtype(make, precision, images):
    layer = make(dtype=precision)
    promised = layer.compute_output_shape(images.shape)
    for training in (True, False):
        y = layer(images, training=training)
        assert tuple(y.shape) == tuple(promised)
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    floats = {v.dtype for v in layer.variables if "seed" not in v.path}
    assert floats <= {"float32"}


def test_every_weight_and_the_inputs_get_a_gradient(make, images):
    keras.utils.set_random_seed(2)  # of stochastic depth, which may drop a branch
    layer = keras.Sequential([make()])  # which takes `training`, whatever is in it
    layer.build(images.shape)
    rng = np.random.default_rng(5)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(0.5, 0.5, weight.shape))
    weights = rng.normal(size=layer.compute_output_shape(images.shape))
    found = gradients(layer, images, weights.astype("float32"))
    assert len(found) == 1 + len(layer.trainable_variables)
    # A kernel before a normalization has a small gradient, but not zero.
    assert all(np.abs(g).max() > 1e-7 for g in found)


def test_it_takes_a_batch_of_unknown_size(make, images):
    inputs = keras.Input(images.shape[1:])
    outputs = make()(inputs)
    assert outputs.shape[0] is None
    y = keras.Model(inputs, outputs)(images, training=True)
    assert tuple(y.shape)[1:] == tuple(outputs.shape)[1:]


def test_it_takes_images_of_unknown_size(make, images):
    if type(make()) in (layers.BatchNormalization, layers.SpatialDropout2D):
        images = images.transpose(0, 3, 1, 2)  # channels first, whose number is to be known
    shape = [size if size == 4 else None for size in images.shape[1:]]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make()(inputs))
    given, promised = np.array(model(images)).shape, model.output_shape
    assert all(size in (None, found) for size, found in zip(promised, given, strict=True))


def test_it_is_channels_last_whatever_keras_is_set_to(make, images):
    layer = make()
    expected = np.array(layer(images))
    keras.config.set_image_data_format("channels_first")
    try:
        again = make()
        again.build(images.shape)
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(np.array(again(images)), expected)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_a_copy_has_its_weights_and_predicts_the_same(make, images):
    layer = make()
    layer(images, training=True)
    again = copy.deepcopy(layer)
    assert not {id(v) for v in again.variables} & {id(v) for v in layer.variables}
    # Random states are drawn anew, as in a copy of Keras' layers.
    for ours, theirs in zip(again.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.array(again(images)), np.array(layer(images)))


def test_frozen_it_learns_nothing_also_when_it_was_loaded(make, images):
    frozen = make()
    frozen.trainable = False
    for layer in (frozen, make(trainable=False), type(frozen).from_config(frozen.get_config())):
        layer.build(images.shape)
        assert not layer.trainable_variables
        before = [v for v in layer.variables if "seed" not in v.path]
        expected = values(before)
        layer(images, training=True)
        for value, start in zip(values(before), expected, strict=True):
            np.testing.assert_array_equal(value, start)


def test_every_kernel_has_the_initializer_the_regularizer_and_the_constraint(
    make_with_kernels, images
):
    layer = make_with_kernels(
        kernel_initializer=keras.initializers.Constant(0.5),
        kernel_regularizer=keras.regularizers.L1(1.0),
        kernel_constraint=keras.constraints.MaxNorm(0.1),
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    for each in (layer, again):
        each.build(images.shape)
        assert kernels(each)
        for kernel in kernels(each):
            np.testing.assert_array_equal(np.array(kernel), 0.5)
            assert kernel.constraint.max_value == 0.1
        weights = sum(np.size(np.array(kernel)) for kernel in kernels(each))
        assert float(sum(each.losses)) == pytest.approx(0.5 * weights)


def test_kernels_are_drawn_one_by_one_from_an_initializer_without_a_seed(make_with_kernels, images):
    layer = make_with_kernels(kernel_initializer=keras.initializers.RandomUniform(0.5, 1.0))
    layer.build(images.shape)
    first = [float(np.array(kernel).ravel()[0]) for kernel in kernels(layer)]
    assert len(set(first)) == len(first)
    assert 0.5 <= min(first) <= max(first) <= 1.0


def test_every_weight_has_a_path_of_its_own_below_the_layer(make, images):
    layer = make(name="mine")
    layer(images)
    paths = [v.path for v in layer.variables]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith("mine/") for path in paths)


def test_saved_and_loaded_it_gives_the_same(make, images, tmp_path):
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, make(name="mine")(inputs))
    rng = np.random.default_rng(1)
    floats = [v for v in model.variables if "seed" not in v.path and "rate" not in v.path]
    for variable in floats:
        variable.assign(rng.uniform(0.2, 1.0, variable.shape))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(np.array(again(images)), np.array(model(images)))
