"""What a network family is: a configuration, its cost, and its builder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tuner.errors import InputError, Problem

# (height, width, channels)
ImageShape = tuple[int, int, int]

# What families offer as `activation` and `pooling`; the names are Keras'.
Activation = Literal["relu", "sigmoid", "tanh", "elu", "gelu", "silu"]
Pooling = Literal["max", "average"]
Padding = Literal["same", "valid"]
DropoutMode = Literal["upscale_in_train", "downscale_in_infer"]
# cifar: convolutions with stride 1; imagenet: a 7×7 convolution and a 3×3 max pool with stride 2.
Stem = Literal["cifar", "imagenet"]


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
    return _runtime_fields(config)


@cache
def _runtime_fields(config: Any) -> tuple[str, ...]:
    return tuple(
        name
        for name, field in config.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("runtime")
    )


def rate_field(description: str) -> Any:
    """The field of a rate that is 0, which leaves the layers out, unless it is given."""
    return Field(default=0.0, ge=0.0, lt=1.0, description=description, json_schema_extra=RUNTIME)


def dropout_mode_field() -> Any:
    """The field of what makes the expectation at prediction that of training."""
    return Field(
        default="upscale_in_train",
        description="of dropout: upscale_in_train divides what is kept by 1 - rate while training; "
        "downscale_in_infer multiplies by 1 - rate at prediction; without dropout it changes "
        "nothing",
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


@dataclass(frozen=True)
class Cost:
    """The size of a network for one image.

    Attributes:
        parameters: trainable ones: kernels, biases, gammas and betas (no moving averages).
        macs: multiply-adds of convolutions and dense layers in the forward pass; normalization,
            activation, pooling and additions are not counted, as papers count.
        activations: elements that the forward pass keeps for the backward pass: outputs of
            convolutions, concatenations, activations, dropouts and pools.
        uncounted: layers of a person's own with weights whose multiply-adds nobody knows.
    """

    parameters: int
    macs: int
    activations: int
    uncounted: tuple[str, ...] = ()


class CostTape:
    """Follows the shape of one image through a network and adds up the cost of each layer."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.height, self.width, self.channels = image_shape
        self._parameters = 0
        self._macs = 0
        self._activations = 0

    @property
    def cost(self) -> Cost:
        """The sum so far."""
        return Cost(self._parameters, self._macs, self._activations)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) where the tape stands."""
        return self.height, self.width, self.channels

    def go_to(self, shape: tuple[int, int, int]) -> None:
        """Continue from an earlier shape: another branch from the same place."""
        self.height, self.width, self.channels = shape

    def convolution(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        padding: Padding = "same",
    ) -> None:
        """A convolution with square kernels."""
        weights = kernel_size * kernel_size * (self.channels // groups) * filters
        self._slide(kernel_size, strides, padding)
        self.channels = filters
        self._parameters += weights + filters * bias
        self._macs += weights * self.height * self.width
        self._keep_output()

    def activated_convolution(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        batch_normalization: bool,
        padding: Padding = "same",
    ) -> None:
        """A convolution, with a bias if no normalization follows, and an activation."""
        bias = not batch_normalization
        self.convolution(filters, kernel_size, strides, bias=bias, padding=padding)
        if batch_normalization:
            self.batch_normalization()
        self.activation()

    def batch_normalization(self) -> None:
        """One gamma and one beta a channel."""
        self._parameters += 2 * self.channels

    def activation(self) -> None:
        """Any elementwise activation."""
        self._keep_output()

    def dropout(self) -> None:
        """A dropout layer."""
        self._keep_output()

    def concatenate(self, channels: int) -> None:
        """The present output joined to earlier `channels` of the same resolution."""
        self.channels += channels
        self._keep_output()

    def pool(self, size: int, strides: int | None = None, *, padding: Padding = "valid") -> None:
        """A max or average pool; without `strides` the windows do not overlap."""
        self._slide(size, strides or size, padding)
        self._keep_output()

    def flatten(self) -> None:
        """The image as one vector."""
        self.height, self.width, self.channels = 1, 1, self.height * self.width * self.channels

    def global_average_pool(self) -> None:
        """One number a channel."""
        self.height = self.width = 1
        self._keep_output()

    def dense(self, units: int, *, bias: bool = True) -> None:
        """A dense layer on a vector."""
        self._parameters += (self.channels + bias) * units
        self._macs += self.channels * units
        self.channels = units
        self._keep_output()

    def hidden_layer(self, units: int, *, batch_normalization: bool, dropout: bool) -> None:
        """A dense layer, with a bias if no normalization follows, an activation, dropout."""
        self.dense(units, bias=not batch_normalization)
        if batch_normalization:
            self.batch_normalization()
        self.activation()
        if dropout:
            self.dropout()

    def classify(self, num_classes: int, *, dropout: bool = False) -> None:
        """Global average pool, dropout where wanted, and a dense layer of logits."""
        self.global_average_pool()
        if dropout:
            self.dropout()
        self.dense(num_classes)

    def _slide(self, size: int, strides: int, padding: Padding) -> None:
        lost = size - 1 if padding == "valid" else 0
        self.height = -(-(self.height - lost) // strides)
        self.width = -(-(self.width - lost) // strides)

    def _keep_output(self) -> None:
        self._activations += self.height * self.width * self.channels


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


class TunerFamily(Family[ConfigT]):
    """A family of tuner's own: layers between the image and the logits, and what they cost."""

    def cost(self, config: ConfigT, image_shape: ImageShape, num_classes: int) -> Cost:
        """Parameters, multiply-adds and activations."""
        self.check(config, image_shape)
        tape = CostTape(image_shape)
        self.count(tape, config, num_classes)
        return tape.cost

    def build(self, config: ConfigT, image_shape: ImageShape, num_classes: int) -> Any:
        """A functional model of logits."""
        self.check(config, image_shape)
        import keras

        inputs = keras.Input(image_shape, name="image")
        return keras.Model(inputs, self.add(inputs, config, num_classes), name=self.name)

    def check(self, config: ConfigT, image_shape: ImageShape) -> None:
        """Refuse images that this configuration cannot take; by default none."""

    @abstractmethod
    def count(self, tape: CostTape, config: ConfigT, num_classes: int) -> None:
        """The cost of what `add` builds."""

    @abstractmethod
    def add(self, x: Any, config: ConfigT, num_classes: int) -> Any:
        """The layers on the image `x`; gives the logits."""


def check_image(image_shape: ImageShape, stem: Stem, least: Mapping[Stem, int]) -> None:
    """Refuse images from which the strides of a network would leave nothing.

    Args:
        image_shape: of the data set.
        stem: of the network.
        least: what a network of each stem divides height and width by.

    Raises:
        InputError: height or width below that.
    """
    size = min(image_shape[:2])
    if size >= least[stem]:
        return
    raise InputError(
        Problem(
            what=f"the images are too small for the {stem} stem and what follows",
            where="model.stem",
            received=f"images of {image_shape[0]}x{image_shape[1]}",
            expected=f"images of at least {least[stem]}x{least[stem]}, since the network divides "
            "them by it",
            mend="set stem: cifar"
            if size >= least["cifar"]
            else "take another family, such as resnet",
        )
    )
