"""LeNet-5, the first of the convolutional networks."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tuner.errors import InputError, Problem
from tuner.models.family import (
    Activation,
    CostTape,
    DropoutMode,
    FamilyConfig,
    ImageShape,
    Padding,
    Pooling,
    TunerFamily,
    dropout_mode_field,
    rate_field,
    rate_or_none,
)

FILTERS = (6, 16)
HIDDEN_UNITS = (120, 84)
PAPERS_SIZE = 32


class LeNetConfig(FamilyConfig):
    """LeNet-5, by default as in the paper where it can be."""

    family: Literal["lenet"] = "lenet"
    kernel_size: int = Field(default=5, ge=3, le=7, description="of both convolutions")
    activation: Activation = Field(
        default="tanh", description="after each convolution and hidden dense layer"
    )
    pooling: Pooling = Field(default="average", description="2x2, after each convolution")
    batch_normalization: bool = Field(
        default=False,
        description="normalize before each activation; the layer before it then has no bias",
    )
    dropout: float = rate_field("rate after each hidden dense layer; 0 leaves the layers out")
    dropout_mode: DropoutMode = dropout_mode_field()


class LeNet(TunerFamily[LeNetConfig]):
    """Two convolutions with 6 and 16 filters, each pooled, dense layers of 120 and 84 units, head.

    Images smaller than 32x32 are padded with zeros by the first convolution, as the paper puts its
    28x28 digits into 32x32. Unlike there, every channel of the second convolution sees all six of
    the first, pools have no weights, tanh is not scaled, and the head is a dense layer of logits.

    Source: LeCun et al. 1998, section II.B.
    """

    name: ClassVar[str] = "lenet"
    config = LeNetConfig

    def check(self, config: LeNetConfig, image_shape: ImageShape) -> None:
        """Two convolutions and pools must leave something of them."""
        height, width, _ = image_shape
        # Half of it must leave the second convolution two pixels to be pooled.
        least = 2 * (config.kernel_size + 1)
        if min(height, width) >= least:
            return
        largest = min(height, width) // 2 - 1
        raise InputError(
            Problem(
                what="the images are too small for two convolutions and pools",
                where="model.kernel_size",
                received=f"kernel_size {config.kernel_size} for images of {height}x{width}",
                expected=f"images of at least {least}x{least}",
                mend=f"set kernel_size to at most {largest}" if largest >= 3 else "use family mlp",
            )
        )

    def count(self, tape: CostTape, config: LeNetConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        normalized = config.batch_normalization
        for filters, padding in zip(FILTERS, _paddings(tape.shape), strict=True):
            tape.activated_convolution(
                filters, config.kernel_size, batch_normalization=normalized, padding=padding
            )
            tape.pool(2)
        tape.flatten()
        for units in HIDDEN_UNITS:
            tape.hidden_layer(units, batch_normalization=normalized, dropout=config.dropout > 0)
        tape.dense(num_classes)

    def add(self, x: Any, config: LeNetConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        import keras

        from tuner.models import building

        both: dict[str, Any] = {
            "activation": config.activation,
            "batch_normalization": config.batch_normalization,
        }
        stages = enumerate(zip(FILTERS, _paddings(x.shape[1:]), strict=True), 1)
        for stage, (filters, padding) in stages:
            name, size = f"stage{stage}", config.kernel_size
            x = building.activated_convolution(x, name, filters, size, padding=padding, **both)
            x = building.pooled(x, f"{name}_pool", 2, 2, pooling=config.pooling, padding="valid")
        x = keras.layers.Flatten(name="flatten")(x)
        for index, units in enumerate(HIDDEN_UNITS, 1):
            x = building.hidden_layer(
                x,
                f"hidden{index}",
                units,
                dropout=rate_or_none(config.dropout),
                dropout_mode=config.dropout_mode,
                **both,
            )
        return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)


def _paddings(image_shape: ImageShape) -> tuple[Padding, Padding]:
    return "same" if min(image_shape[:2]) < PAPERS_SIZE else "valid", "valid"
