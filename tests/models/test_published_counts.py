"""Counts and costs of published networks. All parameters are trainable ones: no moving averages.

Sources: He et al. 2016, Table 6 (0.27M, 0.85M, 1.7M; option A shortcuts, 10 classes); the exact
numbers of option B are those that imgclsmob checks its CIFAR ResNets against, and those of
DenseNet-BC as well. Huang et al. 2017, Table 2: 1.0M (L=40, k=12), 0.8M, 15.3M and 25.6M (BC).
"""

from __future__ import annotations

import keras
import pytest

from tuner.models import FAMILIES

CIFAR = (32, 32, 3)

RESNETS = [
    (20, "identity", 10, 269_722),
    (56, "identity", 10, 853_018),
    (110, "identity", 10, 1_727_962),
    (20, "identity", 100, 275_572),
    (20, "projection", 10, 272_474),
    (20, "projection", 100, 278_324),
    (56, "projection", 100, 861_620),
    (110, "projection", 100, 1_736_564),
]

PLAIN, BC = (False, 1.0), (True, 0.5)
DENSENETS = [
    (40, 12, PLAIN, 10, 1_019_722),
    (100, 12, BC, 10, 769_162),
    (100, 12, BC, 100, 800_032),
    (250, 24, BC, 10, 15_324_406),
    (190, 40, BC, 10, 25_624_430),
]


def cost(name, num_classes=10, **values):
    family = FAMILIES[name]
    return family.cost(family.config(**values), CIFAR, num_classes)


@pytest.mark.parametrize(("depth", "shortcut", "num_classes", "expected"), RESNETS)
def test_resnet(depth, shortcut, num_classes, expected):
    assert cost("resnet", num_classes, depth=depth, shortcut=shortcut).parameters == expected


@pytest.mark.parametrize(("depth", "growth_rate", "kind", "num_classes", "expected"), DENSENETS)
def test_densenet(depth, growth_rate, kind, num_classes, expected):
    found = cost(
        "densenet",
        num_classes,
        depth=depth,
        growth_rate=growth_rate,
        bottleneck=kind[0],
        compression=kind[1],
    )
    assert found.parameters == expected


def test_densenet_40_12_by_hand():
    # Layers of 12 in blocks that are entered with 16, 160 and 304 channels; gamma and beta each.
    seen = [start + 12 * i for start in (16, 160, 304) for i in range(12)]
    layers = sum(9 * 12 * channels + 2 * channels for channels in seen)
    transitions = sum(channels * channels + 2 * channels for channels in (160, 304))
    stem, head = 9 * 3 * 16, 2 * 448 + (448 + 1) * 10
    assert stem + layers + transitions + head == 1_019_722


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("resnet", {"depth": 20}),
        ("resnet", {"depth": 56, "shortcut": "projection"}),
        ("resnet", {"depth": 110}),
        ("densenet", {"depth": 40}),
        ("densenet", {"depth": 100, "bottleneck": True, "compression": 0.5}),
    ],
)
def test_the_built_network_has_as_many(name, values):
    family = FAMILIES[name]
    config = family.config(**values)
    with keras.StatelessScope(initialize_variables=False):
        model = family.build(config, CIFAR, 100)
    built = sum(keras.ops.size(v) for v in model.trainable_variables)
    assert built == family.cost(config, CIFAR, 100).parameters


@pytest.mark.parametrize(
    ("name", "values", "millions"),
    [
        # Multiply-adds of convolutions and dense layers alone.
        ("resnet", {"depth": 20}, 40.6),
        ("resnet", {"depth": 56}, 125.5),
        ("densenet", {"depth": 100, "bottleneck": True, "compression": 0.5}, 288.0),
        ("densenet", {"depth": 40}, 265.0),
    ],
)
def test_multiply_adds(name, values, millions):
    assert cost(name, 100, **values).macs / 1e6 == pytest.approx(millions, rel=0.002)
