"""Multilayer perceptrons: hidden dense layers, and softmax regression without any."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from tuner.models.cost import Cost, CostTape
from tuner.models.family import (
    RUNTIME,
    Activation,
    Family,
    FamilyConfig,
    ImageShape,
    rate_or_none,
)


class MLPConfig(FamilyConfig):
    """Hidden layers of equal width on the pixels of an image."""

    family: Literal["mlp"] = "mlp"
    hidden_units: int = Field(default=128, ge=1, le=65536, description="units of each hidden layer")
    num_layers: int = Field(
        default=2,
        ge=0,
        le=256,
        description="hidden layers; 0 is softmax regression, where the other fields change nothing",
    )
    activation: Activation = Field(default="relu", description="after each hidden layer")
    batch_normalization: bool = Field(
        default=False,
        description="normalize between each hidden layer and its activation; the layer then has "
        "no bias",
    )
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="rate after each hidden layer; 0 leaves the layers out",
        json_schema_extra=RUNTIME,
    )


class MLP(Family[MLPConfig]):
    """The image as one vector, hidden layers, logits."""

    name: ClassVar[str] = "mlp"
    config = MLPConfig

    def cost(self, config: MLPConfig, image_shape: ImageShape, num_classes: int) -> Cost:
        """Parameters, multiply-adds and activations."""
        tape = CostTape(image_shape)
        tape.flatten()
        for _ in range(config.num_layers):
            hidden_cost(tape, config, config.hidden_units)
        tape.dense(num_classes)
        return tape.cost

    def build(self, config: MLPConfig, image_shape: ImageShape, num_classes: int) -> Any:
        """A functional model of logits."""
        import keras

        inputs = keras.Input(image_shape, name="image")
        x = keras.layers.Flatten(name="flatten")(inputs)
        for layer in range(1, config.num_layers + 1):
            x = hidden_layer(x, config, config.hidden_units, f"hidden{layer}")
        logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
        return keras.Model(inputs, logits, name=self.name)


class HiddenConfig(Protocol):
    """What a hidden layer reads of the configuration of its family."""

    @property
    def activation(self) -> Activation:
        """After the layer."""

    @property
    def batch_normalization(self) -> bool:
        """Between the layer and its activation."""

    @property
    def dropout(self) -> float:
        """After the activation."""


def hidden_layer(x: Any, config: HiddenConfig, units: int, name: str) -> Any:
    """Dense layer, normalization, activation, dropout."""
    import keras

    from tuner.layers import Dropout
    from tuner.layers.parts import normalization

    x = keras.layers.Dense(
        units,
        use_bias=not config.batch_normalization,
        kernel_initializer="he_normal",
        name=f"{name}_dense",
    )(x)
    if config.batch_normalization:
        x = normalization(name=f"{name}_normalization", dtype=None)(x)
    x = keras.layers.Activation(config.activation, name=f"{name}_{config.activation}")(x)
    dropout = rate_or_none(config.dropout)
    return x if dropout is None else Dropout(dropout, name=f"{name}_dropout")(x)


def hidden_cost(tape: CostTape, config: HiddenConfig, units: int) -> None:
    """What `hidden_layer` costs."""
    tape.dense(units, bias=not config.batch_normalization)
    if config.batch_normalization:
        tape.batch_normalization()
    tape.activation()
    if config.dropout > 0:
        tape.dropout()
