"""Plain networks: what a residual network is without its shortcuts."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from tuner.models.cost import Cost, CostTape
from tuner.models.depths import MAX_DEPTH, STAGE_FILTERS, block_plan, check_depth
from tuner.models.family import Activation, Family, FamilyConfig, ImageShape, Pooling


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


class Plain(Family[PlainConfig]):
    """The baseline of the residual networks: same convolutions, no shortcuts.

    Source: He et al. 2016, sections 4.1 and 4.2 ("plain").
    """

    name: ClassVar[str] = "plain"
    config = PlainConfig

    def cost(self, config: PlainConfig, image_shape: ImageShape, num_classes: int) -> Cost:
        """Parameters, multiply-adds and activations."""
        tape = CostTape(image_shape)
        for _, filters, strides in _convolution_plan(config.depth):
            if config.pooling and strides > 1:
                tape.pool(strides, padding="same")
                strides = 1
            tape.convolution(filters, 3, strides, bias=not config.batch_normalization)
            if config.batch_normalization:
                tape.batch_normalization()
            tape.activation()
        tape.global_average_pool()
        tape.dense(num_classes)
        return tape.cost

    def build(self, config: PlainConfig, image_shape: ImageShape, num_classes: int) -> Any:
        """A functional model of logits."""
        import keras

        from tuner.models.head import classify

        inputs = keras.Input(image_shape, name="image")
        x = inputs
        for name, filters, strides in _convolution_plan(config.depth):
            x = _convolve(x, config, name, filters, strides)
        return keras.Model(inputs, classify(x, num_classes), name=self.name)


def _convolution_plan(depth: int) -> list[tuple[str, int, int]]:
    """(name, filters, strides) of each convolution; the names are those of the residual blocks."""
    plan = [("stem", STAGE_FILTERS[0], 1)]
    for name, filters, strides in block_plan(depth):
        plan += [(f"{name}_1", filters, strides), (f"{name}_2", filters, 1)]
    return plan


def _convolve(x: Any, config: PlainConfig, name: str, filters: int, strides: int) -> Any:
    import keras

    from tuner.layers.parts import convolution, normalization

    if config.pooling and strides > 1:
        x = _pool(x, config.pooling, strides, f"{name}_pool")
        strides = 1
    use_bias = not config.batch_normalization
    x = convolution(
        filters, 3, strides=strides, use_bias=use_bias, name=f"{name}_convolution", dtype=None
    )(x)
    if config.batch_normalization:
        x = normalization(name=f"{name}_normalization", dtype=None)(x)
    return keras.layers.Activation(config.activation, name=f"{name}_{config.activation}")(x)


def _pool(x: Any, pooling: Pooling, size: int, name: str) -> Any:
    import keras

    kinds = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}
    # "same", so that sizes are those that strides would give, and images of any size will do.
    return kinds[pooling](size, padding="same", data_format="channels_last", name=name)(x)
