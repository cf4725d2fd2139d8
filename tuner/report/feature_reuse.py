"""Which earlier layers a trained densely connected network reads: heat maps of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import TunerError
from tuner.ledger.checkpoint import best_checkpoints, model_section, read_checkpoint
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.models.dense_kernels import DenseBlockKernels, dense_kernels

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class BlockReuse:
    """Mean absolute weight from each source to each target of a dense block.

    `weights[s][t]` is over the first convolution of target t, of its weights on the channels of
    source s; None where t does not see s. The last target stands behind the block: the transition
    after it, or the classifier. Sources and targets come in the order of the network.
    """

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    weights: tuple[tuple[float | None, ...], ...]

    def relative(self) -> tuple[tuple[float | None, ...], ...]:
        """The same in units of the largest weight of each target: where does it look most?

        A layer with more inputs has smaller weights from the start, so that targets can only be
        compared like this.
        """
        columns = zip(*self.weights, strict=True)
        largest = [max(v for v in column if v is not None) for column in columns]
        return tuple(
            tuple(
                None if value is None else value / most if most else 0.0
                for value, most in zip(row, largest, strict=True)
            )
            for row in self.weights
        )


def mean_by_source(kernel: Floats, sources: Sequence[int]) -> list[float]:
    """Mean absolute weight of a kernel (…, channels, filters) for each group of its channels.

    It is the L1 norm of the weights divided by the number of input feature maps, and by the number
    of weights that each map has, which is the same for all sources of a target.

    Source: Huang et al. 2017, section 5, "Feature Reuse", and Figure 5.

    Raises:
        ValueError: the groups do not make up the channels.
    """
    if sum(sources) != kernel.shape[-2]:
        raise ValueError(f"{sum(sources)} channels in sources, {kernel.shape[-2]} in the kernel")
    axes = tuple(axis for axis in range(kernel.ndim) if axis != kernel.ndim - 2)
    by_channel = np.mean(np.abs(kernel.astype(np.float64)), axis=axes)
    return [float(np.mean(part)) for part in np.split(by_channel, np.cumsum(sources)[:-1])]


def block_reuse(block: DenseBlockKernels, weights: Floats) -> BlockReuse:
    """The heat map of a block, from all trainable weights of the network as one vector."""
    columns = []
    for reader in block.readers:
        kernel = weights[reader.start : reader.stop].reshape(reader.shape)
        seen: list[float | None] = [*mean_by_source(kernel, reader.sources)]
        columns.append(seen + [None] * (len(block.sources) - len(seen)))
    return BlockReuse(
        block.name,
        block.sources,
        tuple(reader.name for reader in block.readers),
        tuple(zip(*columns, strict=True)),
    )


def feature_reuse_of(folder: RunFolder, row: TrialRow) -> list[BlockReuse] | None:
    """The heat maps of a trial's network in its best epoch, block by block; no framework is needed.

    None for a family without dense blocks, and where no checkpoint of that epoch is kept.

    Raises:
        CheckpointError: the checkpoint is damaged.
        TunerError: it is of another network than the trial's configuration says.
    """
    section = model_section(row)
    if dense_kernels(section, (1, 1, 1), 1) is None:
        return None
    with Ledger.open_read_only(folder.ledger) as ledger:
        found = best_checkpoints(ledger, [row]).get(row.number)
    if found is None:
        return None
    arrays, notes = read_checkpoint(folder, found)
    layout = dense_kernels(section, tuple(notes["image_shape"]), notes["num_classes"])
    weights = arrays["weights"]
    if layout is None or weights.shape != (layout.num_weights,):
        raise TunerError(f"the checkpoint of trial {row.number} is of another network")
    return [block_reuse(block, weights) for block in layout.blocks]
