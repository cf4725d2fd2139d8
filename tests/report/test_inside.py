"""Gradients and feature reuse: what is read, what is computed from it, and how it is drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tuner.ledger.ledger import Ledger
from tuner.ledger.records import GRADIENTS, NewTrial
from tuner.models.dense_kernels import DenseBlockKernels, Reader, dense_kernels
from tuner.report.inside import (
    BlockReuse,
    Gradients,
    block_reuse,
    contrast,
    gradient_chart,
    gradients_json,
    gradients_of,
    heat_map,
    mean_by_source,
    read_gradients,
)

LAYERS = (("stem", 100), ("block", 400), ("logits", 25))
TINY = {"family": "densenet", "depth": 7, "growth_rate": 2, "num_blocks": 1}


# ---------------------------------------------------------------------- gradients


def detail(epoch: int, *norms: float, layers=(), trial: int = 1):
    return {"trial": trial, "epoch": epoch, "norms": list(norms), "layers": layers}


def test_the_first_layer_is_compared_with_the_last_hidden_one() -> None:
    gradients = Gradients(LAYERS, {0: (0.02, 2.0, 9.0), 1: (1.0, 0.0, 9.0)})
    assert gradients.share_at_first(0) == pytest.approx(0.01)
    assert math.isnan(gradients.share_at_first(1))
    document = gradients_json(gradients)
    assert document["layers"][0] == {"layer": "stem", "weights": 100}
    assert document["epochs"][0] == {"epoch": 0, "norms": [0.02, 2.0, 9.0], "reach": 0.01}


def test_an_epoch_that_was_trained_again_counts_as_it_was_at_last() -> None:
    details = [
        detail(0, 1, 1, 1, layers=LAYERS),
        detail(1, 2, 2, 2),
        detail(2, 9, 9, 9),
        detail(1, 3, 3, 3, layers=LAYERS),
    ]
    assert gradients_of(details, epochs=1) == Gradients(LAYERS, {0: (1, 1, 1), 1: (3, 3, 3)})
    assert gradients_of([], epochs=3) is None


def test_the_ledger_keeps_them_by_trial(tmp_path: Path) -> None:
    with Ledger.create_or_open(tmp_path / "ledger.sqlite", "x") as ledger:
        for number in (1, 2):
            ledger.add([NewTrial(f"k{number}", {}, {}, 0, 0, "s")])
            ledger.event(GRADIENTS, detail(0, number, 2, math.nan, layers=LAYERS, trial=number))
            ledger.event("worker lost", {"worker": 1})
        rows = [ledger.row(1), ledger.row(2)]
        kept = [read_gradients(ledger, row) for row in rows if row]
    assert [each and each.norms[0][:2] for each in kept] == [(1, 2), (2, 2)]
    assert all(each and math.isnan(each.norms[0][2]) for each in kept)


@pytest.mark.parametrize(("wide", "epochs"), [(60, 1), (60, 2), (80, 2), (120, 1)])
def test_the_chart_fits_and_bears_zeros(wide: int, epochs: int) -> None:
    layers = tuple((f"stage{i}_a_rather_long_name_of_a_layer", 10) for i in range(40))
    norms = tuple(0.0 if i == 3 else 10.0**-i for i in range(40))
    lines = gradient_chart(Gradients(layers, dict.fromkeys(range(epochs), norms)), wide)
    assert max(map(len, lines)) <= wide
    assert "before training" in lines[0]
    assert "1e-39" in "\n".join(lines)


# ---------------------------------------------------------------------- feature reuse


def test_each_source_gives_the_mean_absolute_weight_on_its_channels() -> None:
    kernel = np.zeros((3, 3, 5, 2), np.float32)
    kernel[:, :, :2] = -1.0
    kernel[0, 0, 2, 0] = 36.0
    assert mean_by_source(kernel, [2, 1, 2]) == pytest.approx([1.0, 2.0, 0.0])
    with pytest.raises(ValueError, match="3 channels in sources, 5 in the kernel"):
        mean_by_source(kernel, [2, 1])


@pytest.mark.parametrize("seed", range(5))
def test_weights_as_they_were_drawn_differ_by_chance_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    kernels = [(random.normal(size=(3, 3, 4 * n, 8)), [4] * n) for n in (1, 2, 3)]
    assert -3 < contrast(kernels) < 3
    kernels[2][0][:, :, 4:8] *= 0.6  # a source that is read less
    assert contrast(kernels) > 3
    assert contrast([(random.normal(size=(3, 3, 4, 8)), [4])]) == 0  # nothing to compare


def test_a_block_is_a_matrix_of_sources_and_targets() -> None:
    readers = (Reader("layer 1", (2,), 1, (1, 1, 2, 1)), Reader("classifier", (2, 1), 3, (3, 2)))
    block = DenseBlockKernels("block 1", ("input", "layer 1"), readers)
    reuse = block_reuse(block, np.array([99, 1, -3, 1, 1, 1, -1, -4, 4], np.float32))
    assert reuse.targets == ("layer 1", "classifier")
    assert reuse.weights == ((2.0, 1.0), (None, 4.0))
    assert reuse.relative() == ((1.0, 0.25), (None, 1.0))


def test_the_weights_of_a_densenet_are_found_where_they_lie() -> None:
    """One block of three layers: every kernel is set by hand to the number of its layer."""
    layout = dense_kernels(TINY, (8, 8, 3), 4)
    assert layout is not None
    (block,) = layout.blocks
    weights = np.full(layout.num_weights, 1000.0, np.float32)
    for number, reader in enumerate(block.readers, 1):
        weights[reader.start : reader.stop] = -number
    reuse = block_reuse(block, weights)
    assert reuse.sources == ("input", "layer 1", "layer 2", "layer 3")
    assert reuse.targets == ("layer 1", "layer 2", "layer 3", "classifier")
    assert reuse.weights == (
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


@pytest.mark.parametrize(("num_layers", "width"), [(12, 40), (64, 40), (100, 80), (400, 80)])
def test_a_heat_map_fits_whatever_the_block(num_layers: int, width: int) -> None:
    lines = heat_map(triangle(num_layers), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= num_layers + 2
    assert set("".join(lines[1:])) & set("▒▓█")
