"""Residual networks, in the form for small images and in the one for ImageNet."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from tuner.errors import InputError, Problem
from tuner.models.cost import Cost, CostTape
from tuner.models.depths import (
    IMAGENET_BLOCKS,
    MAX_DEPTH,
    STAGE_FILTERS,
    block_plan,
    check_depth,
    check_imagenet_depth,
    imagenet_plan,
)
from tuner.models.family import RUNTIME, Activation, Family, FamilyConfig, ImageShape
from tuner.models.residual import BlockKind, BlockStyle, Place, ShortcutKind

IMAGENET_STEM_FILTERS = 64
# Two strides of 2 in the stem, one in each of three stages.
IMAGENET_REDUCTION = 32


class ResNetConfig(FamilyConfig):
    """A residual network."""

    # Fields that a validator needs stand before the field that it belongs to.
    family: Literal["resnet"] = "resnet"
    stem: Literal["cifar", "imagenet"] = Field(
        default="cifar",
        description="cifar: a 3x3 convolution to 16 filters and three stages; imagenet: a 7x7 one "
        "to 64 filters and a 3x3 max pool, both with stride 2, and four stages",
    )
    block: Literal[BlockKind, None] = Field(
        default=None,
        validate_default=True,
        description="basic: two 3x3 convolutions; bottleneck: 1x1, 3x3, and 1x1 to 4 times the "
        "filters; null: what the depth has with the imagenet stem, otherwise basic",
    )
    depth: int = Field(
        default=20,
        ge=8,
        le=MAX_DEPTH,
        validate_default=True,
        description="layers with weights on the main path: 6n + 2, or 9n + 2 with bottleneck "
        "blocks; with the imagenet stem 18 or 34 (basic), 50, 101 or 152 (bottleneck)",
    )
    shortcut: Literal[ShortcutKind, None] = Field(
        default=None,
        validate_default=True,
        description="where filters double: identity with zeros appended (option A of the paper, "
        "no weights) or a 1x1 projection (option B); null: projection with the imagenet stem, "
        "otherwise identity",
    )
    pre_activation: bool = Field(
        default=False,
        description="normalize and activate before each convolution instead of after it",
    )
    activation: Activation = Field(default="relu", description="between the convolutions")
    batch_normalization: bool = Field(
        default=True, description="without it convolutions of the main path have a bias"
    )
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="rate before the last convolution of each block; 0 leaves the layers out",
        json_schema_extra=RUNTIME,
    )
    stochastic_depth: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="probability that the last block is dropped in a training step, falling "
        "linearly towards the first block; 0 leaves the layers out",
        json_schema_extra=RUNTIME,
    )

    # What null stands for is put in its place, so that both ways to write it are one configuration.
    @field_validator("block")
    @classmethod
    def _resolve_block(cls, block: BlockKind | None, info: ValidationInfo) -> BlockKind | None:
        return block or ("basic" if info.data.get("stem") == "cifar" else None)

    @field_validator("shortcut")
    @classmethod
    def _resolve_shortcut(cls, shortcut: ShortcutKind | None, info: ValidationInfo) -> ShortcutKind:
        return shortcut or ("projection" if info.data.get("stem") == "imagenet" else "identity")

    @field_validator("depth")
    @classmethod
    def _check_depth(cls, depth: int, info: ValidationInfo) -> int:
        if not {"stem", "block"} <= info.data.keys():
            return depth
        block = info.data["block"]
        if info.data["stem"] == "imagenet":
            return check_imagenet_depth(depth, block)
        return check_depth(
            depth, block or "basic", " with bottleneck blocks" if block == "bottleneck" else ""
        )

    @property
    def is_imagenet(self) -> bool:
        """Whether it has the form for ImageNet."""
        return self.stem == "imagenet"

    @property
    def style(self) -> BlockStyle:
        """What its blocks have in common, nothing left to the depth or the stem."""
        by_depth = IMAGENET_BLOCKS[self.depth][0] if self.is_imagenet else "basic"
        return BlockStyle(
            kind=self.block or by_depth,
            pre_activation=self.pre_activation,
            shortcut=self.shortcut or "identity",
            activation=self.activation,
            batch_normalization=self.batch_normalization,
            dropout=self.dropout,
            stochastic_depth=self.stochastic_depth,
        )

    @property
    def plan(self) -> list[Place]:
        """Its blocks."""
        if self.is_imagenet:
            return imagenet_plan(self.depth)
        return block_plan(self.depth, self.style.kind)


class ResNet(Family[ResNetConfig]):
    """Stem, stages of residual blocks with filters that double, head.

    Stages after the first begin with stride 2. With pre-activation, normalization and activation
    of the stem are those of the first block (in the imagenet form after the pool, where the paper's
    stand before it), and the head begins with one more of each.

    Source: He et al. 2016, sections 3.4 and 4.2; He et al. 2016b for pre-activation.
    """

    name: ClassVar[str] = "resnet"
    config = ResNetConfig

    def cost(self, config: ResNetConfig, image_shape: ImageShape, num_classes: int) -> Cost:
        """Parameters, multiply-adds and activations."""
        _check_image(config, image_shape)
        tape = CostTape(image_shape)
        _stem_cost(tape, config)
        config.style.count(tape, config.plan)
        if config.pre_activation:
            _activation_cost(tape, config)
        tape.global_average_pool()
        tape.dense(num_classes)
        return tape.cost

    def build(self, config: ResNetConfig, image_shape: ImageShape, num_classes: int) -> Any:
        """A functional model of logits."""
        _check_image(config, image_shape)
        import keras

        from tuner.models.head import classify

        inputs = keras.Input(image_shape, name="image")
        x = config.style.add(_stem(inputs, config), config.plan)
        if config.pre_activation:
            x = _activate(x, config, "head")
        return keras.Model(inputs, classify(x, num_classes), name=self.name)


def _stem(inputs: Any, config: ResNetConfig) -> Any:
    import keras

    from tuner.layers.parts import convolution

    filters, kernel_size, strides = _stem_convolution(config)
    x = convolution(
        filters,
        kernel_size,
        strides=strides,
        use_bias=not config.batch_normalization,
        name="stem_convolution",
        dtype=None,
    )(inputs)
    if not config.pre_activation:
        x = _activate(x, config, "stem")
    if config.is_imagenet:
        x = keras.layers.MaxPooling2D(
            3, 2, padding="same", data_format="channels_last", name="stem_pool"
        )(x)
    return x


def _stem_cost(tape: CostTape, config: ResNetConfig) -> None:
    tape.convolution(*_stem_convolution(config), bias=not config.batch_normalization)
    if not config.pre_activation:
        _activation_cost(tape, config)
    if config.is_imagenet:
        tape.pool(3, 2, padding="same")


def _stem_convolution(config: ResNetConfig) -> tuple[int, int, int]:
    """(filters, kernel size, strides)."""
    return (IMAGENET_STEM_FILTERS, 7, 2) if config.is_imagenet else (STAGE_FILTERS[0], 3, 1)


def _activate(x: Any, config: ResNetConfig, name: str) -> Any:
    import keras

    from tuner.models.head import normalize_and_activate

    if config.batch_normalization:
        return normalize_and_activate(x, name, config.activation)
    return keras.layers.Activation(config.activation, name=f"{name}_{config.activation}")(x)


def _activation_cost(tape: CostTape, config: ResNetConfig) -> None:
    config.style.normalize(tape)
    tape.activation()


def _check_image(config: ResNetConfig, image_shape: ImageShape) -> None:
    height, width, _ = image_shape
    if not config.is_imagenet or min(height, width) >= IMAGENET_REDUCTION:
        return
    raise InputError(
        Problem(
            what="the images are too small for the imagenet stem",
            where="model.stem",
            received=f"images of {height}x{width}",
            expected=f"images of at least {IMAGENET_REDUCTION}x{IMAGENET_REDUCTION}, since this "
            f"form divides them by {IMAGENET_REDUCTION}",
            mend="set stem: cifar",
        )
    )
