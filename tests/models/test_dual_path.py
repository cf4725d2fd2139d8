"""Dual path networks.

The parameters of DPN-98, 107 and 131 are those that imgclsmob checks its networks against. DPN-92
is not among them: its number follows from the same arithmetic with the widths of timm's `dpn92`.
The billions of multiply-adds are those of the authors' page (cypw/DPNs).
"""

from __future__ import annotations

import keras
import pytest
from pydantic import ValidationError

from tuner.errors import InputError
from tuner.models import FAMILIES

DUAL_PATH = FAMILIES["dual_path"]
DPN_92 = {
    "stem": "imagenet",
    "depth": 92,
    "stem_filters": 64,
    "groups": 32,
    "bottleneck_filters": 96,
    "residual_filters": 256,
    "growth_rate": 16,
    "growth_multipliers": [1.0, 2.0, 1.5, 8.0],
}
WIDER = {
    **DPN_92,
    "groups": 40,
    "bottleneck_filters": 160,
    "growth_multipliers": [1.0, 2.0, 2.0, 8.0],
}
DPN_98 = {**WIDER, "depth": 98, "stem_filters": 96}
DPN_131 = {**WIDER, "depth": 131, "stem_filters": 128}
DPN_107 = {
    **DPN_131,
    "depth": 107,
    "groups": 50,
    "bottleneck_filters": 200,
    "growth_rate": 20,
    "growth_multipliers": [1.0, 3.2, 3.2, 6.4],
}


def imagenet_cost(values):
    return DUAL_PATH.cost(DUAL_PATH.config(**values), (224, 224, 3), 1000)


@pytest.mark.parametrize(
    ("values", "parameters"),
    [
        (DPN_92, 37_668_392),
        (DPN_98, 61_570_728),
        (DPN_107, 86_917_800),
        (DPN_131, 79_254_504),
    ],
    ids=["92", "98", "107", "131"],
)
def test_parameters(values, parameters):
    assert imagenet_cost(values).parameters == parameters


@pytest.mark.parametrize(
    ("values", "billions"), [(DPN_92, 6.5), (DPN_98, 11.7), (DPN_107, 18.3), (DPN_131, 16.0)]
)
def test_multiply_adds(values, billions):
    assert imagenet_cost(values).macs / 1e9 == pytest.approx(billions, abs=0.05)


def test_the_built_network_has_as_many():
    config = DUAL_PATH.config()
    with keras.StatelessScope(initialize_variables=False):
        model = DUAL_PATH.build(config, (32, 32, 3), 100)
    built = sum(keras.ops.size(v) for v in model.trainable_variables)
    assert built == DUAL_PATH.cost(config, (32, 32, 3), 100).parameters
    # depth counts stem, classifier and the three convolutions of each block, not the projections.
    kernels = [v.path for v in model.trainable_variables if v.name == "kernel"]
    assert sum("projection" not in path for path in kernels) == 26


def test_growth_follows_its_multipliers_and_is_never_nothing():
    config = DUAL_PATH.config(growth_rate=3, growth_multipliers=[1.0, 2.0, 0.1, 0.5])
    assert config.growth_rates == (3, 6, 1, 2)
    with keras.StatelessScope(initialize_variables=False):
        model = DUAL_PATH.build(config, (32, 32, 3), 10)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes["stage1_block1"] == (32, 32, 32 + 3 * 3)
    assert shapes["stage1_block2"] == (32, 32, 32 + 4 * 3)
    assert shapes["stage4_block2"] == (4, 4, 256 + 4 * 2)


@pytest.mark.parametrize(("filters", "near"), [(15, "8 and 16"), (4, "8"), (33, "32 and 40")])
def test_filters_divide_into_groups(filters, near):
    with pytest.raises(ValidationError) as caught:
        DUAL_PATH.config(groups=8, bottleneck_filters=filters)
    (error,) = caught.value.errors()
    assert error["loc"] == ("bottleneck_filters",)
    assert error["msg"].endswith(f"multiple of groups (8); nearest: {near}")


@pytest.mark.parametrize("multipliers", [[1.0], [1.0] * 5, [1.0, 1.0, 1.0, 0.0]])
def test_there_is_one_multiplier_greater_than_zero_a_stage(multipliers):
    with pytest.raises(ValidationError):
        DUAL_PATH.config(growth_multipliers=multipliers)


@pytest.mark.parametrize(("stem", "least"), [("cifar", 8), ("imagenet", 32)])
def test_images_too_small_for_the_strides_are_refused(stem, least):
    config = DUAL_PATH.config(stem=stem, depth=14)
    for refuses in (DUAL_PATH.cost, DUAL_PATH.build):
        with pytest.raises(InputError, match=f"at least {least}x{least}") as caught:
            refuses(config, (least - 1, 64, 3), 10)
        assert caught.value.problems[0].where == "model.stem"
    assert DUAL_PATH.cost(config, (least, least, 3), 10).parameters > 0


def test_the_imagenet_form_divides_images_by_32():
    with keras.StatelessScope(initialize_variables=False):
        model = DUAL_PATH.build(DUAL_PATH.config(stem="imagenet", depth=14), (64, 64, 3), 10)
    assert model.get_layer("stage4_block1").output.shape[1:3] == (2, 2)
    built = sum(keras.ops.size(v) for v in model.trainable_variables)
    assert (
        built
        == DUAL_PATH.cost(DUAL_PATH.config(stem="imagenet", depth=14), (64, 64, 3), 10).parameters
    )
