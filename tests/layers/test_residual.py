"""The residual blocks and their shortcuts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import images, keras_normalization, randomize
from tuner.layers import (
    BottleneckBlock,
    PaddedShortcut,
    PreActivationBlock,
    PreActivationBottleneckBlock,
    ResidualBlock,
)

POST = [ResidualBlock, BottleneckBlock]
PRE = [PreActivationBlock, PreActivationBottleneckBlock]
BLOCKS = POST + PRE
SHAPE = (2, 6, 6, 4)


def narrow(kind):
    """The filters with which a block keeps 4 channels."""
    return 4 // kind.steps[-1].width


def same_shape(kind, **arguments):
    """A built block that keeps 4 channels."""
    block = kind(narrow(kind), **arguments)
    block.build((None, 6, 6, 4))
    return block


def keras_convolution(layer, x):
    return keras.ops.conv(x, layer.kernel, strides=layer.strides, padding="same")


def padded(block, x):
    x = np.array(x)[:, :: block.strides, :: block.strides]
    return np.pad(x, [(0, 0)] * 3 + [(0, block.output_filters - x.shape[-1])])


def keras_post_activation(block, x, training):
    """He et al. 2016 from Keras' own parts, with the block's weights."""
    y = x
    for convolution, normalization in zip(block.convolutions, block.normalizations, strict=True):
        y = y if convolution is block.convolutions[0] else keras.ops.relu(y)
        y = keras_normalization(normalization, keras_convolution(convolution, y), training)
    shortcut = block.shortcut
    if isinstance(shortcut, PaddedShortcut):
        x = padded(block, x)
    elif shortcut is not None:
        x = keras_convolution(shortcut.convolution, x)
        x = keras_normalization(shortcut.normalization, x, training)
    return keras.ops.relu(x + y)


def keras_pre_activation(block, x, training):
    """He et al. 2016b from Keras' own parts, with the block's weights."""
    y, activated = x, []
    for convolution, normalization in zip(block.convolutions, block.normalizations, strict=True):
        activated.append(keras.ops.relu(keras_normalization(normalization, y, training)))
        y = keras_convolution(convolution, activated[-1])
    shortcut = block.shortcut
    if isinstance(shortcut, PaddedShortcut):
        x = padded(block, activated[0])
    elif shortcut is not None:
        x = keras_convolution(shortcut.convolution, activated[0])
    return x + y


def silence(block):
    """Let the branch give zeros."""
    if type(block) in POST:
        last = block.normalizations[-1].gamma
    else:
        last = block.convolutions[-1].kernel
    last.assign(np.zeros(last.shape))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_whose_branch_is_zero_is_the_identity(kind, training):
    block, x = same_shape(kind, stochastic_depth=0.3), images(SHAPE)
    silence(block)
    expected = x if kind in PRE else np.maximum(x, 0)
    np.testing.assert_array_equal(np.array(block(x, training=training)), expected)


def test_a_padded_shortcut_subsamples_and_appends_zeros():
    x = images((2, 5, 4, 3))
    y = np.array(PaddedShortcut(7, strides=2)(x))
    assert y.shape == (2, 3, 2, 7)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 3:], 0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("strides", "filters", "shortcut"),
    [(1, None, "identity"), (1, 6, "projection"), (2, 4, "identity"), (2, 6, "projection")],
)
@pytest.mark.parametrize("kind", BLOCKS)
def test_agrees_with_keras_layers(kind, strides, filters, shortcut, training):
    block, x = kind(filters or narrow(kind), strides, shortcut=shortcut), images(SHAPE)
    block.build(x.shape)
    randomize(block)
    reference = keras_pre_activation if kind in PRE else keras_post_activation
    expected = np.array(reference(block, x, training))
    assert expected.shape == block.compute_output_shape(x.shape)
    np.testing.assert_allclose(
        np.array(block(x, training=training)), expected, atol=1e-4, rtol=1e-5
    )


def test_a_bottleneck_block_narrows_strides_in_the_middle_and_widens():
    for kind in (BottleneckBlock, PreActivationBottleneckBlock):
        block = kind(2, 2)
        shapes = [(c.filters, c.kernel_size, c.strides) for c in block.convolutions]
        assert shapes == [(2, (1, 1), (1, 1)), (2, (3, 3), (2, 2)), (8, (1, 1), (1, 1))]
        assert block.compute_output_shape((None, 5, 4, 8)) == (None, 3, 2, 8)


@pytest.mark.parametrize("kind", BLOCKS)
def test_without_normalization_the_branch_alone_has_biases(kind):
    block = kind(2, 2, shortcut="projection", batch_normalization=False)
    block.build((None, 6, 6, 4))
    names = [v.path.split("/", 1)[1] for v in block.trainable_variables]
    branch = [f"convolution{n}/{part}" for n in (1, 2, 3) for part in ("kernel", "bias")]
    assert names == [*branch[: 2 * len(block.convolutions)], "shortcut/convolution/kernel"]


@pytest.mark.parametrize("kind", BLOCKS)
def test_dropout_stands_before_the_last_convolution(kind):
    x, block = images(SHAPE), same_shape(kind, dropout=0.5)
    randomize(block)
    assert block.dropout.hyperparameter == "dropout"
    first, second = (np.array(block(x, training=True)) for _ in range(2))
    assert (first != second).any()
    block.dropout.rate.assign(1.0)  # nothing arrives at the last convolution
    silenced = np.array(block(x, training=True))
    shift = np.array(block.normalizations[-1].beta) if kind in POST else 0.0
    np.testing.assert_allclose(silenced, _end(kind, x + shift), atol=1e-5)


def _end(kind, x):
    return np.maximum(x, 0) if kind in POST else x


@pytest.mark.parametrize("kind", BLOCKS)
def test_stochastic_depth_scales_the_whole_branch_at_prediction(kind):
    x = np.abs(images(SHAPE))
    with_depth, without = (same_shape(kind, stochastic_depth=r) for r in (0.5, None))
    randomize(without)
    with_depth.stochastic_depth.rate.assign(0.25)
    for layer in ("convolutions", "normalizations"):
        for one, other in zip(getattr(with_depth, layer), getattr(without, layer), strict=True):
            one.set_weights(other.get_weights())
    branch = np.array(without(x)) - x
    np.testing.assert_allclose(np.array(with_depth(x)), x + 0.75 * branch, rtol=1e-5, atol=1e-5)


def test_the_activation_is_a_choice():
    block, x = same_shape(ResidualBlock, activation="tanh"), images(SHAPE)
    silence(block)
    np.testing.assert_allclose(np.array(block(x)), np.tanh(x), atol=1e-6)


@pytest.mark.parametrize(
    ("filters", "arguments", "words"),
    [
        (4, {"shortcut": "conv"}, r"shortcut must be one of .*received 'conv'"),
        (4, {"activation": "softmux"}, "softmux"),
        (2, {}, "4 channels to 2 filters; use shortcut='projection'"),
    ],
)
def test_refuses_what_cannot_be(filters, arguments, words):
    with pytest.raises(ValueError, match=words):
        ResidualBlock(filters, **arguments).build(SHAPE)
