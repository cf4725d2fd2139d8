"""Dropout of elements, channels and branches: laws of both conventions, rates given at run time."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import BACKEND, compiled, gradients, values
from tuner.layers import Dropout, ResidualBlock, SpatialDropout2D, StochasticDepth

UP, DOWN = "upscale_in_train", "downscale_in_infer"
SHAPE = (40, 3, 4, 5)
# Layer by (rate, mode), and the axes along which it drops as a whole.
KINDS = {
    "elements": (lambda rate, mode, **k: Dropout(rate, mode, seed=1, **k), ()),
    "channels": (lambda rate, mode, **k: SpatialDropout2D(rate, mode, seed=1, **k), (1, 2)),
    "channels_first": (
        lambda rate, mode, **k: SpatialDropout2D(rate, mode, "channels_first", seed=1, **k),
        (2, 3),
    ),
    "branches": (
        lambda rate, mode, **k: StochasticDepth(rate, mode, "image", seed=1, **k),
        (1, 2, 3),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# The conventions differ by a factor, on any backend.
@pytest.fixture(params=[UP] if BACKEND == "jax" else [UP, DOWN])
def mode(request):
    return request.param


def built(kind, rate, mode=UP, **arguments):
    layer = KINDS[kind][0](rate, mode, **arguments)
    layer.build((None, *SHAPE[1:]))
    return layer


def images(shape=SHAPE):
    return np.linspace(1.0, 2.0, np.prod(shape), dtype="float32").reshape(shape)


def ones(kind):
    """Inputs of 40,000 draws, whatever is dropped together."""
    return np.ones(
        {
            "elements": (200, 200),
            "channels": (400, 1, 1, 100),
            "channels_first": (400, 100, 1, 1),
            "branches": (40_000, 1, 1, 1),
        }[kind],
        "float32",
    )


def test_a_training_step_gives_zero_or_the_value_in_its_convention(kind, mode, rate=0.25):
    x, together = images(), KINDS[kind][1]
    y = np.array(built(kind, rate, mode)(x, training=True))
    factor = 1 / (1 - rate) if mode == UP else 1.0
    np.testing.assert_allclose(y, np.where(y == 0, 0, x * factor), rtol=1e-6)
    dropped = y == 0
    assert 0 < dropped.mean() < 1
    assert np.array_equal(dropped.any(together), dropped.all(together))


def test_training_and_prediction_have_the_same_expectation(kind, mode, rate=0.8):
    layer, x = KINDS[kind][0](rate, mode), ones(kind)
    trained, predicted = (np.array(layer(x, training=t)).mean() for t in (True, False))
    expected = 1.0 if mode == UP else 1 - rate
    assert predicted == pytest.approx(expected, rel=1e-6)
    # Six standard errors of the mean of 40,000 draws.
    assert trained == pytest.approx(expected, abs=6 * (rate / (1 - rate) / x.size) ** 0.5)


def test_the_gradient_passes_where_the_value_does(kind, mode):
    x, weights = images(), images()[::-1].copy()
    layer = built(kind, 0.5, mode)
    (gradient,) = gradients(layer, x, weights)  # leaves the random state as it was
    np.testing.assert_allclose(gradient, weights * np.array(layer(x, training=True)) / x, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_at_rate_0_all_comes_through_and_at_rate_1_nothing(kind, mode, dtype):
    x = keras.ops.convert_to_tensor(images(), dtype)
    for rate, expected in ((0.0, np.array(x)), (1.0, np.zeros(SHAPE))):
        layer = built(kind, rate, mode, dtype=dtype)
        np.testing.assert_array_equal(np.array(layer(x, training=True)), expected)
        (gradient,) = gradients(layer, x, images())
        np.testing.assert_array_equal(np.array(gradient) != 0, rate == 0)
        at_prediction = expected if mode == DOWN else np.array(x)
        np.testing.assert_array_equal(np.array(layer(x)), at_prediction)


def test_the_rate_can_be_read_and_set_before_the_layer_is_built_and_after(kind, mode):
    layer = KINDS[kind][0](0.25, mode)
    assert layer.rate == 0.25
    layer.rate = 0.5
    assert (layer.rate, layer.get_config()["rate"]) == (0.5, 0.5)
    layer.build((None, *SHAPE[1:]))
    variable = layer.rate
    assert float(variable) == 0.5
    layer.rate = 1.0
    assert layer.rate is variable
    assert float(variable) == 1.0
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\]; received 1.5"):
        layer.rate = 1.5


@pytest.mark.parametrize(
    ("noise_shape", "together"),
    [(None, ()), ((None, 1, 1, 5), (1, 2)), ([40, 1, None, 1], (1, 3)), ((1, 3, 4, 5), (0,))],
)
def test_a_draw_decides_about_an_axis_whose_noise_has_size_1(noise_shape, together):
    x = images()
    ours, theirs = (kind(0.5, noise_shape=noise_shape) for kind in (Dropout, keras.layers.Dropout))
    for layer in (ours, theirs):
        dropped = np.array(layer(x, training=True)) == 0
        assert 0 < dropped.mean() < 1
        np.testing.assert_array_equal(dropped.any(together), dropped.all(together))
        for axis in set(range(4)) - set(together):  # the others do differ along each axis
            assert (dropped != dropped.take([0], axis)).any()
    assert ours.get_config()["noise_shape"] == theirs.get_config()["noise_shape"]


def test_spatial_dropout_takes_the_data_format_that_keras_is_set_to(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    assert SpatialDropout2D(0.5, data_format=None).data_format == "channels_first"
    assert SpatialDropout2D(0.5).data_format == "channels_last"


def test_nothing_that_is_dropped_comes_through(kind):
    x = np.full(SHAPE, np.inf, "float32")
    assert set(np.unique(np.array(built(kind, 0.5)(x, training=True)))) == {0.0, np.inf}


def test_every_call_draws_anew_and_the_state_decides(kind):
    layer = built(kind, 0.5)
    start = values([layer.seed_generator.state])[0]
    first, second = (np.array(layer(images(), training=True)) for _ in range(2))
    assert (first != second).any()
    layer.seed_generator.state.assign(start)
    np.testing.assert_array_equal(np.array(layer(images(), training=True)), first)


def test_a_new_rate_takes_effect_without_a_new_trace(kind):
    layer, x = built(kind, 0.0), keras.ops.convert_to_tensor(ones(kind))
    traces = []

    def step(state, x):
        traces.append(1)
        return layer.stateless_call([], state, x, training=True)

    program = compiled(step)
    state = [keras.ops.convert_to_tensor(v) for v in values(layer.non_trainable_variables)]
    assert layer.non_trainable_variables[0] is layer.rate
    shares = []
    for rate in (0.0, 0.3, 0.7):
        state[0] = keras.ops.convert_to_tensor(rate, "float32")
        y, state = program(state, x)
        state = list(state)
        shares.append(float((np.array(y) == 0).mean()))
    assert len(traces) == 1
    np.testing.assert_allclose(shares, [0.0, 0.3, 0.7], atol=0.02)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_dtype_and_a_float32_rate(dtype):
    layer = built("elements", 0.3, dtype=f"mixed_{dtype}")
    y = layer(keras.ops.ones((100, 100), dtype), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert layer.rate.dtype == "float32"
    y = np.array(keras.ops.cast(y, "float32"))
    assert set(np.unique(y)) == {0.0, np.float32(np.array(y.max()))}
    assert y.max() == pytest.approx(1 / 0.7, rel=1e-2)
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.03)


def test_one_draw_decides_about_the_branch_of_the_whole_batch():
    layer, x = StochasticDepth(0.5, DOWN, "batch", seed=1), images((8, 2, 2, 3))
    assert {float((np.array(layer(x, training=True)) == 0).mean()) for _ in range(20)} == {0.0, 1.0}


def test_the_multiplier_is_the_share_of_the_rate_that_a_branch_takes():
    layer = built("branches", 0.8, DOWN, multiplier=0.25)
    assert (layer.initial_rate, layer.multiplier) == (0.8, 0.25)
    assert float(values([layer.rate])[0]) == pytest.approx(0.2)
    assert (np.array(layer(ones("branches"), training=True)) == 0).mean() == pytest.approx(
        0.2, abs=0.02
    )


def test_a_dropped_branch_has_no_gradient():
    block, x = ResidualBlock(3, stochastic_depth=0.5), images((2, 4, 4, 3))
    block.build(x.shape)
    block.stochastic_depth.rate.assign(1.0)
    of_inputs, *of_weights = gradients(block, x, np.ones(x.shape, "float32"))
    assert all((gradient == 0).all() for gradient in of_weights)
    np.testing.assert_array_equal(of_inputs, 1)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Dropout, {"rate": -0.1}, r"rate must be in \[0, 1\]; received -0.1"),
        (SpatialDropout2D, {"rate": 1.1}, r"rate must be in \[0, 1\]; received 1.1"),
        (StochasticDepth, {"rate": float("nan")}, r"rate must be in \[0, 1\]; received nan"),
        (Dropout, {"rate": 0.1, "mode": "upscale"}, r"mode must be one of .*received 'upscale'"),
        (
            SpatialDropout2D,
            {"rate": 0.1, "data_format": "NHWC"},
            r"data_format must be one of .*received 'NHWC'",
        ),
        (
            StochasticDepth,
            {"rate": 0.1, "multiplier": 1.5},
            r"multiplier must be in \[0, 1\]; received 1.5",
        ),
        (StochasticDepth, {"rate": 0.1, "per": "pixel"}, r"per must be one of .*received 'pixel'"),
        (Dropout, {"rate": 0.1, "noise_shape": (None, 0)}, r"positive or None; .* \(None, 0\)"),
    ],
)
def test_refuses_what_cannot_be(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.parametrize("noise_shape", [(None, 1), (None, 1, 3), (None, 1, 1, 1)])
def test_refuses_noise_that_does_not_fit_the_inputs(noise_shape):
    with pytest.raises(ValueError, match="noise_shape must have 1, None or the inputs' size"):
        Dropout(0.5, noise_shape=noise_shape)(images((2, 3, 4)))
