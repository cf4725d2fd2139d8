"""Highway networks for small images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

from tuner.models.family import (
    Activation,
    CostTape,
    DropoutMode,
    FamilyConfig,
    TunerFamily,
    dropout_mode_field,
    nearest_allowed,
    rate_field,
    rate_or_none,
)

MAX_DEPTH = 1202


class HighwayConfig(FamilyConfig):
    """A highway network of the CIFAR form."""

    family: Literal["highway"] = "highway"
    depth: int = Field(
        default=20,
        ge=5,
        le=MAX_DEPTH,
        description="layers with weights, 3n + 2: three stages of n; a block with its gate is one",
    )
    filters: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="of the first stage; each later stage has twice as many",
    )
    gate_bias: float = Field(
        default=-4.0,
        ge=-20.0,
        le=20.0,
        description="where the bias of each gate starts: the less, the nearer to the identity; "
        "deep networks need it low (110 layers train from -4 and not from -2)",
    )
    activation: Activation = Field(default="relu", description="after each transformation")
    batch_normalization: bool = Field(
        default=False,
        description="normalize before each activation; the convolution before it then has no bias",
    )
    dropout: float = rate_field("rate on what each block transforms; 0 leaves the layers out")
    dropout_mode: DropoutMode = dropout_mode_field()

    @field_validator("depth")
    @classmethod
    def _check_depth(cls, depth: int) -> int:
        if (depth - 2) % 3:
            near = nearest_allowed(depth, range(5, min(depth + 3, MAX_DEPTH) + 1, 3))
            raise ValueError(f"depth must be 3n + 2 (5, 8, ..., 20, 32, 110); nearest: {near}")
        return depth


class Highway(TunerFamily[HighwayConfig]):
    """Stem, three stages of n highway blocks, head.

    Stages after the first begin with a plain convolution of stride 2 in the place of a block, since
    a gate mixes only what has the same shape.

    Source: Srivastava et al. 2015, "Training Very Deep Networks"; the form is that of He et al.
    2016, section 4.2.
    """

    name: ClassVar[str] = "highway"
    config = HighwayConfig

    def count(self, tape: CostTape, config: HighwayConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        for place in _plan(config):
            tape.activated_convolution(
                place.filters, 3, place.strides, batch_normalization=config.batch_normalization
            )
            if place.is_block:
                if config.dropout > 0:
                    tape.dropout()
                tape.convolution(place.filters, 3, bias=True)
                tape.activation()
        tape.classify(num_classes)

    def add(self, x: Any, config: HighwayConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        from tuner.layers import HighwayBlock
        from tuner.models import building

        both: dict[str, Any] = {
            "activation": config.activation,
            "batch_normalization": config.batch_normalization,
        }
        for place in _plan(config):
            if place.is_block:
                x = HighwayBlock(
                    place.filters,
                    gate_bias=config.gate_bias,
                    dropout=rate_or_none(config.dropout),
                    dropout_mode=config.dropout_mode,
                    name=place.name,
                    **both,
                )(x)
            else:
                x = building.activated_convolution(
                    x, place.name, place.filters, 3, place.strides, **both
                )
        return building.classify(x, num_classes)


class HighwayPlace(NamedTuple):
    """Where a layer stands: a highway block or a plain convolution."""

    name: str
    is_block: bool
    filters: int
    strides: int = 1


def _plan(config: HighwayConfig) -> Iterator[HighwayPlace]:
    yield HighwayPlace("stem", False, config.filters)
    for stage in (1, 2, 3):
        filters = config.filters * 2 ** (stage - 1)
        for layer in range(1, (config.depth - 2) // 3 + 1):
            if stage > 1 and layer == 1:
                yield HighwayPlace(f"stage{stage}_layer1", False, filters, 2)
            else:
                yield HighwayPlace(f"stage{stage}_layer{layer}", True, filters)
