"""The weights lie where the layout says, as a built network shows."""

from __future__ import annotations

import math

import pytest

from tuner.models import FAMILIES
from tuner.models.dense_kernels import dense_kernels
from tuner.models.own.undrawn import build_undrawn

IMAGE, CLASSES = (16, 16, 3), 5
MODELS = {
    "plain": {"family": "densenet", "depth": 10, "growth_rate": 4},
    "bc": {
        "family": "densenet",
        "depth": 16,
        "growth_rate": 4,
        "bottleneck": True,
        "compression": 0.5,
        "dropout": 0.2,
        "memory_efficient": True,
    },
    "dual_path": {"family": "dual_path", "depth": 26, "growth_multipliers": [1.0, 2.0, 1.0, 1.0]},
}
# Paths of the kernels that read, block by block.
READERS = {
    "plain": [
        ["block1/layer1/step1", "block1/layer2/step1", "transition1/step1"],
        ["block2/layer1/step1", "block2/layer2/step1", "transition2/step1"],
        ["block3/layer1/step1", "block3/layer2/step1", "logits"],
    ],
    "bc": [
        ["block1/layer1/step1", "block1/layer2/step1", "transition1/step1"],
        ["block2/layer1/step1", "block2/layer2/step1", "transition2/step1"],
        ["block3/layer1/step1", "block3/layer2/step1", "logits"],
    ],
    "dual_path": [
        ["stage1_block2/convolution1", "stage2_block1/convolution1"],
        ["stage2_block2/convolution1", "stage3_block1/convolution1"],
        ["stage3_block2/convolution1", "stage4_block1/convolution1"],
        ["stage4_block2/convolution1", "logits"],
    ],
}


@pytest.mark.parametrize("name", MODELS)
def test_the_layout_is_that_of_the_built_network(name: str) -> None:
    family = FAMILIES[MODELS[name]["family"]]
    config = family.config(**MODELS[name])
    model = build_undrawn(lambda: family.build(config, IMAGE, CLASSES))
    places, start = {}, 0
    for variable in model.trainable_variables:
        places[start] = (variable.path, tuple(variable.shape))
        start += math.prod(variable.shape)
    layout = dense_kernels(config.model_dump(), IMAGE, CLASSES)
    assert layout is not None
    assert layout.num_weights == start
    found = []
    for block in layout.blocks:
        assert len(block.sources) == len(block.readers[-1].sources)
        for reader in block.readers:
            path, shape = places[reader.start]
            assert shape == reader.shape
            assert path.endswith("kernel")
            found.append(path)
    wanted = [path for paths in READERS[name] for path in paths]
    assert [path.startswith(start) for path, start in zip(found, wanted, strict=True)] == [
        True
    ] * len(wanted), found


def test_other_families_have_no_dense_path() -> None:
    assert dense_kernels({"family": "resnet"}, IMAGE, CLASSES) is None
