from __future__ import annotations

import numpy as np
import pytest

from tuner.models.dense_kernels import DenseBlockKernels, Reader, dense_kernels
from tuner.report.feature_reuse import BlockReuse, block_reuse, mean_by_source
from tuner.report.heat import heat_map, least_share, legend

TINY = {"family": "densenet", "depth": 7, "growth_rate": 2, "num_blocks": 1}


def test_each_source_gives_the_mean_absolute_weight_on_its_channels() -> None:
    kernel = np.zeros((3, 3, 5, 2), np.float32)
    kernel[:, :, :2] = -1.0
    kernel[0, 0, 2, 0] = 36.0
    assert mean_by_source(kernel, [2, 1, 2]) == pytest.approx([1.0, 2.0, 0.0])


def test_sources_that_do_not_make_up_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="3 channels in sources, 5 in the kernel"):
        mean_by_source(np.zeros((1, 1, 5, 2)), [2, 1])


def test_a_block_is_a_matrix_of_sources_and_targets() -> None:
    readers = (Reader("layer 1", (2,), 1, (1, 1, 2, 1)), Reader("classifier", (2, 1), 3, (3, 2)))
    block = DenseBlockKernels("block 1", ("input", "layer 1"), readers)
    found = block_reuse(block, np.array([99, 1, -3, 1, 1, 1, -1, -4, 4], np.float32))
    assert found.targets == ("layer 1", "classifier")
    assert found.weights == ((2.0, 1.0), (None, 4.0))
    assert found.relative() == ((1.0, 0.25), (None, 1.0))


def test_the_weights_of_a_densenet_are_found_where_they_lie() -> None:
    """One block of three layers: every kernel is set by hand to the number of its layer."""
    layout = dense_kernels(TINY, (8, 8, 3), 4)
    assert layout is not None
    (block,) = layout.blocks
    weights = np.full(layout.num_weights, 1000.0, np.float32)
    for number, reader in enumerate(block.readers, 1):
        weights[reader.start : reader.stop] = -number
    found = block_reuse(block, weights)
    assert found.sources == ("input", "layer 1", "layer 2", "layer 3")
    assert found.targets == ("layer 1", "layer 2", "layer 3", "classifier")
    assert found.weights == (
        (1.0, 2.0, 3.0, 4.0),
        (None, 2.0, 3.0, 4.0),
        (None, None, 3.0, 4.0),
        (None, None, None, 4.0),
    )


def triangle(num_layers: int) -> BlockReuse:
    names = ("input", *(f"layer {n}" for n in range(1, num_layers + 1)))
    rows = [
        tuple(1.0 / (1 + t - s) if s <= t else None for t in range(num_layers + 1))
        for s in range(num_layers + 1)
    ]
    return BlockReuse("block 1", names, (*names[1:], "classifier"), tuple(rows))


def test_the_heat_map_is_dark_where_a_layer_looks_most() -> None:
    assert heat_map(triangle(3), 80) == [
        "        1  2  3  4",
        "  input ███▒▒▒░░░░░░",
        "layer 1    ███▒▒▒░░░",
        "layer 2       ███▒▒▒",
        "layer 3          ███",
    ]


@pytest.mark.parametrize("num_layers", [12, 32, 64, 100, 400])
@pytest.mark.parametrize("width", [40, 80])
def test_a_heat_map_fits_whatever_the_block(num_layers: int, width: int) -> None:
    lines = heat_map(triangle(num_layers), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= num_layers + 2
    assert set("".join(lines[1:])) & set("▒▓█")


def test_a_target_without_weights_is_no_division_by_zero() -> None:
    block = BlockReuse("block 1", ("input",), ("classifier",), ((0.0,),))
    assert block.relative() == ((0.0,),)
    assert legend().startswith("·· 0.00") and "█ 0.80" in legend()


def test_small_differences_are_shown_on_a_scale_that_says_how_small_they_are() -> None:
    weights = ((0.9, 0.95), (None, 1.0))
    block = BlockReuse("block 1", ("input", "layer 1"), ("layer 1", "classifier"), weights)
    assert least_share([block]) == 0.95
    lines = heat_map(block, 80, least=0.95)
    assert lines[1:] == ["  input ███···", "layer 1    ███"]
    assert legend(least=0.95).startswith("·· 0.95  ░░ 0.96")
