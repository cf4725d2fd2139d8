"""The dual path block."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.layers.on_backend import images, keras_normalization, randomize
from tuner.layers import DualPathBlock

SHAPE = (2, 5, 4, 7)


def built(shape=SHAPE, **arguments):
    block = DualPathBlock(4, 5, 2, groups=2, **arguments)
    block.build(shape)
    randomize(block)
    return block


def test_the_dense_path_grows_and_the_residual_path_stays():
    shape = (None, 8, 8, 3)
    shape = DualPathBlock(4, 16, 6, projection=True).compute_output_shape(shape)
    assert shape == (None, 8, 8, 16 + 3 * 6)
    for n in range(1, 4):
        shape = DualPathBlock(4, 16, 6).compute_output_shape(shape)
        assert shape == (None, 8, 8, 16 + (3 + n) * 6)
    shape = DualPathBlock(8, 32, 4, strides=2, projection=True).compute_output_shape(shape)
    assert shape == (None, 4, 4, 32 + 3 * 4)


def test_its_kernels_are_those_of_a_grouped_bottleneck():
    block = built(strides=2, projection=True)
    kernels = {v.path.split("/")[-2]: v.shape for v in block.variables if "kernel" in v.path}
    assert kernels == {
        "convolution1": (1, 1, 7, 4),
        "convolution2": (3, 3, 2, 4),
        "convolution3": (1, 1, 4, 5 + 2),
        "projection_convolution": (1, 1, 7, 5 + 2 * 2),
    }


def test_what_the_dense_path_held_goes_through_unchanged():
    y = np.array(built()(images(SHAPE), training=True))
    assert y.shape == (2, 5, 4, 9)
    np.testing.assert_array_equal(y[..., 5:7], images(SHAPE)[..., 5:])
    assert (np.abs(y[..., :5] - images(SHAPE)[..., :5]).max(axis=(0, 1, 2)) > 0).all()


def test_a_branch_of_zeros_leaves_the_images_and_appends_zeros():
    block = built()
    block.convolution3.kernel.assign(np.zeros(block.convolution3.kernel.shape))
    y = np.array(block(images(SHAPE), training=True))
    np.testing.assert_array_equal(y[..., :7], images(SHAPE))
    assert not y[..., 7:].any()


def keras_step(x, normalization, kernel, training, strides=1):
    x = ops.relu(keras_normalization(normalization, x, training))
    return ops.conv(x, kernel, strides, padding="same")


@pytest.mark.parametrize("training", [True, False])
def test_agrees_with_keras_layers(training):
    block = built(strides=2, projection=True)
    kernel2 = ops.convert_to_numpy(block.convolution2.kernel)
    full = np.zeros((3, 3, 4, 4), "float32")
    full[:, :, :2, :2], full[:, :, 2:, 2:] = kernel2[..., :2], kernel2[..., 2:]
    x = keras_step(images(SHAPE), block.normalization1, block.convolution1.kernel, training)
    x = keras_step(x, block.normalization2, full, training, 2)
    x = np.array(keras_step(x, block.normalization3, block.convolution3.kernel, training))
    carried = np.array(
        keras_step(
            images(SHAPE),
            block.projection_normalization,
            block.projection_convolution.kernel,
            training,
            2,
        )
    )
    expected = np.concatenate([carried[..., :5] + x[..., :5], carried[..., 5:], x[..., 5:]], -1)
    np.testing.assert_allclose(
        np.array(block(images(SHAPE), training=training)), expected, atol=1e-3
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 3, "groups": 2}, "multiple of 2 groups; got 3"),
        ({"filters": 4, "strides": 2}, "strides 2 need projection=True"),
        ({"filters": 4}, "7 channels leave no dense path beside 7 residual"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        DualPathBlock(residual_filters=7, growth_rate=2, **arguments).build(SHAPE)
