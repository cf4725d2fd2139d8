"""Multilayer perceptrons: hidden dense layers, and softmax regression without any."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from tuner.models.family import (
    Activation,
    CostTape,
    DropoutMode,
    FamilyConfig,
    TunerFamily,
    dropout_mode_field,
    rate_field,
    rate_or_none,
)

_Units = Annotated[int, Field(ge=1, le=65536)]


class MLPConfig(FamilyConfig):
    """Hidden layers on the pixels of an image, of equal width or each of its own."""

    family: Literal["mlp"] = "mlp"
    hidden_units: _Units | Annotated[list[_Units], Field(min_length=1, max_length=256)] = Field(
        default=128,
        description="units of each of num_layers hidden layers; or of one hidden layer after the "
        "other, as [256, 128], which then has num_layers left out",
        json_schema_extra={"words": "an integer from 1 to 65536, or a list of such, as [256, 128]"},
    )
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
    dropout_mode: DropoutMode = dropout_mode_field()

    @field_validator("num_layers")
    @classmethod
    def _check_num_layers(cls, num_layers: int, info: ValidationInfo) -> int:
        """A list says how many layers there are; a default cannot be told from what is written."""
        is_list = isinstance(info.data.get("hidden_units"), list)
        if is_list and num_layers != cls.model_fields["num_layers"].default:
            raise ValueError(
                "num_layers must be left out where hidden_units lists the units of each layer"
            )
        return num_layers

    @property
    def layers(self) -> list[int]:
        """The units of each hidden layer."""
        units = self.hidden_units
        return units if isinstance(units, list) else [units] * self.num_layers


class MLP(TunerFamily[MLPConfig]):
    """The image as one vector, hidden layers, logits."""

    name: ClassVar[str] = "mlp"
    config = MLPConfig

    def count(self, tape: CostTape, config: MLPConfig, num_classes: int) -> None:
        """The cost of what `add` builds."""
        tape.flatten()
        for units in config.layers:
            tape.hidden_layer(
                units,
                batch_normalization=config.batch_normalization,
                dropout=config.dropout > 0,
            )
        tape.dense(num_classes)

    def add(self, x: Any, config: MLPConfig, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""
        import keras

        from tuner.models.building import hidden_layer

        x = keras.layers.Flatten(name="flatten")(x)
        for layer, units in enumerate(config.layers, 1):
            x = hidden_layer(
                x,
                f"hidden{layer}",
                units,
                activation=config.activation,
                batch_normalization=config.batch_normalization,
                dropout=rate_or_none(config.dropout),
                dropout_mode=config.dropout_mode,
            )
        return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
