"""The inception module."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.on_backend import images, keras_normalization, randomize
from tuner.layers import InceptionBlock, PostActivationConvolution

GOOGLENET_3A = (64, 96, 128, 16, 32, 32)


def kernel_weights(block):
    """Weights of convolution kernels; no biases, gammas and betas."""
    return sum(math.prod(v.shape) for v in block.trainable_variables if v.name == "kernel")


# By hand: 192·64 + 9·192·128 + 25·192·32, and with the six columns of the paper.
@pytest.mark.parametrize(
    ("reduction", "expected", "channels"), [(False, 387_072, 416), (True, 163_328, 256)]
)
def test_what_the_1x1_convolutions_save_at_28x28x192(reduction, expected, channels):
    block = InceptionBlock(GOOGLENET_3A, reduction=reduction)
    with keras.StatelessScope(initialize_variables=False):
        block.build((None, 28, 28, 192))
    assert kernel_weights(block) == expected
    assert block.compute_output_shape((None, 28, 28, 192)) == (None, 28, 28, channels)


def step(x, unit, training, activation):
    x = ops.conv(x, unit.convolution.kernel, padding="same")
    if unit.normalization is None:
        x = x + ops.convert_to_tensor(unit.convolution.bias)
    else:
        x = keras_normalization(unit.normalization, x, training)
    return activation(x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("reduction", "normalized", "pooling"), [(True, True, "max"), (False, False, "average")]
)
def test_agrees_with_keras_operations(reduction, normalized, pooling, training):
    block, x = (
        InceptionBlock([2, 3, 4, 1, 2, 3], reduction, normalized, "tanh", pooling),
        images(),
    )
    block.build(x.shape)
    randomize(block)
    pool = {"max": ops.max_pool, "average": ops.average_pool}[pooling]
    starts = [x, x, x, pool(x, 3, strides=1, padding="same")]
    branches = [block.branch1, block.branch3, block.branch5, block.pool_branch]
    assert [len(branch) for branch in branches] == ([1, 2, 2, 1] if reduction else [1, 1, 1, 0])
    outputs = []
    for y, branch in zip(starts, branches, strict=True):
        for unit in branch:
            y = step(y, unit, training, ops.tanh)
        outputs.append(np.array(y))
    expected = np.concatenate(outputs, -1)
    np.testing.assert_allclose(np.array(block(x, training=training)), expected, atol=1e-4)


def test_an_average_pool_counts_only_what_lies_in_the_image():
    block = InceptionBlock([1, 1, 1, 1, 1, 1], reduction=False, pooling="average")
    y = np.array(block(np.ones((1, 3, 3, 2), "float32")))
    np.testing.assert_allclose(y[..., 3:], 1.0, rtol=1e-6)


def test_only_without_normalization_a_convolution_has_a_bias():
    for normalized, names in ((True, {"kernel", "gamma", "beta"}), (False, {"kernel", "bias"})):
        unit = PostActivationConvolution(2, 3, batch_normalization=normalized)
        unit.build((None, 4, 4, 3))
        assert {v.name for v in unit.trainable_variables} == names


def test_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="six columns"):
        InceptionBlock([1, 2, 3])
    with pytest.raises(ValueError, match="pooling must be one of"):
        InceptionBlock(GOOGLENET_3A, pooling="median")
