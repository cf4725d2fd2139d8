"""Where the kernels that read a dense path lie among the weights of a trained network.

A checkpoint holds all trainable weights as one vector, in the order in which the network was built.
That order follows from the configuration, so that no framework is needed to look into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.models.densenet import DenseNetConfig
from tuner.models.dual_path import DualPathConfig, blocks_of
from tuner.models.family import ImageShape


@dataclass(frozen=True)
class Reader:
    """A kernel that reads all channels made before it in its block.

    The channels come source by source, `sources` of each; the kernel `(…, channels, filters)` is
    the part of the weights that begins at `start`.
    """

    name: str
    sources: tuple[int, ...]
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Where the kernel ends."""
        return self.start + math.prod(self.shape)


@dataclass(frozen=True)
class DenseBlockKernels:
    """A block's sources by name, in the order of their channels, and what reads them.

    The last reader stands behind the block; it alone reads the last source.
    """

    name: str
    sources: tuple[str, ...]
    readers: tuple[Reader, ...]


@dataclass(frozen=True)
class Layout:
    """Every dense block of a network, and how many trainable weights the network has."""

    blocks: tuple[DenseBlockKernels, ...]
    num_weights: int


def dense_kernels(
    model: Mapping[str, Any], image_shape: ImageShape, num_classes: int
) -> Layout | None:
    """Of a closed `model:` section; None for a family that has no dense path."""
    lay_out = _LAYOUTS.get(model["family"])
    return None if lay_out is None else lay_out(model, image_shape[-1], num_classes)


class _Walk:
    """Goes along the weights; `channels` is what the next layer sees."""

    def __init__(self, channels: int) -> None:
        self.place = 0
        self.channels = channels

    def normalization(self) -> None:
        """Gamma and beta."""
        self.place += 2 * self.channels

    def convolution(self, filters: int, kernel_size: int, groups: int = 1) -> tuple[int, ...]:
        """The kernel's shape."""
        shape = (kernel_size, kernel_size, self.channels // groups, filters)
        self.place += math.prod(shape)
        self.channels = filters
        return shape

    def reader(self, name: str, sources: Sequence[int], filters: int, kernel_size: int) -> Reader:
        """A normalized convolution that reads all sources."""
        self.channels = sum(sources)
        self.normalization()
        start = self.place
        return Reader(name, tuple(sources), start, self.convolution(filters, kernel_size))

    def classifier(self, sources: Sequence[int], num_classes: int) -> Reader:
        """The head: normalization, and a dense layer with a bias."""
        self.channels = sum(sources)
        self.normalization()
        start, shape = self.place, (self.channels, num_classes)
        self.place += math.prod(shape) + num_classes
        return Reader("classifier", tuple(sources), start, shape)


def _densenet(model: Mapping[str, Any], image_channels: int, num_classes: int) -> Layout:
    config = DenseNetConfig(**model)
    walk, blocks = _Walk(image_channels), []
    walk.convolution(config.initial_filters, 3)
    names = ("input", *(f"layer {n}" for n in range(1, config.layers_per_block + 1)))
    for block in range(1, config.num_blocks + 1):
        sources, readers = [walk.channels], []
        for name in names[1:]:
            readers.append(_dense_layer(walk, config, name, sources))
            sources.append(config.growth_rate)
        if block < config.num_blocks:
            filters = config.transition_filters[block - 1]
            readers.append(walk.reader("transition", sources, filters, 1))
        else:
            readers.append(walk.classifier(sources, num_classes))
        blocks.append(DenseBlockKernels(f"block {block}", names, tuple(readers)))
    return Layout(tuple(blocks), walk.place)


def _dense_layer(walk: _Walk, config: DenseNetConfig, name: str, sources: Sequence[int]) -> Reader:
    if not config.bottleneck:
        return walk.reader(name, sources, config.growth_rate, 3)
    reader = walk.reader(name, sources, 4 * config.growth_rate, 1)
    walk.normalization()
    walk.convolution(config.growth_rate, 3)
    return reader


def _dual_path(model: Mapping[str, Any], image_channels: int, num_classes: int) -> Layout:
    """Stage by stage; the residual path counts as one source, to which every block adds."""
    config = DualPathConfig(**model)
    walk = _Walk(image_channels)
    walk.convolution(config.stem_filters, 3 if config.stem == "cifar" else 7)
    walk.normalization()
    sources, readers = [walk.channels], list[Reader]()
    stages: list[DenseBlockKernels] = []
    for place in blocks_of(config):
        name = f"block {len(sources) - 1}" if not place.projection else "next stage"
        readers.append(walk.reader(name, sources, place.filters, 1))
        walk.normalization()
        walk.convolution(place.filters, 3, config.groups)
        walk.normalization()
        walk.convolution(place.residual_filters + place.growth_rate, 1)
        if place.projection:
            walk.channels = sum(sources)
            walk.normalization()
            walk.convolution(place.residual_filters + 2 * place.growth_rate, 1)
            stages.append(_stage(len(stages), sources, readers))
            sources, readers = [place.residual_filters, 2 * place.growth_rate], []
        sources.append(place.growth_rate)
    readers.append(walk.classifier(sources, num_classes))
    stages.append(_stage(len(stages), sources, readers))
    return Layout(tuple(stages[1:]), walk.place)  # the first one is the stem


def _stage(number: int, sources: Sequence[int], readers: Sequence[Reader]) -> DenseBlockKernels:
    blocks = (f"block {n}" for n in range(1, len(sources) - 1))
    return DenseBlockKernels(
        f"stage {number}", ("residual", "projection", *blocks)[: len(sources)], tuple(readers)
    )


_LAYOUTS: dict[str, Callable[[Mapping[str, Any], int, int], Layout]] = {
    "densenet": _densenet,
    "dual_path": _dual_path,
}
