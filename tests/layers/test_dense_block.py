"""Dense layers, blocks and transitions."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import gradients
from tuner.layers import DenseBlock, DenseLayer, TransitionLayer


def images(shape=(2, 4, 4, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer, seed=5):
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in layer.get_weights()])


def keras_step(step, x, training):
    """Normalization, relu and convolution from Keras' own parts, with the step's weights."""
    twin = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    twin.build(x.shape)
    twin.set_weights(step.normalization.get_weights())
    x = keras.ops.relu(twin(x, training=training))
    return keras.ops.conv(x, step.convolution.kernel, padding="same")


@pytest.mark.parametrize("bottleneck", [False, True])
def test_layer_l_sees_the_entrance_and_the_growth_of_all_before_it(bottleneck):
    block = DenseBlock(4, 5, bottleneck=bottleneck)
    block.build((None, 8, 8, 7))
    seen = [layer.steps[0].normalization.gamma.shape[0] for layer in block.dense_layers]
    assert seen == [7, 12, 17, 22]
    assert block.compute_output_shape((None, 8, 8, 7)) == (None, 8, 8, 27)
    made = [layer.steps[-1].convolution.kernel.shape[-1] for layer in block.dense_layers]
    assert made == [5] * 4


@pytest.mark.parametrize("training", [True, False])
def test_the_entrance_leaves_the_block_unchanged(training):
    x = images()
    y = np.array(DenseBlock(3, 2)(x, training=training))
    assert y.shape == (2, 4, 4, 9)
    np.testing.assert_array_equal(y[..., :3], x)


def test_a_bottleneck_is_four_growth_rates_wide():
    layer = DenseLayer(5, bottleneck=True)
    layer.build((None, 8, 8, 7))
    kernels = [step.convolution.kernel.shape for step in layer.steps]
    assert kernels == [(1, 1, 7, 20), (3, 3, 20, 5)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_agrees_with_keras_layers(bottleneck, training):
    block, x = DenseBlock(3, 2, bottleneck=bottleneck), images()
    block.build(x.shape)
    randomize(block)
    expected = x
    for layer in block.dense_layers:
        y = expected
        for step in layer.steps:
            y = keras_step(step, y, training)
        expected = keras.ops.concatenate([expected, y], axis=-1)
    np.testing.assert_allclose(np.array(block(x, training=training)), expected, atol=1e-4)


def test_every_weight_gets_a_gradient():
    block, x = DenseBlock(3, 2, bottleneck=True), images()
    block.build(x.shape)
    randomize(block)
    found = gradients(block, x, images((2, 4, 4, 9), seed=3))
    assert len(found) == 1 + 3 * 6
    assert all(np.abs(g).max() > 1e-7 for g in found)


@pytest.mark.parametrize(("bottleneck", "expected"), [(False, 3), (True, 6)])
def test_dropout_follows_every_convolution(bottleneck, expected):
    x = images()
    block = DenseBlock(3, 2, bottleneck=bottleneck, dropout=0.5)
    block.build(x.shape)
    rates = [layer.rate for layer in block._flatten_layers() if hasattr(layer, "hyperparameter")]
    assert len(rates) == expected
    first, second = (np.array(block(x, training=True)) for _ in range(2))
    assert (first != second).any()
    for rate in rates:
        rate.assign(0.0)
    first, second = (np.array(block(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("compression", "channels", "kept"),
    [(1.0, 7, 7), (0.5, 7, 3), (0.5, 8, 4), (0.29, 100, 29), (0.1, 10, 1)],
)
def test_a_transition_keeps_its_share_of_channels_and_halves_the_images(
    compression, channels, kept
):
    x = images((1, 5, 4, channels))
    layer = TransitionLayer(compression)
    assert layer.compute_output_shape(x.shape) == (1, 2, 2, kept)
    assert np.array(layer(x)).shape == (1, 2, 2, kept)


@pytest.mark.parametrize("training", [True, False])
def test_a_transition_agrees_with_keras_layers(training):
    layer, x = TransitionLayer(0.5), images((2, 4, 4, 6))
    layer.build(x.shape)
    randomize(layer)
    expected = keras.ops.average_pool(keras_step(layer.step, x, training), 2, strides=2)
    np.testing.assert_allclose(np.array(layer(x, training=training)), expected, atol=1e-4)


@pytest.mark.parametrize("compression", [0.0, -0.5, 1.01])
def test_refuses_a_compression_out_of_range(compression):
    with pytest.raises(ValueError, match=r"compression must be in \(0, 1\]; received"):
        TransitionLayer(compression)


def test_refuses_to_leave_no_channel():
    with pytest.raises(ValueError, match=r"compression 0\.1 leaves none of 5 channels"):
        TransitionLayer(0.1).build((None, 4, 4, 5))


def test_refuses_images_too_small_to_pool():
    with pytest.raises(ValueError, match="1x4 are too small"):
        TransitionLayer(0.5).build((None, 1, 4, 8))
