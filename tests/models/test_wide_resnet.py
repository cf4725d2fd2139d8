"""Wide residual networks.

The numbers are those that imgclsmob checks its CIFAR networks against; Zagoruyko and Komodakis
2016, Table 4, has 36.5M for WRN-28-10 and 17.1M for WRN-16-10.
"""

from __future__ import annotations

import keras
import pytest
from pydantic import ValidationError

from tuner.models import FAMILIES

WIDE = FAMILIES["wide_resnet"]


def cost(num_classes=10, **values):
    return WIDE.cost(WIDE.config(**values), (32, 32, 3), num_classes)


@pytest.mark.parametrize(
    ("depth", "widen_factor", "num_classes", "expected"),
    [
        (16, 10, 10, 17_116_634),
        (28, 10, 10, 36_479_194),
        (28, 10, 100, 36_536_884),
        (40, 8, 10, 35_748_314),
        (40, 8, 100, 35_794_484),
    ],
)
def test_parameters(depth, widen_factor, num_classes, expected):
    assert cost(num_classes, depth=depth, widen_factor=widen_factor).parameters == expected


def test_the_default_is_wrn_28_10_with_its_multiply_adds():
    assert cost() == cost(depth=28, widen_factor=10)
    assert cost().macs / 1e9 == pytest.approx(5.24, abs=0.01)


def test_the_built_network_has_as_many():
    values = {"depth": 16, "widen_factor": 4}
    with keras.StatelessScope(initialize_variables=False):
        model = WIDE.build(WIDE.config(**values), (32, 32, 3), 100)
    built = sum(keras.ops.size(v) for v in model.trainable_variables)
    assert built == cost(100, **values).parameters
    # depth counts the convolutions of the shortcuts: 6n + 4.
    kernels = [v for v in model.trainable_variables if len(v.shape) == 4]
    assert len(kernels) == 16


@pytest.mark.parametrize(
    ("depth", "near"), [(11, "10 and 16"), (27, "22 and 28"), (602, "598 and 604")]
)
def test_depth_is_6n_plus_4(depth, near):
    with pytest.raises(ValidationError) as caught:
        WIDE.config(depth=depth)
    (error,) = caught.value.errors()
    assert error["loc"] == ("depth",)
    assert "6n + 4" in error["msg"]
    assert error["msg"].endswith(f"nearest: {near}")
