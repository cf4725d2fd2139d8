"""Inception networks: GoogLeNet, and smaller ones of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from tuner.models.family import (
    Activation,
    CostTape,
    DropoutMode,
    FamilyConfig,
    ImageShape,
    Pooling,
    Stem,
    TunerFamily,
    check_image,
    dropout_mode_field,
    rate_field,
    rate_or_none,
)

# Modules of the three stages; two layers each, 4 outside of them. GoogLeNet has 22.
STAGE_MODULES: dict[int, tuple[int, int, int]] = {10: (1, 1, 1), 16: (2, 2, 2), 22: (2, 5, 2)}

# 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection. Source: Szegedy et al. 2015, Table 1.
MODULES: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

# (filters, kernel size, strides, whether a pool with stride 2 follows).
STEMS: dict[Stem, tuple[tuple[int, int, int, bool], ...]] = {
    "cifar": ((192, 3, 1, False),),
    "imagenet": ((64, 7, 2, True), (64, 1, 1, False), (192, 3, 1, True)),
}

# Two pools between stages; the imagenet stem strides once and pools twice before them.
REDUCTION: dict[Stem, int] = {"cifar": 4, "imagenet": 32}


class InceptionConfig(FamilyConfig):
    """A network of inception modules.

    GoogLeNet of the paper: stem imagenet, width 1, batch_normalization false, dropout 0.4.
    """

    family: Literal["inception"] = "inception"
    stem: Stem = Field(
        default="cifar",
        description="cifar: a 3x3 convolution; imagenet: that of GoogLeNet, which divides height "
        "and width by 8",
    )
    depth: Literal[10, 16, 22] = Field(
        default=22,
        description="layers with weights, with the imagenet stem: 1, 2 or all of GoogLeNet's "
        "2 + 5 + 2 modules in each stage",
    )
    width: float = Field(
        default=0.25,
        ge=0.03125,
        le=4.0,
        description="all numbers of filters, in those of GoogLeNet",
    )
    reduction: bool = Field(
        default=True,
        description="1x1 convolutions before the 3x3 and 5x5 ones and after the pool; without "
        "them it is the paper's naive module",
    )
    batch_normalization: bool = Field(
        default=True,
        description="normalize after each convolution; without it convolutions have a bias",
    )
    activation: Activation = Field(default="relu", description="after each convolution")
    pooling: Pooling = Field(default="max", description="of the fourth branch of each module")
    dropout: float = rate_field("rate before the classifier; 0 leaves the layer out")
    dropout_mode: DropoutMode = dropout_mode_field()

    @property
    def modules(self) -> list[list[tuple[str, list[int]]]]:
        """Name and filters of each module, stage by stage."""
        return [
            [
                (name, self.scaled(*filters))
                for name, filters in MODULES.items()
                if name[0] == stage
            ][:count]
            for stage, count in zip("345", STAGE_MODULES[self.depth], strict=True)
        ]

    def scaled(self, *filters: int) -> list[int]:
        """GoogLeNet's numbers of filters at this width, at least 1."""
        return [max(1, round(self.width * number)) for number in filters]


class Inception(TunerFamily[InceptionConfig]):
    """Stem, three stages of inception modules with max pools between them, head.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 5 and Table 1, without
    auxiliary classifiers. Where the paper has two local response normalizations there is batch
    normalization after every convolution (Ioffe and Szegedy 2015), or nothing.
    """

    name: ClassVar[str] = "inception"
    config = InceptionConfig

    def check(self, config: InceptionConfig, image_shape: ImageShape) -> None:
        """The strides must leave something of them."""
        check_image(image_shape, config.stem, REDUCTION)

    def count(self, tape: CostTape, config: InceptionConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        for filters, kernel_size, strides, pooled in STEMS[config.stem]:
            tape.activated_convolution(
                config.scaled(filters)[0],
                kernel_size,
                strides,
                batch_normalization=config.batch_normalization,
            )
            if pooled:
                tape.pool(3, 2, padding="same")
        for stage, modules in enumerate(config.modules):
            if stage > 0:
                tape.pool(3, 2, padding="same")
            for _, columns in modules:
                _module_cost(tape, config, columns)
        tape.classify(num_classes, dropout=config.dropout > 0)

    def add(self, x: Any, config: InceptionConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        from tuner.layers import InceptionBlock
        from tuner.models.building import classify, pooled

        x = _stem(x, config)
        for stage, modules in enumerate(config.modules):
            x = pooled(x, f"stage{stage}_pool", 3, 2) if stage > 0 else x
            for name, columns in modules:
                x = InceptionBlock(
                    columns,
                    config.reduction,
                    config.batch_normalization,
                    config.activation,
                    config.pooling,
                    name=f"module{name}",
                )(x)
        return classify(x, num_classes, rate_or_none(config.dropout), config.dropout_mode)


def _stem(x: Any, config: InceptionConfig) -> Any:
    from tuner.layers import PostActivationConvolution
    from tuner.models.building import pooled

    for n, (filters, kernel_size, strides, is_pooled) in enumerate(STEMS[config.stem], 1):
        x = PostActivationConvolution(
            config.scaled(filters)[0],
            kernel_size,
            strides,
            config.batch_normalization,
            config.activation,
            name=f"stem{n}",
        )(x)
        x = pooled(x, f"stem{n}_pool", 3, 2) if is_pooled else x
    return x


def _module_cost(tape: CostTape, config: InceptionConfig, columns: list[int]) -> None:
    start, joined = tape.shape, 0
    for steps in _branches(config, columns):
        tape.go_to(start)
        for step in steps:
            tape.activated_convolution(*step, batch_normalization=config.batch_normalization)
        joined += tape.channels
    tape.go_to(start)
    tape.pool(3, 1, padding="same")
    if config.reduction:
        tape.activated_convolution(columns[5], 1, batch_normalization=config.batch_normalization)
    tape.concatenate(joined)


def _branches(config: InceptionConfig, columns: list[int]) -> Iterator[list[tuple[int, int]]]:
    """(filters, kernel size) of each convolution in the branches without a pool."""
    ones, reduce3, threes, reduce5, fives, _ = columns
    yield [(ones, 1)]
    for reduced, filters, kernel_size in ((reduce3, threes, 3), (reduce5, fives, 5)):
        yield [(reduced, 1)] * config.reduction + [(filters, kernel_size)]
