"""Normalization and activation after the convolution."""

from __future__ import annotations

from typing import Any

import keras

from tuner.layers.parts import convolution, normalization
from tuner.layers.shapes import Shape, strided


@keras.saving.register_keras_serializable(package="tuner")
class PostActivationConvolution(keras.layers.Layer):  # type: ignore[misc]
    """`activation(BN(conv(x)))`; without normalization the convolution has a bias.

    Args:
        filters: of the convolution.
        kernel_size: of the convolution.
        strides: of the convolution.
        batch_normalization: normalize before the activation.
        activation: a name that Keras knows.

    Source: Ioffe and Szegedy 2015, section 3.2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        batch_normalization: bool = True,
        activation: str = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.batch_normalization = batch_normalization
        self.activation = activation
        self._activate = keras.activations.get(activation)
        policy = self.dtype_policy
        self.convolution = convolution(
            filters,
            kernel_size,
            strides=strides,
            use_bias=not batch_normalization,
            name="convolution",
            dtype=policy,
        )
        self.normalization: Any = None
        if batch_normalization:
            self.normalization = normalization(name="normalization", dtype=policy)

    def build(self, input_shape: Shape) -> None:
        """Build the parts."""
        self.convolution.build(input_shape)
        if self.normalization is not None:
            self.normalization.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve, normalize, activate."""
        x = self.convolution(inputs)
        if self.normalization is not None:
            x = self.normalization(x, training=training)
        return self._activate(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, filters)`, sizes rounded up."""
        batch, height, width, _ = input_shape
        return batch, strided(height, self.strides), strided(width, self.strides), self.filters

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "batch_normalization": self.batch_normalization,
            "activation": self.activation,
        }
