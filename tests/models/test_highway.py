"""Highway networks: their layers, sizes by hand, and gates that start where they are told."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from tuner.layers import HighwayBlock
from tuner.models import FAMILIES

HIGHWAY = FAMILIES["highway"]
IMAGE = (8, 8, 3)


def built(**values):
    keras.utils.set_random_seed(0)
    return HIGHWAY.build(HIGHWAY.config(**values), IMAGE, 10)


def symbolically(**values):
    with keras.StatelessScope(initialize_variables=False):
        return built(**values)


@pytest.mark.parametrize("depth", [5, 8, 20])
def test_its_depth_counts_stem_layers_and_head(depth):
    model = symbolically(depth=depth)
    blocks = [layer for layer in model.layers if isinstance(layer, HighwayBlock)]
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(blocks) + len(convolutions) + 1 == depth
    # Stem, and the first layer of the second and of the third stage.
    assert [layer.strides for layer in convolutions] == [(1, 1), (2, 2), (2, 2)]


def test_stages_have_16_32_and_64_filters():
    model = symbolically(depth=8)
    assert [model.get_layer(f"stage{s}_layer2").output.shape[1:] for s in (1, 2, 3)] == [
        (8, 8, 16),
        (4, 4, 32),
        (2, 2, 64),
    ]


def test_its_parameters_by_hand():
    # A 3x3 convolution with bias from a to b channels; a block has two from a to a.
    def convolution(a, b):
        return 9 * a * b + b

    stem, head = convolution(3, 16), 65 * 10
    first = 2 * 2 * convolution(16, 16)
    second = convolution(16, 32) + 2 * convolution(32, 32)
    third = convolution(32, 64) + 2 * convolution(64, 64)
    cost = HIGHWAY.cost(HIGHWAY.config(depth=8), (32, 32, 3), 10)
    assert cost.parameters == stem + first + second + third + head


@pytest.mark.parametrize(
    ("depth", "near"), [(6, "5 and 8"), (21, "20 and 23"), (1201, "1199 and 1202")]
)
def test_depth_is_3n_plus_2(depth, near):
    with pytest.raises(ValidationError, match="depth must be 3n") as caught:
        HIGHWAY.config(depth=depth)
    assert caught.value.errors()[0]["msg"].endswith(f"nearest: {near}")
    for allowed in near.split(" and "):
        assert HIGHWAY.config(depth=int(allowed))


@pytest.mark.parametrize("gate_bias", [-4.0, 0.5])
def test_every_gate_starts_at_the_bias(gate_bias):
    model = built(depth=5, gate_bias=gate_bias)
    blocks = [layer for layer in model.layers if isinstance(layer, HighwayBlock)]
    assert blocks
    for block in blocks:
        np.testing.assert_array_equal(np.array(block.gate.bias), gate_bias)


def test_with_closed_gates_a_deep_network_passes_its_stem_through():
    model = built(depth=14, gate_bias=-20.0)
    x = np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("float32")
    until = keras.Model(
        model.input, [model.get_layer(n).output for n in ("stem_relu", "stage1_layer4")]
    )
    stem, end = until(x)
    np.testing.assert_allclose(np.array(end), np.array(stem), atol=1e-5)
