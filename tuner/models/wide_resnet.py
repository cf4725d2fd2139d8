"""Wide residual networks for small images."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from tuner.models.family import (
    CostTape,
    DropoutMode,
    FamilyConfig,
    TunerFamily,
    dropout_mode_field,
    nearest_allowed,
    rate_field,
)
from tuner.models.residual import STAGE_FILTERS, BlockStyle, ResidualPlace, stage_plan

MAX_DEPTH = 604
STEM_FILTERS = STAGE_FILTERS[0]


class WideResNetConfig(FamilyConfig):
    """A wide residual network, WRN-depth-widen_factor."""

    family: Literal["wide_resnet"] = "wide_resnet"
    depth: int = Field(
        default=28,
        ge=10,
        le=MAX_DEPTH,
        description="convolutions, those of shortcuts included, 6n + 4: three stages of n blocks",
    )
    widen_factor: int = Field(
        default=10, ge=1, le=64, description="stages have 16, 32 and 64 times as many filters"
    )
    dropout: float = rate_field(
        "rate between the two convolutions of each block; 0 leaves the layers out"
    )
    dropout_mode: DropoutMode = dropout_mode_field()
    stochastic_depth: float = rate_field(
        "probability that the last block is dropped in a training step, falling "
        "linearly towards the first block; 0 leaves the layers out"
    )

    @field_validator("depth")
    @classmethod
    def _check_depth(cls, depth: int) -> int:
        if (depth - 4) % 6 == 0:
            return depth
        near = nearest_allowed(depth, range(10, min(depth + 6, MAX_DEPTH) + 1, 6))
        raise ValueError(f"depth must be 6n + 4 (10, 16, 22, 28, 34, 40, ...); nearest: {near}")

    @property
    def style(self) -> BlockStyle:
        """What its blocks have in common."""
        return BlockStyle(
            kind="basic",
            pre_activation=True,
            shortcut="projection",
            dropout=self.dropout,
            dropout_mode=self.dropout_mode,
            stochastic_depth=self.stochastic_depth,
        )

    @property
    def plan(self) -> list[ResidualPlace]:
        """Its blocks."""
        filters = [self.widen_factor * filters for filters in STAGE_FILTERS]
        return stage_plan(filters, [(self.depth - 4) // 6] * 3)


class WideResNet(TunerFamily[WideResNetConfig]):
    """A 3×3 convolution, three stages of pre-activation blocks, head.

    Fewer and wider layers than a residual network of the same size, which a GPU computes faster.
    Stages after the first begin with stride 2.

    Source: Zagoruyko and Komodakis 2016, "Wide Residual Networks", Table 1.
    """

    name: ClassVar[str] = "wide_resnet"
    config = WideResNetConfig

    def count(self, tape: CostTape, config: WideResNetConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        tape.convolution(STEM_FILTERS, 3)
        config.style.count(tape, config.plan)
        tape.batch_normalization()
        tape.activation()
        tape.classify(num_classes)

    def add(self, x: Any, config: WideResNetConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        from tuner.layers.convolution import convolution
        from tuner.models.building import activated, classify

        x = convolution(STEM_FILTERS, 3, name="stem_convolution", dtype=None)(x)
        x = activated(config.style.add(x, config.plan), "head")
        return classify(x, num_classes)
