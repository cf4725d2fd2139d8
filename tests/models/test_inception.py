"""Inception networks.

6,998,552 parameters (6,990,272 weights and 8,280 biases) is what Caffe's `bvlc_googlenet` has
without its auxiliary classifiers, and what a sum over the paper's Table 1 gives. The paper itself
speaks of about 1.5 billion multiply-adds.
"""

from __future__ import annotations

import keras
import pytest

from tuner.errors import InputError
from tuner.models import FAMILIES

INCEPTION = FAMILIES["inception"]
GOOGLENET = {"stem": "imagenet", "width": 1.0, "batch_normalization": False}


def cost(image_shape, num_classes, **values):
    return INCEPTION.cost(INCEPTION.config(**values), image_shape, num_classes)


def built(image_shape, num_classes, **values):
    with keras.StatelessScope(initialize_variables=False):
        return INCEPTION.build(INCEPTION.config(**values), image_shape, num_classes)


def test_googlenet_has_its_parameters_and_multiply_adds():
    found = cost((224, 224, 3), 1000, **GOOGLENET)
    assert found.parameters == 6_998_552
    assert found.macs / 1e9 == pytest.approx(1.58, abs=0.01)


def test_the_built_googlenet_has_as_many_and_the_shapes_of_table_1():
    model = built((224, 224, 3), 1000, **GOOGLENET)
    assert sum(keras.ops.size(v) for v in model.trainable_variables) == 6_998_552
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes["stem3_pool"] == (28, 28, 192)
    assert shapes["module3a"] == (28, 28, 256)
    assert shapes["module3b"] == (28, 28, 480)
    assert shapes["module4a"] == (14, 14, 512)
    assert shapes["module4e"] == (14, 14, 832)
    assert shapes["module5b"] == (7, 7, 1024)


@pytest.mark.parametrize("depth", [10, 16, 22])
def test_depth_counts_the_layers_with_weights_along_one_branch(depth):
    model = built((64, 64, 3), 10, depth=depth, stem="imagenet", width=0.0625)
    modules = [layer for layer in model.layers if layer.name.startswith("module")]
    assert depth == 3 + 2 * len(modules) + 1
    assert {module.name[6] for module in modules} == {"3", "4", "5"}


def test_small_images_are_halved_only_between_the_stages():
    model = built((32, 32, 3), 10)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes["module3a"] == (32, 32, 64)
    assert shapes["module5b"] == (8, 8, 256)


def test_without_reduction_channels_grow_by_the_pool():
    narrow, naive = (cost((32, 32, 3), 10, reduction=r) for r in (True, False))
    assert naive.macs > 5 * narrow.macs
    model = built((32, 32, 3), 10, reduction=False, depth=10)
    assert model.get_layer("module3a").output.shape[-1] == (64 + 128 + 32) // 4 + 48


def test_width_scales_every_number_of_filters():
    assert INCEPTION.config(width=0.25).scaled(64, 96, 16) == [16, 24, 4]
    assert INCEPTION.config(width=0.03125).scaled(16, 1) == [1, 1]


def test_without_normalization_there_are_biases_instead():
    normalized, bare = (
        {v.name for v in built((8, 8, 3), 10, depth=10, batch_normalization=b).trainable_variables}
        for b in (True, False)
    )
    assert normalized == {"kernel", "gamma", "beta", "bias"}  # the bias of the logits
    assert bare == {"kernel", "bias"}


@pytest.mark.parametrize(("stem", "least"), [("cifar", 4), ("imagenet", 32)])
def test_images_too_small_for_the_strides_are_refused(stem, least):
    config = INCEPTION.config(stem=stem)
    for refuses in (INCEPTION.cost, INCEPTION.build):
        with pytest.raises(InputError, match=f"at least {least}x{least}") as caught:
            refuses(config, (64, least - 1, 3), 10)
        assert caught.value.problems[0].where == "model.stem"
    assert INCEPTION.cost(config, (least, least, 3), 10).parameters > 0
