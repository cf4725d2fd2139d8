"""Dropout: the laws of both conventions, and a rate that is an argument of the program."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import BACKEND, compiled, gradients, values
from tuner.layers import Dropout

MODES = ["upscale_in_train", "downscale_in_infer"]


def built(rate, mode="upscale_in_train", shape=(None, 4), **arguments):
    layer = Dropout(rate, mode=mode, seed=1, **arguments)
    layer.build(shape)
    return layer


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.9])
def test_upscale_gives_zero_or_the_value_over_its_chance(rate):
    x = np.linspace(1.0, 2.0, 500, dtype="float32").reshape(10, 50)
    y = np.array(built(rate)(x, training=True))
    np.testing.assert_allclose(y, np.where(y == 0, 0, x / (1 - rate)), rtol=1e-6)
    assert (y == 0).any() == (rate > 0)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.9])
def test_downscale_gives_zero_or_the_value(rate):
    x = np.linspace(1.0, 2.0, 500, dtype="float32").reshape(10, 50)
    y = np.array(built(rate, "downscale_in_infer")(x, training=True))
    np.testing.assert_array_equal(y, np.where(y == 0, 0, x))
    assert (y == 0).any() == (rate > 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_training_and_prediction_have_the_same_expectation(mode, rate):
    x = np.ones((200, 500), "float32")
    layer = built(rate, mode)
    trained, predicted = (np.array(layer(x, training=t)).mean() for t in (True, False))
    expected = 1.0 if mode == "upscale_in_train" else 1 - rate
    assert predicted == pytest.approx(expected, rel=1e-6)
    # Six standard errors of the mean of 100,000 draws.
    assert trained == pytest.approx(expected, abs=6 * (rate / (1 - rate) / x.size) ** 0.5)


def test_it_drops_as_keras_does():
    x = np.linspace(1.0, 2.0, 40_000, dtype="float32").reshape(200, 200)
    ours, theirs = built(0.3), keras.layers.Dropout(0.3, seed=2)
    got, expected = (np.array(layer(x, training=True)) for layer in (ours, theirs))
    shares = [(y == 0).mean() for y in (got, expected)]
    # Six standard errors of a difference of shares.
    assert shares[0] == pytest.approx(shares[1], abs=6 * (2 * 0.3 * 0.7 / x.size) ** 0.5)
    both = (got != 0) & (expected != 0)
    np.testing.assert_allclose(got[both], expected[both], rtol=1e-6)
    for training in (False, None):
        np.testing.assert_array_equal(np.array(ours(x, training=training)), x)


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_passes_where_the_value_does(mode):
    x = np.linspace(1.0, 2.0, 60, dtype="float32").reshape(6, 10)
    layer, weights = built(0.5, mode), np.linspace(-1.0, 2.0, 60, dtype="float32").reshape(6, 10)
    (gradient,) = gradients(layer, x, weights)  # leaves the random state as it was
    y = np.array(layer(x, training=True))
    np.testing.assert_allclose(gradient, weights * y / x, rtol=1e-5)


def test_nothing_that_is_dropped_comes_through():
    x = np.full((20, 20), np.inf, "float32")
    assert set(np.unique(np.array(built(0.5)(x, training=True)))) == {0.0, np.inf}


def test_a_rate_of_0_changes_nothing():
    x = np.random.default_rng(0).normal(size=(20, 30)).astype("float32")
    for mode in MODES:
        for training in (True, False):
            np.testing.assert_array_equal(np.array(built(0.0, mode)(x, training=training)), x)


def test_every_call_draws_anew_and_the_state_decides():
    x = np.ones((10, 100), "float32")
    layer = built(0.5)
    start = values([layer.seed_generator.state])[0]
    first, second = (np.array(layer(x, training=True)) for _ in range(2))
    assert (first != second).any()
    layer.seed_generator.state.assign(start)
    np.testing.assert_array_equal(np.array(layer(x, training=True)), first)


@pytest.mark.parametrize("mode", MODES)
def test_a_new_rate_takes_effect_without_a_new_trace(mode):
    layer = built(0.0, mode)
    x = np.ones((40, 50), "float32")
    traces = []

    def step(state, x):
        traces.append(1)
        return layer.stateless_call([], state, x, training=True)

    program = compiled(step)
    names = [v.path for v in layer.non_trainable_variables]
    state = [keras.ops.convert_to_tensor(v) for v in values(layer.non_trainable_variables)]
    rate_at = next(i for i, name in enumerate(names) if name.endswith("rate"))
    shares = []
    for rate in (0.0, 0.3, 0.7):
        state[rate_at] = keras.ops.convert_to_tensor(rate, "float32")
        y, state = program(state, keras.ops.convert_to_tensor(x))
        state = list(state)
        shares.append(float((np.array(y) == 0).mean()))
    assert len(traces) == 1
    np.testing.assert_allclose(shares, [0.0, 0.3, 0.7], atol=0.07)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="variables are assigned inside tf.function")
def test_assigning_the_rate_reaches_a_compiled_function():
    layer = built(0.0)
    traces = []

    def step(x):
        traces.append(1)
        return layer(x, training=True)

    program, x = compiled(step), keras.ops.ones((40, 50))
    assert (np.array(program(x)) != 0).all()
    layer.rate.assign(0.6)
    assert (np.array(program(x)) == 0).mean() == pytest.approx(0.6, abs=0.07)
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_dtype_and_a_float32_rate(dtype):
    layer = built(0.3, dtype=f"mixed_{dtype}")
    y = layer(keras.ops.ones((100, 100), dtype), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert layer.rate.dtype == "float32"
    y = np.array(keras.ops.cast(y, "float32"))
    assert set(np.unique(y)) == {0.0, np.float32(np.array(y.max()))}
    assert y.max() == pytest.approx(1 / 0.7, rel=1e-2)
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.03)


def test_the_training_code_can_find_it():
    assert Dropout(0.1).hyperparameter == "dropout"
    assert Dropout(0.1, hyperparameter="head_dropout").hyperparameter == "head_dropout"


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_refuses_a_rate_that_cannot_be(rate):
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\); received"):
        Dropout(rate)


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match=r"mode must be one of .*received 'upscale'"):
        Dropout(0.1, mode="upscale")
