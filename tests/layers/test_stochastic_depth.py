"""Stochastic depth: whole branches are dropped; predictions have the expectation of training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import compiled, gradients, values
from tuner.layers import ResidualBlock, StochasticDepth

MODES = ["downscale_in_infer", "upscale_in_train"]
SHAPE = (400, 2, 2, 3)


def built(rate, mode="downscale_in_infer", per="image", **arguments):
    layer = StochasticDepth(rate, mode, per, seed=1, **arguments)
    layer.build((None, *SHAPE[1:]))
    return layer


def images(shape=SHAPE):
    return np.random.default_rng(0).uniform(1.0, 2.0, shape).astype("float32")


def share_dropped(y):
    return float((np.array(y) == 0).all(axis=(1, 2, 3)).mean())


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.9])
def test_the_paper_passes_a_surviving_branch_as_it_is_and_scales_predictions(rate):
    layer, x = built(rate), images()
    y = np.array(layer(x, training=True))
    for before, after in zip(x, y, strict=True):
        assert (after == before).all() or (after == 0).all()
    assert 0 < share_dropped(y) < 1
    np.testing.assert_allclose(np.array(layer(x, training=False)), x * (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.9])
def test_upscale_divides_a_surviving_branch_and_predicts_it_as_it_is(rate):
    layer, x = built(rate, "upscale_in_train"), images()
    y = np.array(layer(x, training=True))
    dropped = (y == 0).all(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, np.where(dropped, 0, x / (1 - rate)), rtol=1e-6)
    np.testing.assert_array_equal(np.array(layer(x, training=False)), x)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_training_and_prediction_have_the_same_expectation(mode, rate):
    x = np.ones((20_000, 1, 1, 1), "float32")
    layer = StochasticDepth(rate, mode, "image", seed=2)
    trained, predicted = (np.array(layer(x, training=t)).mean() for t in (True, False))
    # Six standard errors of the mean of so many draws.
    assert trained == pytest.approx(predicted, abs=6 * (rate / (1 - rate) / len(x)) ** 0.5)


def test_one_draw_decides_for_the_whole_batch():
    layer = built(0.5, per="batch")
    shares = {share_dropped(layer(images((8, *SHAPE[1:])), training=True)) for _ in range(20)}
    assert shares == {0.0, 1.0}


@pytest.mark.parametrize("per", ["batch", "image"])
@pytest.mark.parametrize("mode", MODES)
def test_a_rate_of_0_changes_nothing(mode, per):
    for layer in (built(0.0, mode, per), built(0.7, mode, per, multiplier=0.0)):
        for training in (True, False):
            np.testing.assert_array_equal(np.array(layer(images(), training=training)), images())


def test_the_multiplier_is_the_share_of_the_rate_that_a_layer_takes():
    layer = built(0.8, multiplier=0.25)
    assert (layer.initial_rate, layer.multiplier) == (0.8, 0.25)
    assert float(values([layer.rate])[0]) == pytest.approx(0.2)
    assert share_dropped(layer(images(), training=True)) == pytest.approx(0.2, abs=0.07)


def test_a_new_rate_takes_effect_without_a_new_trace():
    layer, traces = built(0.0), []

    def step(state, x):
        traces.append(1)
        return layer.stateless_call([], state, x, training=True)

    program, x = compiled(step), keras.ops.convert_to_tensor(images())
    state = [keras.ops.convert_to_tensor(v) for v in values(layer.non_trainable_variables)]
    paths = [v.path for v in layer.non_trainable_variables]
    rate_at = next(i for i, path in enumerate(paths) if path.endswith("rate"))
    shares = []
    for rate in (0.0, 0.3, 0.7):
        state[rate_at] = keras.ops.convert_to_tensor(rate, "float32")
        y, state = program(state, x)
        state = list(state)
        shares.append(share_dropped(y))
    assert len(traces) == 1
    np.testing.assert_allclose(shares, [0.0, 0.3, 0.7], atol=0.09)


def test_a_dropped_branch_has_no_gradient():
    block, x = ResidualBlock(3, stochastic_depth=0.5), images((2, 4, 4, 3))
    block.build(x.shape)
    drop, ones = block.stochastic_depth, np.ones(x.shape, "float32")
    drop.rate.assign(1.0)
    found = gradients(block, x, ones)
    assert all((gradient == 0).all() for gradient in found[1:])
    np.testing.assert_array_equal(found[0], 1)
    drop.rate.assign(0.0)
    assert any((gradient != 0).any() for gradient in gradients(block, x, ones)[1:])


def test_every_call_draws_anew_and_the_state_decides():
    layer = built(0.5)
    start = values([layer.seed_generator.state])[0]
    first, second = (np.array(layer(images(), training=True)) for _ in range(2))
    assert (first != second).any()
    layer.seed_generator.state.assign(start)
    np.testing.assert_array_equal(np.array(layer(images(), training=True)), first)


def test_the_training_code_can_find_it():
    assert StochasticDepth(0.1).hyperparameter == "stochastic_depth"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 1.0}, r"rate must be in \[0, 1\); received 1.0"),
        ({"rate": float("nan")}, r"rate must be in \[0, 1\); received nan"),
        ({"rate": 0.1, "multiplier": 1.5}, r"multiplier must be in \[0, 1\]; received 1.5"),
        ({"rate": 0.1, "mode": "upscale"}, r"mode must be one of .*received 'upscale'"),
        ({"rate": 0.1, "per": "pixel"}, r"per must be one of .*received 'pixel'"),
    ],
)
def test_refuses_what_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        StochasticDepth(**arguments)
