"""Batch normalization: laws, then numbers, then numpy and Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import BACKEND, gradients, values
from tuner.layers import BatchNormalization

CASES = [
    ((8, 5), -1),
    ((4, 6, 3), -1),
    ((4, 3, 2, 5), -1),
    ((4, 3, 2, 5), 3),
    ((4, 5, 3, 2), 1),
    ((4, 5, 3, 2), -3),
    ((4, 3, 5, 2), 2),
    ((3, 2, 3, 2, 4), -1),
    ((3, 4, 2, 3, 2), 1),
    ((4, 2, 2, 4), -1),
]
# Each goes its own way on TensorFlow; on JAX there is one for all.
FORMS = [((8, 5), -1), ((4, 5, 3, 2), 1), ((4, 3, 2, 5), -1), ((3, 2, 3, 2, 4), -1)]
FORMS += [((2, 4, 4, 6), -1), ((2, 6, 2, 4), 1)]  # on a CPU through a view of more channels
if BACKEND == "jax":
    CASES, FORMS = CASES[3:5], FORMS[:2]


def images(shape, seed=0, mean=1.5, deviation=2.0):
    return np.random.default_rng(seed).normal(mean, deviation, shape).astype("float32")


def reference(x, axis, epsilon):
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon), mean.ravel(), variance.ravel()


def randomize(layer, seed=7):
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])


def twins(shape, axis, **arguments):
    ours = BatchNormalization(axis=axis, **arguments)
    theirs = keras.layers.BatchNormalization(axis=axis, **arguments)
    for layer in (ours, theirs):
        layer.build(shape)
        randomize(layer)
    return ours, theirs


@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_each_channel_gets_mean_0_and_variance_1(shape, axis):
    x = images(shape)
    y = np.array(BatchNormalization(axis=axis, epsilon=1e-8)(x, training=True))
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    np.testing.assert_allclose(y.mean(axes), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.var(axes), 1.0, atol=1e-4)


def test_two_numbers_by_hand():
    # Mean 2, variance 1: (1 - 2) / sqrt(1 + 3) = -0.5. Moving: 0.75·0 + 0.25·2, 0.75·1 + 0.25·1.
    layer = BatchNormalization(momentum=0.75, epsilon=3.0)
    y = layer(np.array([[1.0], [3.0]], "float32"), training=True)
    np.testing.assert_allclose(np.array(y), [[-0.5], [0.5]], atol=1e-6)
    np.testing.assert_allclose(np.array(layer.moving_mean), [0.5], atol=1e-6)
    np.testing.assert_allclose(np.array(layer.moving_variance), [1.0], atol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_agrees_with_numpy(shape, axis):
    x = images(shape)
    expected, mean, variance = reference(x, axis, 1e-3)
    layer = BatchNormalization(axis=axis, momentum=0.9)
    np.testing.assert_allclose(np.array(layer(x, training=True)), expected, atol=2e-5)
    np.testing.assert_allclose(np.array(layer.moving_mean), 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(np.array(layer.moving_variance), 0.9 + 0.1 * variance, rtol=1e-4)


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("learnt", [{}, {"center": False}, {"scale": False}])
def test_agrees_with_keras_over_several_steps(shape, axis, learnt):
    ours, theirs = twins(shape, axis, momentum=0.8, epsilon=1e-2, **learnt)
    for step in range(4):
        x = images(shape, seed=step, mean=step, deviation=1 + step)
        got, expected = (np.array(layer(x, training=True)) for layer in (ours, theirs))
        np.testing.assert_allclose(got, expected, atol=2e-5)
    for got, expected in zip(values(ours.variables), values(theirs.variables), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    got, expected = (np.array(layer(x, training=False)) for layer in (ours, theirs))
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize(("shape", "axis"), FORMS)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_agree_with_keras(shape, axis, training):
    ours, theirs = twins(shape, axis)
    x, weights = images(shape), images(shape, seed=1)
    got, expected = (gradients(layer, x, weights, training) for layer in (ours, theirs))
    assert len(got) == 3
    for ours_, theirs_ in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=2e-5, atol=5e-5)


@pytest.mark.parametrize(("shape", "axis"), FORMS)
def test_gradients_of_a_frozen_layer_agree_with_keras(shape, axis):
    ours, theirs = twins(shape, axis)
    ours.trainable = theirs.trainable = False
    x, weights = images(shape), images(shape, seed=1)
    (got,), (expected,) = (gradients(layer, x, weights) for layer in (ours, theirs))
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=5e-5)


@pytest.mark.parametrize(("dtype", "rounding"), [("float16", 2e-3), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "axis"), FORMS)
def test_half_precision_is_float32_but_for_rounding(shape, axis, training, dtype, rounding):
    whole, half = (BatchNormalization(axis=axis, dtype=d) for d in ("float32", f"mixed_{dtype}"))
    for layer in (whole, half):
        layer.build(shape)
        randomize(layer)
    x, weights = (keras.ops.cast(images(shape, seed=seed), dtype) for seed in (0, 1))
    x32, weights32 = (np.array(keras.ops.cast(t, "float32")) for t in (x, weights))
    got, expected = half(x, training=training), whole(x32, training=training)
    assert_close(got, expected, rounding)
    found = gradients(half, x, weights32, training)
    for ours, reference_ in zip(found, gradients(whole, x32, weights32, training), strict=True):
        assert_close(ours, reference_, 2 * rounding)


def assert_close(got, expected, rounding):
    """To within the rounding of the largest element."""
    got, expected = (np.array(keras.ops.cast(t, "float32")) for t in (got, expected))
    np.testing.assert_allclose(got, expected, atol=rounding * np.abs(expected).max())


@pytest.mark.parametrize(("shape", "axis"), [((600, 4), -1), ((6, 10, 10, 4), -1)])
def test_sums_may_exceed_the_largest_float16(shape, axis):
    # Each channel sums to about 120,000 and its squares to 24 million; float16 ends at 65,504.
    x = images(shape, mean=200.0, deviation=10.0).astype("float16")
    layer = BatchNormalization(axis=axis, momentum=0.0, dtype="mixed_float16")
    y = layer(x, training=True)
    _, mean, variance = reference(x.astype("float32"), axis, 1e-3)
    assert np.isfinite(np.array(y)).all()
    np.testing.assert_allclose(np.array(layer.moving_mean), mean, rtol=1e-4)
    np.testing.assert_allclose(np.array(layer.moving_variance), variance, rtol=1e-3)


def test_statistics_survive_a_mean_far_from_zero():
    x = images((64, 4), mean=1000.0, deviation=1.0)
    layer = BatchNormalization(momentum=0.0)
    layer(x, training=True)
    np.testing.assert_allclose(np.array(layer.moving_variance), x.var(0), rtol=1e-2)


def test_a_batch_of_one_pixel_is_beta():
    layer = BatchNormalization()
    y = layer(images((1, 1, 1, 3)), training=True)
    np.testing.assert_allclose(np.array(y), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.array(layer.moving_variance), 0.99, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments", [{"momentum": 1.5}, {"momentum": -0.1}, {"epsilon": 0.0}, {"epsilon": -1e-3}]
)
def test_refuses_what_cannot_be(arguments):
    name, value = next(iter(arguments.items()))
    with pytest.raises(ValueError, match=rf"{name} must be .*{value}"):
        BatchNormalization(**arguments)


def test_refuses_an_axis_that_is_not_there():
    with pytest.raises(ValueError, match=r"axis must be in \[-2, 2\); received 3"):
        BatchNormalization(axis=3).build((None, 4))


@pytest.mark.skipif(BACKEND == "jax", reason="XLA fuses what it can compute")
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_a_compiled_prediction_bears_any_activation_after_it(activation):
    """TensorFlow fuses what follows a convolution, and has no kernel for all that it fuses."""
    images = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype(np.float32)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(16, 3, use_bias=False)(inputs)
    x = BatchNormalization()(x)
    model = keras.Model(inputs, keras.layers.Activation(activation)(x))
    expected = np.asarray(model(images, training=False))
    model.compile(jit_compile=False)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-6)
