"""Plain networks: choices of activation and pooling."""

from __future__ import annotations

import keras
import pytest

from tuner.models import FAMILIES

PLAIN, RESNET = FAMILIES["plain"], FAMILIES["resnet"]
CIFAR = (32, 32, 3)


def cost(image=CIFAR, **values):
    return PLAIN.cost(PLAIN.config(**values), image, 10)


def build(image=CIFAR, **values):
    with keras.StatelessScope(initialize_variables=False):
        return PLAIN.build(PLAIN.config(**values), image, 10)


@pytest.mark.parametrize("depth", [20, 56])
def test_it_has_the_parameters_of_a_residual_network_without_projections(depth):
    residual = RESNET.cost(RESNET.config(depth=depth, shortcut="identity"), CIFAR, 10)
    assert cost(depth=depth).parameters == residual.parameters
    assert cost(depth=depth).macs == residual.macs


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_pooling_takes_the_place_of_strides(pooling):
    for size in (32, 7, 1):
        image = (size, size, 3)
        pooled, strided = (build(image, depth=8, pooling=p) for p in (pooling, None))
        shapes = [
            [tuple(layer.output.shape) for layer in model.layers if layer.name.endswith("_relu")]
            for model in (pooled, strided)
        ]
        assert shapes[0] == shapes[1]
    names = [layer.name for layer in pooled.layers if "pool" in layer.name]
    assert names == ["stage2_block1_1_pool", "stage3_block1_1_pool", "pool"]
    assert pooled.get_layer("stage2_block1_1_convolution").strides == (1, 1)
    assert strided.get_layer("stage2_block1_1_convolution").strides == (2, 2)


def test_pooling_costs_multiply_adds_and_no_parameters():
    pooled, strided = cost(depth=20, pooling="max"), cost(depth=20)
    assert pooled.parameters == strided.parameters
    # A strided convolution computes as many places as one on the pooled image.
    assert pooled.macs == strided.macs
    # The two pooled images themselves are kept.
    assert pooled.activations - strided.activations == 16 * 16 * 16 + 8 * 8 * 32
