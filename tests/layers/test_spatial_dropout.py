"""Spatial dropout: whole channels, by the laws of dropout."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import compiled, gradients, values
from tuner.layers import SpatialDropout2D

MODES = ["upscale_in_train", "downscale_in_infer"]
FORMATS = {"channels_last": (1, 2), "channels_first": (2, 3)}


def built(rate, mode="upscale_in_train", data_format="channels_last"):
    layer = SpatialDropout2D(rate, mode, data_format, seed=1)
    layer.build((None, 3, 4, 5))
    return layer


def images(shape=(20, 3, 4, 5)):
    return np.linspace(1.0, 2.0, np.prod(shape), dtype="float32").reshape(shape)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("data_format", "pixels"), FORMATS.items())
def test_a_channel_of_an_image_goes_as_a_whole(mode, data_format, pixels):
    x = images()
    y = np.array(built(0.4, mode, data_format)(x, training=True))
    dropped = y == 0
    assert np.array_equal(dropped.any(pixels), dropped.all(pixels))
    shares = dropped.all(pixels).mean(0)  # of the images, by channel
    assert ((shares > 0) & (shares < 1)).all()
    factor = 1 / 0.6 if mode == "upscale_in_train" else 1.0
    np.testing.assert_allclose(y, np.where(dropped, 0, x * factor), rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_training_and_prediction_have_the_same_expectation(mode):
    x = np.ones((400, 1, 1, 100), "float32")
    trained, predicted = (np.array(built(0.2, mode)(x, training=t)).mean() for t in (True, False))
    expected = 1.0 if mode == "upscale_in_train" else 0.8
    assert predicted == pytest.approx(expected, rel=1e-6)
    # Six standard errors of the mean of 40,000 draws.
    assert trained == pytest.approx(expected, abs=6 * (0.2 / 0.8 / x.size) ** 0.5)


def test_it_drops_as_many_as_keras_does():
    x = np.ones((200, 2, 2, 100), "float32")
    ours, theirs = built(0.3), keras.layers.SpatialDropout2D(0.3, seed=2)
    got, expected = (np.array(layer(x, training=True)) for layer in (ours, theirs))
    shares = [(y[:, 0, 0] == 0).mean() for y in (got, expected)]
    assert shares[0] == pytest.approx(shares[1], abs=6 * (2 * 0.3 * 0.7 / 20_000) ** 0.5)
    assert got.max() == pytest.approx(expected.max(), rel=1e-6)


def test_the_gradient_passes_where_the_value_does():
    x, weights = images(), images()[::-1].copy()
    layer = built(0.5)
    (gradient,) = gradients(layer, x, weights)  # leaves the random state as it was
    np.testing.assert_allclose(gradient, weights * np.array(layer(x, training=True)) / x, rtol=1e-5)


def test_a_new_rate_takes_effect_without_a_new_trace():
    layer, x = built(0.0), keras.ops.ones((100, 1, 1, 20))
    traces = []

    def step(rate, *others):
        traces.append(1)
        return layer.stateless_call([], [rate, *others], x, training=True)[0]

    program = compiled(step)
    first, *others = layer.non_trainable_variables
    assert first is layer.rate
    others = [keras.ops.convert_to_tensor(v) for v in values(others)]
    shares = [
        (np.array(program(keras.ops.convert_to_tensor(rate, "float32"), *others)) == 0).mean()
        for rate in (0.0, 0.3, 0.7)
    ]
    assert len(traces) == 1
    np.testing.assert_allclose(shares, [0.0, 0.3, 0.7], atol=0.07)


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match=r"data_format must be one of .*received 'NHWC'"):
        SpatialDropout2D(0.1, data_format="NHWC")
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\); received 1"):
        SpatialDropout2D(1.0)
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=2"):
        SpatialDropout2D(0.1)(np.ones((2, 3), "float32"))
