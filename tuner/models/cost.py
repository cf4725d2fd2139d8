"""What a network costs, counted along its layers without building it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Padding = Literal["same", "valid"]


@dataclass(frozen=True)
class Cost:
    """The size of a network for one image.

    Attributes:
        parameters: trainable ones: kernels, biases, gammas and betas (no moving averages).
        macs: multiply-adds of convolutions and dense layers in the forward pass; normalization,
            activation, pooling and additions are not counted, as papers count.
        activations: elements that the forward pass keeps for the backward pass: outputs of
            convolutions, concatenations, activations, dropouts and pools.
    """

    parameters: int
    macs: int
    activations: int


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

    def _slide(self, size: int, strides: int, padding: Padding) -> None:
        lost = size - 1 if padding == "valid" else 0
        self.height = -(-(self.height - lost) // strides)
        self.width = -(-(self.width - lost) // strides)

    def _keep_output(self) -> None:
        self._activations += self.height * self.width * self.channels
