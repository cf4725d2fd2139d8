"""Plain networks: what a residual network is without its shortcuts."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from tuner.models.family import (
    Activation,
    CostTape,
    FamilyConfig,
    Pooling,
    TunerFamily,
)
from tuner.models.residual import MAX_DEPTH, STAGE_FILTERS, block_plan, check_depth


class PlainConfig(FamilyConfig):
    """A stack of convolutions of the CIFAR form."""

    family: Literal["plain"] = "plain"
    depth: int = Field(
        default=20,
        ge=8,
        le=MAX_DEPTH,
        description="layers with weights, 6n + 2: three stages of 2n convolutions",
    )
    batch_normalization: bool = Field(
        default=True,
        description="normalize after each convolution; without it convolutions have a bias",
    )
    activation: Activation = Field(default="relu", description="after each convolution")
    pooling: Literal[Pooling, None] = Field(
        default=None,
        description="halve the images before the second and third stage by a 2x2 pool; null: by "
        "stride 2 in the stage's first convolution",
    )

    @field_validator("depth")
    @classmethod
    def _check_depth(cls, depth: int) -> int:
        return check_depth(depth)


class Plain(TunerFamily[PlainConfig]):
    """The baseline of the residual networks: same convolutions, no shortcuts.

    Source: He et al. 2016, sections 4.1 and 4.2 ("plain").
    """

    name: ClassVar[str] = "plain"
    config = PlainConfig

    def count(self, tape: CostTape, config: PlainConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        for _, filters, strides in _convolution_plan(config.depth):
            if config.pooling and strides > 1:
                tape.pool(strides, padding="same")
                strides = 1
            tape.activated_convolution(
                filters, 3, strides, batch_normalization=config.batch_normalization
            )
        tape.classify(num_classes)

    def add(self, x: Any, config: PlainConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        from tuner.models import building

        for name, filters, strides in _convolution_plan(config.depth):
            if config.pooling and strides > 1:
                x = building.pooled(x, f"{name}_pool", strides, strides, pooling=config.pooling)
                strides = 1
            x = building.activated_convolution(
                x,
                name,
                filters,
                3,
                strides,
                activation=config.activation,
                batch_normalization=config.batch_normalization,
            )
        return building.classify(x, num_classes)


def _convolution_plan(depth: int) -> list[tuple[str, int, int]]:
    """(name, filters, strides) of each convolution; the names are those of the residual blocks."""
    plan = [("stem", STAGE_FILTERS[0], 1)]
    for name, filters, strides in block_plan(depth):
        plan += [(f"{name}_1", filters, strides), (f"{name}_2", filters, 1)]
    return plan
