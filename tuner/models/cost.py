"""What a network costs, counted along its layers without building it."""

from __future__ import annotations

from dataclasses import dataclass


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

    def convolution(self, filters: int, kernel_size: int, strides: int = 1) -> None:
        """A "same" convolution without bias."""
        weights = kernel_size * kernel_size * self.channels * filters
        self.height, self.width = -(-self.height // strides), -(-self.width // strides)
        self.channels = filters
        self._parameters += weights
        self._macs += weights * self.height * self.width
        self._keep_output()

    def side_convolution(self, channels: int, filters: int) -> None:
        """A 1×1 convolution from `channels` beside the main path, which is where its output ends.

        Call it when the main path has reached the resolution of that output.
        """
        weights = channels * filters
        self._parameters += weights
        self._macs += weights * self.height * self.width
        self._activations += self.height * self.width * filters

    def bias(self) -> None:
        """One bias a channel."""
        self._parameters += self.channels

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

    def average_pool(self, size: int) -> None:
        """A "valid" pool with strides of its size."""
        self.height, self.width = self.height // size, self.width // size
        self._keep_output()

    def global_average_pool(self) -> None:
        """One number a channel."""
        self.height = self.width = 1
        self._keep_output()

    def dense(self, units: int) -> None:
        """A dense layer with bias on a vector."""
        self._parameters += (self.channels + 1) * units
        self._macs += self.channels * units
        self.channels = units
        self._keep_output()

    def _keep_output(self) -> None:
        self._activations += self.height * self.width * self.channels
