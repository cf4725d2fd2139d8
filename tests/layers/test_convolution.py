"""Convolutions in groups, and of single pixels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.on_backend import gradients, images
from tuner.layers import GroupedConvolution
from tuner.layers.convolution import PointwiseConvolution

SHAPE = (2, 5, 4, 6)


def make(groups, strides=1, **arguments):
    layer = GroupedConvolution(9, 3, groups, strides, **arguments)
    layer.build(SHAPE)
    return layer


def as_one_kernel(kernel, groups):
    """The kernel of an ordinary convolution: zeros between the groups."""
    size, _, seen, filters = kernel.shape
    full = np.zeros((size, size, seen * groups, filters), kernel.dtype)
    for g in range(groups):
        made = slice(g * filters // groups, (g + 1) * filters // groups)
        full[:, :, g * seen : (g + 1) * seen, made] = kernel[..., made]
    return full


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("groups", [1, 3])
def test_is_a_convolution_with_zeros_between_the_groups(groups, strides):
    layer = make(groups, strides)
    kernel = ops.convert_to_numpy(layer.kernel)
    assert kernel.shape == (3, 3, 6 // groups, 9)
    expected = ops.conv(images(SHAPE), as_one_kernel(kernel, groups), strides, padding="same")
    y = layer(images(SHAPE))
    assert tuple(y.shape) == layer.compute_output_shape(SHAPE)
    np.testing.assert_allclose(np.array(y), np.array(expected), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_has_a_gradient_in_every_precision(precision):
    layer, weights = make(3, dtype=precision), images((2, 5, 4, 9), 1)
    model = keras.Sequential([layer])
    model.build(SHAPE)
    for_images, for_kernel = gradients(model, images(SHAPE), weights)
    kernel = ops.convert_to_numpy(layer.kernel)
    bump = np.zeros_like(kernel)
    bump[1, 1, 0, 4] = 1.0
    # The layer is linear: the gradient is the effect of one weight.
    change = ops.conv(images(SHAPE), as_one_kernel(bump, 3), 1, padding="same")
    expected = float(np.sum(np.array(change) * weights))
    assert float(for_kernel[1, 1, 0, 4]) == pytest.approx(expected, rel=0.1, abs=0.1)
    assert for_images.shape == SHAPE
    assert np.abs(np.asarray(for_images, "float32")).min() > 0


def test_refuses_what_does_not_divide_into_groups():
    with pytest.raises(ValueError, match="filters must be a multiple of 4 groups; got 9"):
        make(4)
    with pytest.raises(ValueError, match="channels must be a multiple of 9 groups; got 6"):
        make(9)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("use_bias", [False, True])
def test_a_pointwise_convolution_is_keras_convolution(dtype, use_bias):
    kinds = PointwiseConvolution, keras.layers.Conv2D
    layers = [keras.Sequential([kind(5, 1, use_bias=use_bias, dtype=dtype)]) for kind in kinds]
    for layer in layers:
        layer.build(SHAPE)
        layer.set_weights([images(w.shape, seed=2) for w in layer.get_weights()])
    x, weights = images(SHAPE), images((*SHAPE[:3], 5), seed=1)
    found, expected = ([layer(x), *gradients(layer, x, weights)] for layer in layers)
    for got, wanted in zip(found, expected, strict=True):
        got, wanted = (ops.convert_to_numpy(ops.cast(array, "float32")) for array in (got, wanted))
        rounding = 1e-6 if dtype == "float32" else 1e-2
        np.testing.assert_allclose(got, wanted, atol=rounding * np.abs(wanted).max())
