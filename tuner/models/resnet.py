"""Residual networks, in the form for small images and in the one for ImageNet."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from tuner.models.family import (
    Activation,
    CostTape,
    DropoutMode,
    FamilyConfig,
    ImageShape,
    Stem,
    TunerFamily,
    check_image,
    dropout_mode_field,
    nearest_allowed,
    rate_field,
)
from tuner.models.residual import (
    MAX_DEPTH,
    STAGE_FILTERS,
    BlockKind,
    BlockStyle,
    ResidualPlace,
    ShortcutKind,
    block_plan,
    check_depth,
    stage_plan,
)

IMAGENET_STEM_FILTERS = 64
IMAGENET_STAGE_FILTERS = (64, 128, 256, 512)
# Source: He et al. 2016, Table 1: blocks in each stage.
IMAGENET_BLOCKS: dict[int, tuple[BlockKind, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
# For ImageNet two strides of 2 in the stem, one in each of three stages.
REDUCTION: dict[Stem, int] = {"cifar": 1, "imagenet": 32}


class ResNetConfig(FamilyConfig):
    """A residual network."""

    # Fields that a validator needs stand before the field that it belongs to.
    family: Literal["resnet"] = "resnet"
    stem: Stem = Field(
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
    dropout: float = rate_field(
        "rate before the last convolution of each block; 0 leaves the layers out"
    )
    dropout_mode: DropoutMode = dropout_mode_field()
    stochastic_depth: float = rate_field(
        "probability that the last block is dropped in a training step, falling "
        "linearly towards the first block; 0 leaves the layers out"
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
            return _check_imagenet_depth(depth, block)
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
            dropout_mode=self.dropout_mode,
            stochastic_depth=self.stochastic_depth,
        )

    @property
    def plan(self) -> list[ResidualPlace]:
        """Its blocks."""
        if self.is_imagenet:
            return stage_plan(IMAGENET_STAGE_FILTERS, IMAGENET_BLOCKS[self.depth][1])
        return block_plan(self.depth, self.style.kind)


class ResNet(TunerFamily[ResNetConfig]):
    """Stem, stages of residual blocks with filters that double, head.

    Stages after the first begin with stride 2. With pre-activation, normalization and activation
    of the stem are those of the first block (in the imagenet form after the pool, where the paper's
    stand before it), and the head begins with one more of each.

    Source: He et al. 2016, sections 3.4 and 4.2; He et al. 2016b for pre-activation.
    """

    name: ClassVar[str] = "resnet"
    config = ResNetConfig

    def check(self, config: ResNetConfig, image_shape: ImageShape) -> None:
        """The strides must leave something of them."""
        check_image(image_shape, config.stem, REDUCTION)

    def count(self, tape: CostTape, config: ResNetConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        tape.convolution(*_stem_convolution(config), bias=not config.batch_normalization)
        if not config.pre_activation:
            config.style.count_activation(tape)
        if config.is_imagenet:
            tape.pool(3, 2, padding="same")
        config.style.count(tape, config.plan)
        if config.pre_activation:
            config.style.count_activation(tape)
        tape.classify(num_classes)

    def add(self, x: Any, config: ResNetConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        from tuner.layers.convolution import convolution
        from tuner.models.building import activated, classify, pooled

        filters, kernel_size, strides = _stem_convolution(config)
        normalized = config.batch_normalization
        x = convolution(
            filters,
            kernel_size,
            strides=strides,
            use_bias=not normalized,
            name="stem_convolution",
            dtype=None,
        )(x)
        if not config.pre_activation:
            x = activated(x, "stem", config.activation, batch_normalization=normalized)
        if config.is_imagenet:
            x = pooled(x, "stem_pool", 3, 2)
        x = config.style.add(x, config.plan)
        if config.pre_activation:
            x = activated(x, "head", config.activation, batch_normalization=normalized)
        return classify(x, num_classes)


def _stem_convolution(config: ResNetConfig) -> tuple[int, int, int]:
    """(filters, kernel size, strides)."""
    return (IMAGENET_STEM_FILTERS, 7, 2) if config.is_imagenet else (STAGE_FILTERS[0], 3, 1)


def _check_imagenet_depth(depth: int, block: BlockKind | None) -> int:
    """The depth, if the paper has it with these blocks; None for any blocks."""
    allowed = [d for d, (kind, _) in IMAGENET_BLOCKS.items() if block in (None, kind)]
    if depth in allowed:
        return depth
    blocks = f" and {block} blocks" if block else ""
    raise ValueError(
        f"depth must be one of {', '.join(map(str, allowed))} with the imagenet stem{blocks}; "
        f"nearest: {nearest_allowed(depth, allowed)}"
    )
