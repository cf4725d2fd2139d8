"""Dual path networks: residual and dense at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from tuner.models.family import (
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
    rate_or_none,
)

# Blocks of the four stages, three layers each. Sources: Chen et al. 2017, Table 1 (92, 98) and
# section 5.1 (131); the authors' code (107). 14 and 26 have equal stages and are for small images.
STAGE_BLOCKS: dict[int, tuple[int, int, int, int]] = {
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    92: (3, 4, 20, 3),
    98: (3, 6, 20, 3),
    107: (4, 8, 20, 3),
    131: (4, 8, 28, 3),
}

# The first block of every stage but the first halves the images; the imagenet stem does so twice.
REDUCTION: dict[Stem, int] = {"cifar": 8, "imagenet": 32}


class DualPathConfig(FamilyConfig):
    """A dual path network; filters of the stages are those of the first times 1, 2, 4 and 8.

    DPN-92 of the paper: depth 92, stem imagenet, stem_filters 64, groups 32, bottleneck_filters 96,
    residual_filters 256, growth_rate 16, growth_multipliers [1, 2, 1.5, 8].
    """

    # Fields that a validator needs stand before the field that it belongs to.
    family: Literal["dual_path"] = "dual_path"
    stem: Stem = Field(
        default="cifar",
        description="cifar: a 3x3 convolution; imagenet: a 7x7 one and a 3x3 max pool, both with "
        "stride 2",
    )
    depth: Literal[14, 26, 92, 98, 107, 131] = Field(
        default=26, description="layers with weights: stem, four stages of blocks of 3, classifier"
    )
    stem_filters: int = Field(default=16, ge=1, le=512, description="channels after the stem")
    groups: int = Field(default=8, ge=1, le=256, description="of the 3x3 convolution of each block")
    bottleneck_filters: int = Field(
        default=16,
        ge=1,
        le=1024,
        validate_default=True,
        description="of the 1x1 and 3x3 convolutions in the first stage, a multiple of groups; "
        "they double from stage to stage",
    )
    residual_filters: int = Field(
        default=32,
        ge=1,
        le=2048,
        description="channels of the residual path in the first stage; they double",
    )
    growth_rate: int = Field(
        default=8, ge=1, le=512, description="channels that a block appends to the dense path"
    )
    growth_multipliers: list[Annotated[float, Field(gt=0, le=64)]] = Field(
        default=[1.0, 1.0, 1.0, 1.0],
        min_length=4,
        max_length=4,
        description="what growth_rate is multiplied by in each of the four stages, rounded",
    )
    dropout: float = rate_field("rate before the classifier; 0 leaves the layer out")
    dropout_mode: DropoutMode = dropout_mode_field()

    @field_validator("bottleneck_filters")
    @classmethod
    def _check_groups(cls, filters: int, info: ValidationInfo) -> int:
        groups = info.data.get("groups", 1)
        if filters % groups == 0:
            return filters
        near = nearest_allowed(filters, range(groups, filters + groups + 1, groups))
        raise ValueError(
            f"bottleneck_filters must be a multiple of groups ({groups}); nearest: {near}"
        )

    @property
    def growth_rates(self) -> tuple[int, ...]:
        """Of each stage, at least 1."""
        return tuple(max(1, round(self.growth_rate * m)) for m in self.growth_multipliers)


class DualPath(TunerFamily[DualPathConfig]):
    """Stem, four stages of dual path blocks, head.

    Source: Chen et al. 2017, "Dual Path Networks", section 4 and Table 1. The head averages both in
    training and at prediction (the paper's mean-max pooling at prediction is left out).
    """

    name: ClassVar[str] = "dual_path"
    config = DualPathConfig

    def check(self, config: DualPathConfig, image_shape: ImageShape) -> None:
        """The strides must leave something of them."""
        check_image(image_shape, config.stem, REDUCTION)

    def count(self, tape: CostTape, config: DualPathConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        tape.activated_convolution(
            config.stem_filters,
            *((3, 1) if config.stem == "cifar" else (7, 2)),
            batch_normalization=True,
        )
        if config.stem == "imagenet":
            tape.pool(3, 2, padding="same")
        for place in blocks_of(config):
            _block_cost(tape, place, config.groups)
        tape.batch_normalization()
        tape.activation()
        tape.classify(num_classes, dropout=config.dropout > 0)

    def add(self, x: Any, config: DualPathConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        from tuner.layers import DualPathBlock, PostActivationConvolution
        from tuner.models.building import activated, classify, pooled

        kernel_size, strides = (3, 1) if config.stem == "cifar" else (7, 2)
        x = PostActivationConvolution(config.stem_filters, kernel_size, strides, name="stem")(x)
        if config.stem == "imagenet":
            x = pooled(x, "stem_pool", 3, 2)
        for place in blocks_of(config):
            x = DualPathBlock(
                place.filters,
                place.residual_filters,
                place.growth_rate,
                config.groups,
                place.strides,
                place.projection,
                name=place.name,
            )(x)
        x = activated(x, "head")
        return classify(x, num_classes, rate_or_none(config.dropout), config.dropout_mode)


class DualPathPlace(NamedTuple):
    """A block where it stands."""

    name: str
    filters: int
    residual_filters: int
    growth_rate: int
    strides: int
    projection: bool


def blocks_of(config: DualPathConfig) -> Iterator[DualPathPlace]:
    """Every block in the order of the network."""
    stages = zip(STAGE_BLOCKS[config.depth], config.growth_rates, strict=True)
    for stage, (num_blocks, growth_rate) in enumerate(stages):
        for block in range(num_blocks):
            yield DualPathPlace(
                f"stage{stage + 1}_block{block + 1}",
                config.bottleneck_filters * 2**stage,
                config.residual_filters * 2**stage,
                growth_rate,
                strides=2 if block == 0 and stage > 0 else 1,
                projection=block == 0,
            )


def _block_cost(tape: CostTape, place: DualPathPlace, groups: int) -> None:
    start, channels = tape.shape, tape.channels
    if place.projection:
        channels = place.residual_filters + 2 * place.growth_rate
        _step_cost(tape, channels, 1, place.strides)
        tape.go_to(start)
    _step_cost(tape, place.filters, 1)
    _step_cost(tape, place.filters, 3, place.strides, groups)
    _step_cost(tape, place.residual_filters + place.growth_rate, 1)
    tape.go_to((tape.height, tape.width, channels))
    tape.concatenate(place.growth_rate)


def _step_cost(
    tape: CostTape, filters: int, kernel_size: int, strides: int = 1, groups: int = 1
) -> None:
    tape.batch_normalization()
    tape.activation()
    tape.convolution(filters, kernel_size, strides, groups=groups)
