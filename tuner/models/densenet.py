"""Densely connected networks for small images."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from tuner.errors import InputError, Problem
from tuner.models.family import (
    CostTape,
    DropoutMode,
    FamilyConfig,
    ImageShape,
    TunerFamily,
    dropout_mode_field,
    nearest_allowed,
    rate_field,
    rate_or_none,
)


class DenseNetConfig(FamilyConfig):
    """A densely connected network: plain, B (bottleneck), C (compression) or BC."""

    # Fields that a validator needs stand before the field that it belongs to.
    family: Literal["densenet"] = "densenet"
    num_blocks: int = Field(default=3, ge=1, le=8, description="dense blocks")
    bottleneck: bool = Field(
        default=False,
        description="DenseNet-B: a 1x1 convolution to 4 x growth_rate before each 3x3 one",
    )
    depth: int = Field(
        default=40,
        ge=5,
        le=1204,
        validate_default=True,
        description="layers with weights when num_blocks is 3: depth - 4 is shared among the "
        "blocks, so it is a multiple of num_blocks (2 x num_blocks with bottleneck)",
    )
    growth_rate: int = Field(
        default=12, ge=1, le=512, description="channels that each layer of a block adds"
    )
    compression: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="DenseNet-C: share of the channels that a transition keeps",
    )
    dropout: float = rate_field(
        "rate after each convolution but the first; 0 leaves the layers out"
    )
    dropout_mode: DropoutMode = dropout_mode_field()
    memory_efficient: bool = Field(
        default=False,
        description="recompute concatenation, normalization and relu in the backward pass: less "
        "memory, more time, the same result",
    )

    @field_validator("depth")
    @classmethod
    def _check_depth(cls, depth: int, info: ValidationInfo) -> int:
        if not {"num_blocks", "bottleneck"} <= info.data.keys():
            return depth
        unit = info.data["num_blocks"] * (2 if info.data["bottleneck"] else 1)
        if depth >= 4 + unit and (depth - 4) % unit == 0:
            return depth
        near = nearest_allowed(depth, range(4 + unit, depth + 2 * unit + 1, unit))
        with_bottleneck = " with bottleneck" if info.data["bottleneck"] else ""
        raise ValueError(
            f"depth must be {unit}n + 4 for {info.data['num_blocks']} blocks{with_bottleneck}; "
            f"nearest: {near}"
        )

    @field_validator("compression")
    @classmethod
    def _check_compression(cls, compression: float, info: ValidationInfo) -> float:
        if not {"num_blocks", "bottleneck", "depth", "growth_rate"} <= info.data.keys():
            return compression
        data = {name: value for name, value in info.data.items() if name != "dropout"}
        if 0 in cls.model_construct(**data, compression=compression).transition_filters:
            raise ValueError(f"compression {compression} leaves a transition no channels")
        return compression

    @property
    def layers_per_block(self) -> int:
        """Dense layers in each block."""
        return (self.depth - 4) // (self.num_blocks * (2 if self.bottleneck else 1))

    @property
    def initial_filters(self) -> int:
        """Channels that enter the first block: twice the growth rate for BC, otherwise 16."""
        return 2 * self.growth_rate if self.bottleneck and self.compression < 1 else 16

    @property
    def transition_filters(self) -> tuple[int, ...]:
        """Channels after each transition."""
        filters = [self.initial_filters]
        for _ in range(self.num_blocks - 1):
            channels = filters[-1] + self.layers_per_block * self.growth_rate
            # As TransitionLayer rounds.
            filters.append(math.floor(self.compression * channels + 1e-9))
        return tuple(filters[1:])


class DenseNet(TunerFamily[DenseNetConfig]):
    """First convolution, dense blocks with transitions between them, head.

    Source: Huang et al. 2017, section 3 ("Implementation Details").
    """

    name: ClassVar[str] = "densenet"
    config = DenseNetConfig

    def check(self, config: DenseNetConfig, image_shape: ImageShape) -> None:
        """The transitions must leave something of them."""
        height, width, _ = image_shape
        least = 2 ** (config.num_blocks - 1)
        if min(height, width) >= least:
            return
        raise InputError(
            Problem(
                what="the images are too small for this many dense blocks",
                where="model.num_blocks",
                received=f"{config.num_blocks} blocks for images of {height}x{width}",
                expected=f"images of at least {least}x{least}, since each transition halves them",
                mend=f"set num_blocks to at most {min(height, width).bit_length()}",
            )
        )

    def count(self, tape: CostTape, config: DenseNetConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        tape.convolution(config.initial_filters, 3)
        for filters in config.transition_filters:
            _block_cost(tape, config)
            _step_cost(tape, config, filters, 1)
            tape.pool(2)
        _block_cost(tape, config)
        tape.batch_normalization()
        tape.activation()
        tape.classify(num_classes)

    def add(self, x: Any, config: DenseNetConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        from tuner.layers import DenseBlock, TransitionLayer
        from tuner.layers.convolution import convolution
        from tuner.models.building import activated, classify

        x = convolution(config.initial_filters, 3, name="stem_convolution", dtype=None)(x)
        dropout = rate_or_none(config.dropout)
        for block in range(1, config.num_blocks + 1):
            if block > 1:
                name = f"transition{block - 1}"
                x = TransitionLayer(config.compression, dropout, config.dropout_mode, name=name)(x)
            x = DenseBlock(
                config.layers_per_block,
                config.growth_rate,
                bottleneck=config.bottleneck,
                dropout=dropout,
                dropout_mode=config.dropout_mode,
                memory_efficient=config.memory_efficient,
                name=f"block{block}",
            )(x)
        x = activated(x, "head")
        return classify(x, num_classes)


def _block_cost(tape: CostTape, config: DenseNetConfig) -> None:
    for layer in range(1, config.layers_per_block + 1):
        channels = tape.channels
        if config.bottleneck:
            _step_cost(tape, config, 4 * config.growth_rate, 1, config.memory_efficient)
        _step_cost(tape, config, config.growth_rate, 3, config.memory_efficient)
        if config.memory_efficient and layer < config.layers_per_block:
            tape.go_to((tape.height, tape.width, channels + config.growth_rate))
        else:
            tape.concatenate(channels)


def _step_cost(
    tape: CostTape,
    config: DenseNetConfig,
    filters: int,
    kernel_size: int,
    recomputed: bool = False,
) -> None:
    """One preactivated convolution; of a recomputed one nothing is kept but what it made."""
    tape.batch_normalization()
    if not recomputed:
        tape.activation()
    tape.convolution(filters, kernel_size)
    if config.dropout > 0 and not recomputed:
        tape.dropout()
