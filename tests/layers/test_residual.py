"""The basic residual block and its shortcuts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import gradients
from tuner.layers import PaddedShortcut, ProjectionShortcut, ResidualBlock


def images(shape=(2, 6, 6, 4), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer, seed=5):
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in layer.get_weights()])


def keras_block(block, x, training):
    """The same block from Keras' own parts, with the block's weights."""

    def convolve(layer, x, strides):
        return keras.ops.conv(x, layer.kernel, strides=strides, padding="same")

    def normalize(layer, x):
        twin = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        twin.build(x.shape)
        twin.set_weights(layer.get_weights())
        return twin(x, training=training)

    def shorten(x):
        if block.shortcut is None:
            return x
        if isinstance(block.shortcut, ProjectionShortcut):
            x = convolve(block.shortcut.convolution, x, block.strides)
            return normalize(block.shortcut.normalization, x)
        x = x[:, :: block.strides, :: block.strides]
        return np.pad(x, [(0, 0)] * 3 + [(0, block.filters - x.shape[-1])])

    y = normalize(block.normalization1, convolve(block.convolution1, x, block.strides))
    y = normalize(block.normalization2, convolve(block.convolution2, keras.ops.relu(y), 1))
    return keras.ops.relu(shorten(x) + y)


@pytest.mark.parametrize("training", [True, False])
def test_a_block_whose_branch_is_zero_is_the_identity(training):
    block, x = ResidualBlock(4), np.abs(images())
    block.build(x.shape)
    block.normalization2.gamma.assign(np.zeros(4))
    np.testing.assert_array_equal(np.array(block(x, training=training)), x)


def test_an_identity_shortcut_has_no_weights_and_no_layer():
    block = ResidualBlock(4)
    block.build((None, 6, 6, 4))
    assert block.shortcut is None
    assert len(block.trainable_variables) == 6


def test_a_padded_shortcut_subsamples_and_appends_zeros():
    x = images((2, 5, 4, 3))
    y = np.array(PaddedShortcut(7, strides=2)(x))
    assert y.shape == (2, 3, 2, 7)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 3:], 0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["identity", "projection"])
@pytest.mark.parametrize(("strides", "filters"), [(1, 4), (1, 6), (2, 4), (2, 8)])
def test_agrees_with_keras_layers(kind, strides, filters, training):
    block, x = ResidualBlock(filters, strides, shortcut=kind), images()
    block.build(x.shape)
    randomize(block)
    expected = np.array(keras_block(block, x, training))
    assert expected.shape == block.compute_output_shape(x.shape)
    np.testing.assert_allclose(np.array(block(x, training=training)), expected, atol=1e-4)


def test_every_weight_gets_a_gradient():
    block, x = ResidualBlock(6, 2, shortcut="projection"), images()
    block.build(x.shape)
    randomize(block)
    found = gradients(block, x, images((2, 3, 3, 6), seed=3))
    assert len(found) == 1 + 9
    # The first kernel stands before a normalization; its gradient is small but not zero.
    assert all(np.abs(g).max() > 1e-7 for g in found)


def test_dropout_stands_between_the_convolutions():
    x = images()
    block = ResidualBlock(4, dropout=0.5)
    block.build(x.shape)
    assert block.dropout.hyperparameter == "dropout"
    first, second = (np.array(block(x, training=True)) for _ in range(2))
    assert (first != second).any()
    block.dropout.rate.assign(0.0)
    first, second = (np.array(block(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_refuses_an_unknown_shortcut():
    with pytest.raises(ValueError, match=r"shortcut must be one of .*received 'conv'"):
        ResidualBlock(4, shortcut="conv")


def test_refuses_an_identity_to_fewer_filters():
    with pytest.raises(ValueError, match="4 channels to 2 filters; use shortcut='projection'"):
        ResidualBlock(2).build((None, 6, 6, 4))
