"""Multilayer perceptrons: hidden dense layers, and softmax regression without any."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tuner.models.family import (
    Activation,
    CostTape,
    FamilyConfig,
    TunerFamily,
    rate_field,
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
    dropout: float = rate_field("rate after each hidden layer; 0 leaves the layers out")


class MLP(TunerFamily[MLPConfig]):
    """The image as one vector, hidden layers, logits."""

    name: ClassVar[str] = "mlp"
    config = MLPConfig

    def count(self, tape: CostTape, config: MLPConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        tape.flatten()
        for _ in range(config.num_layers):
            tape.hidden_layer(
                config.hidden_units,
                batch_normalization=config.batch_normalization,
                dropout=config.dropout > 0,
            )
        tape.dense(num_classes)

    def add(self, x: Any, config: MLPConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        import keras

        from tuner.models.building import hidden_layer

        x = keras.layers.Flatten(name="flatten")(x)
        for layer in range(1, config.num_layers + 1):
            x = hidden_layer(
                x,
                f"hidden{layer}",
                config.hidden_units,
                activation=config.activation,
                batch_normalization=config.batch_normalization,
                dropout=rate_or_none(config.dropout),
            )
        return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
