"""Residual networks for small images."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from tuner.models.cost import Cost, CostTape
from tuner.models.family import (
    RUNTIME,
    Family,
    FamilyConfig,
    ImageShape,
    nearest_allowed,
    rate_or_none,
)

STAGE_FILTERS = (16, 32, 64)


def check_depth(depth: int) -> int:
    """The depth, if it is one of 6n + 2.

    Raises:
        ValueError: it is not.
    """
    if (depth - 2) % 6:
        near = nearest_allowed(depth, range(8, depth + 7, 6))
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ..., 56, 110); nearest: {near}")
    return depth


class ResNetConfig(FamilyConfig):
    """A residual network of the CIFAR form."""

    family: Literal["resnet"] = "resnet"
    depth: int = Field(
        default=20,
        ge=8,
        le=1202,
        description="layers with weights on the main path, 6n + 2: three stages of n blocks",
    )
    shortcut: Literal["identity", "projection"] = Field(
        default="identity",
        description="where filters double: identity with zeros appended (option A of the paper, "
        "no weights) or a 1x1 projection (option B)",
    )
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="rate between the two convolutions of each block; 0 leaves the layers out",
        json_schema_extra=RUNTIME,
    )

    _check_depth = field_validator("depth")(check_depth)


class ResNet(Family[ResNetConfig]):
    """Stem, three stages of n residual blocks with 16, 32 and 64 filters, head.

    Stages after the first begin with stride 2. Source: He et al. 2016, section 4.2.
    """

    name: ClassVar[str] = "resnet"
    config = ResNetConfig

    def cost(self, config: ResNetConfig, image_shape: ImageShape, num_classes: int) -> Cost:
        """Parameters, multiply-adds and activations."""
        tape = CostTape(image_shape)
        tape.convolution(STAGE_FILTERS[0], 3)
        tape.batch_normalization()
        tape.activation()
        for _, filters, strides in block_plan(config.depth):
            _block_cost(tape, config, filters, strides)
        tape.global_average_pool()
        tape.dense(num_classes)
        return tape.cost

    def build(self, config: ResNetConfig, image_shape: ImageShape, num_classes: int) -> Any:
        """A functional model of logits."""
        import keras

        from tuner.layers import ResidualBlock
        from tuner.models.head import classify, stem

        inputs = keras.Input(image_shape, name="image")
        x = stem(inputs, STAGE_FILTERS[0])
        for name, filters, strides in block_plan(config.depth):
            x = ResidualBlock(
                filters,
                strides,
                shortcut=config.shortcut,
                dropout=rate_or_none(config.dropout),
                name=name,
            )(x)
        return keras.Model(inputs, classify(x, num_classes), name=self.name)


def block_plan(depth: int) -> list[tuple[str, int, int]]:
    """(name, filters, strides) of each block of two convolutions, for a depth of 6n + 2."""
    num_blocks = (depth - 2) // 6
    return [
        (f"stage{stage}_block{block}", filters, 2 if stage > 1 and block == 1 else 1)
        for stage, filters in enumerate(STAGE_FILTERS, 1)
        for block in range(1, num_blocks + 1)
    ]


def _block_cost(tape: CostTape, config: ResNetConfig, filters: int, strides: int) -> None:
    start = tape.shape
    tape.convolution(filters, 3, strides)
    tape.batch_normalization()
    tape.activation()
    if config.dropout > 0:
        tape.dropout()
    tape.convolution(filters, 3)
    tape.batch_normalization()
    if config.shortcut == "projection" and start[2] != filters:
        end = tape.shape
        tape.go_to(start)
        tape.convolution(filters, 1, strides)
        tape.batch_normalization()
        tape.go_to(end)
    tape.activation()
