"""What each family is made of: sizes by hand, shapes, and what its choices change."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner.layers import HighwayBlock
from tuner.models import FAMILIES

CIFAR = (32, 32, 3)


def cost(name, image_shape=CIFAR, num_classes=10, **values):
    return FAMILIES[name].cost(FAMILIES[name].config(**values), image_shape, num_classes)


def built(name, image_shape=CIFAR, num_classes=10, **values):
    """With initial values, to be run."""
    keras.utils.set_random_seed(0)
    return FAMILIES[name].build(FAMILIES[name].config(**values), image_shape, num_classes)


def symbolic(name, image_shape=CIFAR, num_classes=10, **values):
    with keras.StatelessScope(initialize_variables=False):
        return built(name, image_shape, num_classes, **values)


def num_parameters(model):
    return sum(keras.ops.size(v) for v in model.trainable_variables)


def shapes(model):
    return {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}


# Small images of CIFAR are in the contract of all families.
@pytest.mark.parametrize(
    ("name", "image_shape", "values"),
    [
        ("resnet", (33, 40, 3), {"stem": "imagenet", "depth": 18, "shortcut": "identity"}),
        ("resnet", (32, 32, 1), {"stem": "imagenet", "depth": 18, "pre_activation": True}),
        ("resnet", (32, 32, 3), {"stem": "imagenet", "depth": 50, "activation": "silu"}),
        ("dual_path", (64, 64, 3), {"stem": "imagenet", "depth": 14}),
        ("lenet", (28, 28, 1), {}),
    ],
)
def test_the_built_network_has_as_many_parameters(name, image_shape, values):
    model = symbolic(name, image_shape, 100, **values)
    assert num_parameters(model) == cost(name, image_shape, 100, **values).parameters


# ---------------------------------------------------------------------- residual networks


def test_the_imagenet_form_of_a_resnet_divides_images_by_32():
    found = shapes(symbolic("resnet", (64, 96, 3), stem="imagenet", depth=18))
    assert found["stem_relu"] == (32, 48, 64)
    assert found["stem_pool"] == found["stage1_block2"] == (16, 24, 64)
    assert found["stage4_block2"] == (2, 3, 512)


def test_null_means_what_the_paper_has():
    config = FAMILIES["resnet"].config
    for values, kind, shortcut in (
        ({"depth": 20}, "basic", "identity"),
        ({"depth": 34, "stem": "imagenet"}, "basic", "projection"),
        ({"depth": 50, "stem": "imagenet"}, "bottleneck", "projection"),
    ):
        found = config(**values)
        assert (found.style.kind, found.style.shortcut) == (kind, shortcut)
        assert config.model_validate_json(found.model_dump_json()) == found
        assert config(**values, block=kind, shortcut=shortcut).style == found.style


def test_stochastic_depth_grows_linearly_to_the_last_block():
    model = symbolic("resnet", (8, 8, 3), depth=14, stochastic_depth=0.4)
    found = [x for x in model._flatten_layers() if type(x).__name__ == "StochasticDepth"]
    assert [x.multiplier for x in found] == pytest.approx([n / 6 for n in range(1, 7)])
    assert {x.initial_rate for x in found} == {0.4}


def test_a_wide_network_is_wrn_28_10_and_counts_its_shortcuts_as_depth():
    assert cost("wide_resnet") == cost("wide_resnet", depth=28, widen_factor=10)
    model = symbolic("wide_resnet", depth=16, widen_factor=4)
    kernels = [v for v in model.trainable_variables if len(v.shape) == 4]
    assert len(kernels) == 16  # 6n + 4


# ---------------------------------------------------------------------- dense and dual paths


@pytest.mark.parametrize("kind", [{}, {"bottleneck": True, "dropout": 0.2}])
def test_memory_efficiency_changes_only_what_is_kept(kind):
    usual, efficient = (
        cost("densenet", depth=100, **kind, memory_efficient=e) for e in (False, True)
    )
    assert (efficient.parameters, efficient.macs) == (usual.parameters, usual.macs)
    assert efficient.activations < usual.activations / 3


def test_a_memory_efficient_network_keeps_what_its_convolutions_made():
    # One block of two layers: stem, two convolutions, their concatenation, head and logits.
    found = cost("densenet", num_blocks=1, depth=6, growth_rate=5, memory_efficient=True)
    assert found.activations == 32 * 32 * (16 + 5 + 5 + 26 + 26) + 26 + 10


def test_growth_follows_its_multipliers_and_is_never_nothing():
    values = {"growth_rate": 3, "growth_multipliers": [1.0, 2.0, 0.1, 0.5]}
    assert FAMILIES["dual_path"].config(**values).growth_rates == (3, 6, 1, 2)
    model = symbolic("dual_path", **values)
    assert shapes(model)["stage1_block1"] == (32, 32, 32 + 3 * 3)
    assert shapes(model)["stage1_block2"] == (32, 32, 32 + 4 * 3)
    assert shapes(model)["stage4_block2"] == (4, 4, 256 + 4 * 2)
    # depth counts stem, classifier and the three convolutions of each block, not the projections.
    kernels = [v.path for v in model.trainable_variables if v.name == "kernel"]
    assert sum("projection" not in path for path in kernels) == 26


# ---------------------------------------------------------------------- inception


def test_the_built_googlenet_has_its_parameters_and_the_shapes_of_table_1():
    values = {"stem": "imagenet", "width": 1.0, "batch_normalization": False}
    model = symbolic("inception", (224, 224, 3), 1000, **values)
    assert num_parameters(model) == 6_998_552
    found = shapes(model)
    assert found["stem3_pool"] == (28, 28, 192)
    assert found["module3a"] == (28, 28, 256)
    assert found["module3b"] == (28, 28, 480)
    assert found["module4a"] == (14, 14, 512)
    assert found["module4e"] == (14, 14, 832)
    assert found["module5b"] == (7, 7, 1024)


def test_small_images_are_halved_only_between_the_stages():
    found = shapes(symbolic("inception"))
    assert (found["module3a"], found["module5b"]) == ((32, 32, 64), (8, 8, 256))


def test_without_reduction_channels_grow_by_the_pool():
    narrow, naive = (cost("inception", reduction=r) for r in (True, False))
    assert naive.macs > 5 * narrow.macs
    found = shapes(symbolic("inception", reduction=False, depth=10))
    assert found["module3a"][-1] == (64 + 128 + 32) // 4 + 48


# ---------------------------------------------------------------------- plain and highway


@pytest.mark.parametrize("depth", [20, 56])
def test_a_plain_network_costs_what_a_residual_one_without_projections_does(depth):
    plain, residual = cost("plain", depth=depth), cost("resnet", depth=depth, shortcut="identity")
    assert (plain.parameters, plain.macs) == (residual.parameters, residual.macs)


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_pooling_takes_the_place_of_strides(pooling):
    for size in (32, 7, 1):
        pooled, strided = (
            symbolic("plain", (size, size, 3), depth=8, pooling=p) for p in (pooling, None)
        )
        found = [
            {name: shape for name, shape in shapes(model).items() if name.endswith("_relu")}
            for model in (pooled, strided)
        ]
        assert found[0] == found[1]
    names = [layer.name for layer in pooled.layers if "pool" in layer.name]
    assert names == ["stage2_block1_1_pool", "stage3_block1_1_pool", "pool"]
    pooled_cost, strided_cost = cost("plain", pooling=pooling), cost("plain")
    assert pooled_cost.parameters == strided_cost.parameters
    # A strided convolution computes as many places as one on the pooled image.
    assert pooled_cost.macs == strided_cost.macs
    # The two pooled images themselves are kept.
    assert pooled_cost.activations - strided_cost.activations == 16 * 16 * 16 + 8 * 8 * 32


@pytest.mark.parametrize("depth", [5, 20])
def test_the_depth_of_a_highway_counts_stem_layers_and_head(depth):
    model = symbolic("highway", depth=depth)
    blocks = [layer for layer in model.layers if isinstance(layer, HighwayBlock)]
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(blocks) + len(convolutions) + 1 == depth
    # Stem, and the first layer of the second and of the third stage.
    assert [layer.strides for layer in convolutions] == [(1, 1), (2, 2), (2, 2)]


def test_the_parameters_of_a_highway_by_hand():
    # A 3x3 convolution with bias from a to b channels; a block has two from a to a.
    def convolution(a, b):
        return 9 * a * b + b

    stem, head = convolution(3, 16), 65 * 10
    first = 2 * 2 * convolution(16, 16)
    second = convolution(16, 32) + 2 * convolution(32, 32)
    third = convolution(32, 64) + 2 * convolution(64, 64)
    assert cost("highway", depth=8).parameters == stem + first + second + third + head


# ---------------------------------------------------------------------- LeNet-5


def test_the_61706_parameters_of_lenet_by_hand():
    # Convolutions of 5x5 with 6 and 16 filters, dense layers of 120, 84 and 10 units; biases each.
    # C1, C5 and F6 are the paper's (156, 48,120 and 10,164; section II.B). Its C3 has 1,516, since
    # it sees the maps before it in part only.
    c1, c3 = (5 * 5 * 1 + 1) * 6, (5 * 5 * 6 + 1) * 16
    c5, f6, head = (5 * 5 * 16 + 1) * 120, (120 + 1) * 84, (84 + 1) * 10
    assert [c1, c3, c5, f6, head] == [156, 2_416, 48_120, 10_164, 850]
    found = cost("lenet", (32, 32, 1))
    assert found.parameters == c1 + c3 + c5 + f6 + head == 61_706
    # Feature maps of 28x28 and 10x10.
    assert found.macs == 28 * 28 * 150 + 10 * 10 * 2_400 + 400 * 120 + 120 * 84 + 84 * 10
    # Digits of 28 pixels are padded to the same network.
    assert cost("lenet", (28, 28, 1)).parameters == 61_706
    # Gamma and beta instead of a bias, of 6 + 16 filters and 120 + 84 units.
    normalized = cost("lenet", (32, 32, 1), batch_normalization=True)
    assert normalized.parameters == 61_706 + 6 + 16 + 120 + 84


@pytest.mark.parametrize("size", [28, 32])
def test_the_maps_of_lenet_have_the_papers_sizes_and_kinds(size):
    model = symbolic("lenet", (size, size, 1))
    maps = [shape for shape in shapes(model).values() if len(shape) == 3]
    assert maps[-5:] == [(28, 28, 6), (14, 14, 6), *[(10, 10, 16)] * 2, (5, 5, 16)]
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("AveragePooling2D") == 2
    assert FAMILIES["lenet"].config().activation == "tanh"


# ---------------------------------------------------------------------- multilayer perceptrons


@pytest.mark.parametrize(
    ("num_layers", "expected"),
    [(0, 49 * 10), (1, 49 * 7 + 8 * 10), (3, 49 * 7 + 2 * 8 * 7 + 8 * 10)],
)
def test_the_parameters_of_a_perceptron_by_hand(num_layers, expected):
    found = cost("mlp", (4, 4, 3), num_layers=num_layers, hidden_units=7)
    assert found.parameters == expected


def test_without_hidden_layers_it_is_softmax_regression():
    model = built("mlp", (4, 4, 3), num_layers=0)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    kernel, bias = (np.array(v) for v in model.trainable_variables)
    np.testing.assert_allclose(np.array(model(x)), x.reshape(2, -1) @ kernel + bias, atol=1e-5)


def test_normalization_stands_between_the_affine_map_and_the_activation():
    model = built("mlp", (4, 4, 3), num_layers=1, batch_normalization=True, dropout=0.2)
    hidden = [f"hidden1_{part}" for part in ("dense", "normalization", "relu", "dropout")]
    assert [layer.name for layer in model.layers] == ["image", "flatten", *hidden, "logits"]
    assert not model.get_layer("hidden1_dense").use_bias


def test_a_perceptron_has_hidden_layers_of_the_units_that_are_listed():
    model = built("mlp", (4, 4, 3), hidden_units=[7, 5])
    units = [layer.units for layer in model.layers if layer.name.endswith("_dense")]
    assert units == [7, 5]
    weights = (48 + 1) * 7 + (7 + 1) * 5 + (5 + 1) * 10
    assert cost("mlp", (4, 4, 3), hidden_units=[7, 5]).parameters == weights
    assert cost("mlp", (4, 4, 3), hidden_units=[7, 7]) == cost("mlp", (4, 4, 3), hidden_units=7)
