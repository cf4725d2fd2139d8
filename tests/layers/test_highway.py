"""Highway blocks: between the identity and the transformation, as the gate says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.on_backend import values
from tuner.layers import HighwayBlock

SHAPES = {"images": (2, 5, 4, 3), "vectors": (6, 3)}


@pytest.fixture(params=SHAPES)
def x(request):
    return np.random.default_rng(0).normal(size=SHAPES[request.param]).astype("float32")


def built(x, **arguments):
    layer = HighwayBlock(3, **arguments)
    layer.build(x.shape)
    return layer


def transformed(layer, x):
    return np.array(keras.ops.relu(layer.transform(x)))


def test_a_closed_gate_carries_the_inputs(x):
    layer = built(x, gate_bias=-100.0)
    for training in (True, False):
        np.testing.assert_array_equal(np.array(layer(x, training=training)), x)


def test_an_open_gate_gives_the_transformation(x):
    layer = built(x, gate_bias=100.0)
    np.testing.assert_allclose(np.array(layer(x)), transformed(layer, x), atol=1e-6)


def test_it_is_the_mixture_of_the_formula(x):
    layer = built(x, gate_bias=-0.5)
    t, h = 1 / (1 + np.exp(-np.array(layer.gate(x)))), transformed(layer, x)
    assert 0.1 < t.mean() < 0.9
    np.testing.assert_allclose(np.array(layer(x)), t * h + (1 - t) * x, atol=1e-5)


@pytest.mark.parametrize("gate_bias", [-3.0, -1.0, 0.0])
def test_the_bias_decides_what_share_is_transformed_at_first(x, gate_bias):
    layer = built(x, gate_bias=gate_bias)
    np.testing.assert_array_equal(values([layer.gate.bias])[0], gate_bias)
    np.testing.assert_array_equal(values([layer.transform.bias])[0], 0.0)
    gate = np.array(keras.ops.sigmoid(layer.gate(np.zeros_like(x))))
    np.testing.assert_allclose(gate, 1 / (1 + np.exp(-gate_bias)), rtol=1e-5)


def test_a_number_by_hand():
    # H = relu(2·3 - 1) = 5, T = sigmoid(ln 3 + 0·3) = 3/4: 3/4·5 + 1/4·3 = 4.5.
    layer = HighwayBlock(1, gate_bias=np.log(3.0))
    layer.build((None, 1))
    layer.transform.set_weights([np.array([[2.0]]), np.array([-1.0])])
    layer.gate.kernel.assign([[0.0]])
    y = layer(np.array([[3.0]], "float32"))
    np.testing.assert_allclose(np.array(y), [[4.5]], rtol=1e-6)


def test_it_has_two_convolutions_with_biases(x):
    area = 9 if x.ndim == 4 else 1
    assert built(x).count_params() == 2 * (area * 3 * 3 + 3)
    # Normalization has a beta (and a gamma and two moving averages) where H had a bias.
    assert built(x, batch_normalization=True).count_params() == 2 * (area * 9 + 3) - 3 + 4 * 3


def test_dropout_drops_what_is_transformed_and_never_what_is_carried(x):
    x = np.abs(x) + 1
    closed, open_ = (built(x, gate_bias=b, dropout=0.5) for b in (-100.0, 100.0))
    np.testing.assert_array_equal(np.array(closed(x, training=True)), x)
    for layer in (closed, open_):
        layer.transform.set_weights([0 * w + 1 for w in layer.transform.get_weights()])
    y, h = np.array(open_(x, training=True)), transformed(open_, x)
    dropped = np.abs(y) < 1e-4
    assert dropped.any()
    np.testing.assert_allclose(y, np.where(dropped, 0, 2 * h), atol=1e-4)


def test_refuses_other_channels_than_it_has_filters():
    with pytest.raises(ValueError, match="received 4 filters for 3 channels"):
        HighwayBlock(4).build((None, 8, 8, 3))
    with pytest.raises(ValueError, match=r"received inputs of shape \(2, 5, 3\)"):
        HighwayBlock(3)(np.zeros((2, 5, 3), "float32"))
