"""Densely connected networks.

Counts of parameters are of trainable ones: no moving averages. Huang et al. 2017, Table 2, has 1.0M
(L=40, k=12), 0.8M, 15.3M and 25.6M (BC); the exact numbers of DenseNet-BC are those that imgclsmob
checks its CIFAR networks against.
"""

from __future__ import annotations

import keras
import pytest

from tuner.models import FAMILIES

DENSENET = FAMILIES["densenet"]
PLAIN, BC = (False, 1.0), (True, 0.5)


def cost(num_classes=10, **values):
    return DENSENET.cost(DENSENET.config(**values), (32, 32, 3), num_classes)


@pytest.mark.parametrize(
    ("depth", "growth_rate", "kind", "num_classes", "expected"),
    [
        (40, 12, PLAIN, 10, 1_019_722),
        (100, 12, BC, 10, 769_162),
        (100, 12, BC, 100, 800_032),
        (250, 24, BC, 10, 15_324_406),
        (190, 40, BC, 10, 25_624_430),
    ],
)
def test_parameters(depth, growth_rate, kind, num_classes, expected):
    bottleneck, compression = kind
    found = cost(
        num_classes,
        depth=depth,
        growth_rate=growth_rate,
        bottleneck=bottleneck,
        compression=compression,
    )
    assert found.parameters == expected


@pytest.mark.parametrize(
    ("values", "millions"),
    [
        # Multiply-adds of convolutions and dense layers alone.
        ({"depth": 100, "bottleneck": True, "compression": 0.5}, 288.0),
        ({"depth": 40}, 265.0),
    ],
)
def test_multiply_adds(values, millions):
    assert cost(100, **values).macs / 1e6 == pytest.approx(millions, rel=0.002)


@pytest.mark.parametrize("kind", [{}, {"bottleneck": True, "dropout": 0.2}])
def test_memory_efficiency_changes_only_what_is_kept(kind):
    usual, efficient = (cost(depth=100, **kind, memory_efficient=e) for e in (False, True))
    assert efficient.parameters == usual.parameters
    assert efficient.macs == usual.macs
    assert efficient.activations < usual.activations / 3


def test_a_memory_efficient_network_keeps_what_its_convolutions_made():
    # One block of two layers: stem, two convolutions, their concatenation, head and logits.
    found = cost(num_blocks=1, depth=6, growth_rate=5, memory_efficient=True)
    assert found.activations == 32 * 32 * (16 + 5 + 5 + 26 + 26) + 26 + 10


def test_the_names_of_the_weights_do_not_tell_the_kinds_apart():
    with keras.StatelessScope(initialize_variables=False):
        usual, efficient = (
            DENSENET.build(
                DENSENET.config(depth=10, dropout=0.1, memory_efficient=e), (8, 8, 3), 10
            )
            for e in (False, True)
        )
    assert [v.path for v in efficient.variables] == [v.path for v in usual.variables]
