"""What a network family is: a configuration, its cost, and its builder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from tuner.models.cost import Cost

# (height, width, channels)
ImageShape = tuple[int, int, int]

# What families offer as `activation` and `pooling`; the names are Keras'.
Activation = Literal["relu", "sigmoid", "tanh", "elu", "gelu", "silu"]
Pooling = Literal["max", "average"]


class FamilyConfig(BaseModel):
    """What shapes a network, closed: every field has a range and a description.

    A field marked by `RUNTIME` does not shape the graph beyond being on (greater than 0) or off:
    trials that differ in its value share one program.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    family: str


# What a runtime field passes to Field(json_schema_extra=...).
RUNTIME: dict[str, Any] = {"runtime": True}


def runtime_fields(config: type[FamilyConfig]) -> tuple[str, ...]:
    """The names of the fields whose value is an argument of the compiled program."""
    return tuple(
        name
        for name, field in config.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("runtime")
    )


def rate_or_none(rate: float) -> float | None:
    """A rate as layers take it: 0 means that the layer is not there at all."""
    return rate if rate > 0 else None


def nearest_allowed(value: int, allowed: Iterable[int]) -> str:
    """The one or two allowed values next to `value`, for an error message."""
    values = sorted(allowed)
    below = [v for v in values if v < value][-1:]
    above = [v for v in values if v > value][:1]
    return " and ".join(str(v) for v in below + above)


ConfigT = TypeVar("ConfigT", bound=FamilyConfig)


class Family(ABC, Generic[ConfigT]):
    """A kind of network that an experiment can name; it has no state."""

    name: ClassVar[str]
    config: type[ConfigT]
    fingerprint: str = ""  # of code that is not tuner's own

    @abstractmethod
    def cost(self, config: ConfigT, image_shape: ImageShape, num_classes: int) -> Cost:
        """Parameters, multiply-adds and activations, without a framework.

        Raises:
            InputError: images that this configuration cannot take.
        """

    @abstractmethod
    def build(self, config: ConfigT, image_shape: ImageShape, num_classes: int) -> Any:
        """A functional Keras model from normalized images to float32 logits.

        Every layer has a readable name that depends on the configuration alone.

        Raises:
            InputError: images that this configuration cannot take.
        """
