"""Residual networks: published counts, the two forms, and depths.

All parameters are trainable ones: no moving averages. Sources of the numbers: He et al. 2016,
Table 6 (0.27M, 0.85M, 1.7M; option A shortcuts, 10 classes); what imgclsmob checks its CIFAR
ResNets and PreResNets against (option B); `num_params` and `_ops` of torchvision's weights.
"""

from __future__ import annotations

import keras
import pytest
from pydantic import ValidationError

from tuner.errors import InputError
from tuner.models import FAMILIES

CIFAR, IMAGENET = (32, 32, 3), (224, 224, 3)
RESNET = FAMILIES["resnet"]

# (depth, shortcut, classes, parameters)
CIFAR_COUNTS = [
    (20, "identity", 10, 269_722),
    (56, "identity", 10, 853_018),
    (110, "identity", 10, 1_727_962),
    (20, "identity", 100, 275_572),
    (20, "projection", 10, 272_474),
    (20, "projection", 100, 278_324),
    (56, "projection", 100, 861_620),
    (110, "projection", 100, 1_736_564),
]
# (depth, block, pre-activation, classes, parameters); projections
OTHER_CIFAR_COUNTS = [
    (164, "bottleneck", False, 10, 1_704_154),
    (164, "bottleneck", False, 100, 1_727_284),
    (20, "basic", True, 10, 272_282),
    (20, "basic", True, 100, 278_132),
    (56, "basic", True, 10, 855_578),
    (110, "basic", True, 10, 1_730_522),
    (164, "bottleneck", True, 10, 1_703_258),
    (164, "bottleneck", True, 100, 1_726_388),
]
# depth: (parameters, giga multiply-adds) for 1,000 classes
IMAGENET_COUNTS = {
    18: (11_689_512, 1.814),
    34: (21_797_672, 3.664),
    50: (25_557_032, 4.089),
    101: (44_549_160, 7.801),
    152: (60_192_808, 11.514),
}


def config(**values):
    return RESNET.config(**values)


def cost(image=CIFAR, num_classes=10, **values):
    return RESNET.cost(config(**values), image, num_classes)


def build_symbolically(image, num_classes, **values):
    with keras.StatelessScope(initialize_variables=False):
        return RESNET.build(config(**values), image, num_classes)


def error_of(**values):
    with pytest.raises(ValidationError) as caught:
        config(**values)
    (error,) = caught.value.errors()
    assert error["loc"] == ("depth",)
    return error["msg"]


@pytest.mark.parametrize(("depth", "shortcut", "num_classes", "expected"), CIFAR_COUNTS)
def test_parameters_on_cifar(depth, shortcut, num_classes, expected):
    found = cost(num_classes=num_classes, depth=depth, shortcut=shortcut)
    assert found.parameters == expected


@pytest.mark.parametrize(
    ("depth", "block", "pre_activation", "num_classes", "expected"), OTHER_CIFAR_COUNTS
)
def test_parameters_of_bottlenecks_and_pre_activation(
    depth, block, pre_activation, num_classes, expected
):
    values = {"depth": depth, "block": block, "pre_activation": pre_activation}
    found = cost(num_classes=num_classes, shortcut="projection", **values)
    assert found.parameters == expected


@pytest.mark.parametrize("depth", IMAGENET_COUNTS)
def test_parameters_and_multiply_adds_on_imagenet(depth):
    parameters, giga = IMAGENET_COUNTS[depth]
    found = cost(IMAGENET, 1000, stem="imagenet", depth=depth)
    assert found.parameters == parameters
    assert found.macs / 1e9 == pytest.approx(giga, abs=0.0006)


@pytest.mark.parametrize(("depth", "imgclsmob"), [(18, 11_687_848), (50, 25_549_480)])
def test_parameters_of_pre_activation_on_imagenet(depth, imgclsmob):
    found = cost(IMAGENET, 1000, stem="imagenet", depth=depth, pre_activation=True)
    # imgclsmob normalizes the stem's 64 channels once more before the first block does.
    assert found.parameters == imgclsmob - 2 * 64


@pytest.mark.parametrize(("depth", "millions"), [(20, 40.6), (56, 125.5)])
def test_multiply_adds_on_cifar(depth, millions):
    assert cost(num_classes=100, depth=depth).macs / 1e6 == pytest.approx(millions, rel=0.002)


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (CIFAR, {"depth": 20}),
        (CIFAR, {"depth": 20, "block": "bottleneck", "pre_activation": True}),
        ((33, 40, 3), {"stem": "imagenet", "depth": 18, "shortcut": "identity"}),
        ((32, 32, 1), {"stem": "imagenet", "depth": 18, "pre_activation": True}),
        ((32, 32, 3), {"stem": "imagenet", "depth": 50, "activation": "silu"}),
    ],
)
def test_the_built_network_has_as_many(image, values):
    model = build_symbolically(image, 100, **values)
    built = sum(keras.ops.size(v) for v in model.trainable_variables)
    assert built == RESNET.cost(config(**values), image, 100).parameters


def test_the_imagenet_form_divides_images_by_32():
    model = build_symbolically((64, 96, 3), 10, stem="imagenet", depth=18)
    shapes = {layer.name: tuple(layer.output.shape) for layer in model.layers}
    assert shapes["stem_relu"] == (None, 32, 48, 64)
    assert shapes["stem_pool"] == shapes["stage1_block2"] == (None, 16, 24, 64)
    assert shapes["stage4_block2"] == (None, 2, 3, 512)


def test_images_too_small_for_the_imagenet_stem_are_refused():
    small = config(stem="imagenet", depth=18)
    for refuses in (RESNET.cost, RESNET.build):
        with pytest.raises(InputError, match="at least 32x32") as caught:
            refuses(small, (31, 64, 3), 10)
        assert caught.value.problems[0].where == "model.stem"
    assert cost((1, 1, 3), depth=8).parameters > 0


@pytest.mark.parametrize(
    ("values", "words", "near"),
    [
        ({"depth": 9}, "6n + 2", "8 and 14"),
        ({"depth": 21, "block": "basic"}, "6n + 2", "20 and 26"),
        ({"depth": 1201}, "6n + 2", "1196 and 1202"),
        ({"depth": 8, "block": "bottleneck"}, "9n + 2", "11"),
        ({"depth": 26, "block": "bottleneck"}, "with bottleneck blocks", "20 and 29"),
        ({"depth": 1202, "block": "bottleneck"}, "9n + 2", "1199"),
        ({"stem": "imagenet"}, "18, 34, 50, 101, 152 with the imagenet stem", "18 and 34"),
        ({"stem": "imagenet", "depth": 50, "block": "basic"}, "stem and basic blocks", "34"),
        ({"stem": "imagenet", "depth": 34, "block": "bottleneck"}, "50, 101, 152", "50"),
    ],
)
def test_a_wrong_depth_names_the_nearest_and_the_blocks(values, words, near):
    message = error_of(**values)
    assert words in message
    assert message.endswith(f"nearest: {near}")


def test_a_wrong_field_is_not_blamed_on_the_depth():
    with pytest.raises(ValidationError) as caught:
        config(stem="imagnet")
    assert [error["loc"] for error in caught.value.errors()] == [("stem",)]


def test_null_means_what_the_paper_has():
    for values, kind, shortcut in (
        ({"depth": 20}, "basic", "identity"),
        ({"depth": 34, "stem": "imagenet"}, "basic", "projection"),
        ({"depth": 50, "stem": "imagenet"}, "bottleneck", "projection"),
    ):
        found = config(**values)
        assert (found.style.kind, found.style.shortcut) == (kind, shortcut)
        again = RESNET.config.model_validate_json(found.model_dump_json())
        assert again == found
        explicit = {"block": kind, "shortcut": shortcut}
        assert config(**values, **explicit).style == found.style


def test_stochastic_depth_grows_linearly_to_the_last_block():
    model = build_symbolically((8, 8, 3), 10, depth=14, stochastic_depth=0.4)
    found = [x for x in model._flatten_layers() if type(x).__name__ == "StochasticDepth"]
    assert [x.multiplier for x in found] == pytest.approx([n / 6 for n in range(1, 7)])
    assert {x.initial_rate for x in found} == {0.4}
