"""Multilayer perceptrons: sizes by hand, and the order of their layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner.models import FAMILIES

MLP = FAMILIES["mlp"]
IMAGE = (4, 4, 3)


def parameters(**values):
    return MLP.cost(MLP.config(**values), IMAGE, 10).parameters


def built(**values):
    keras.utils.set_random_seed(0)
    return MLP.build(MLP.config(**values), IMAGE, 10)


@pytest.mark.parametrize(
    ("num_layers", "expected"),
    [(0, 49 * 10), (1, 49 * 7 + 8 * 10), (3, 49 * 7 + 2 * 8 * 7 + 8 * 10)],
)
def test_its_parameters_by_hand(num_layers, expected):
    assert parameters(num_layers=num_layers, hidden_units=7) == expected


def test_without_hidden_layers_it_is_softmax_regression():
    model = built(num_layers=0)
    x = np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("float32")
    kernel, bias = (np.array(v) for v in model.trainable_variables)
    np.testing.assert_allclose(np.array(model(x)), x.reshape(2, -1) @ kernel + bias, atol=1e-5)


def test_normalization_stands_between_the_affine_map_and_the_activation():
    model = built(num_layers=1, batch_normalization=True, dropout=0.2)
    names = [layer.name for layer in model.layers]
    assert names == [
        "image",
        "flatten",
        "hidden1_dense",
        "hidden1_normalization",
        "hidden1_relu",
        "hidden1_dropout",
        "logits",
    ]
    assert not model.get_layer("hidden1_dense").use_bias
