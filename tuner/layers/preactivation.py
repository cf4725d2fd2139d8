"""Normalization and activation before the convolution."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tuner.layers.dropout import Dropout
from tuner.layers.parts import convolution, normalization
from tuner.layers.shapes import Shape


@keras.saving.register_keras_serializable(package="tuner")
class PreActivationConvolution(keras.layers.Layer):  # type: ignore[misc]
    """`dropout(conv(relu(BN(x))))`, the composite function of DenseNets.

    Args:
        filters: of the convolution.
        kernel_size: of the convolution.
        dropout: initial rate (a runtime value); None for no dropout.

    Source: Huang et al. 2017, section 3, after He et al. 2016b.
    """

    def __init__(
        self, filters: int, kernel_size: int, dropout: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.initial_dropout = dropout
        policy = self.dtype_policy
        self.normalization = normalization(name="normalization", dtype=policy)
        self.convolution = convolution(filters, kernel_size, name="convolution", dtype=policy)
        self.dropout = None if dropout is None else Dropout(dropout, name="dropout", dtype=policy)

    def build(self, input_shape: Shape) -> None:
        """Build the parts."""
        self.normalization.build(input_shape)
        self.convolution.build(input_shape)
        if self.dropout is not None:
            self.dropout.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalize, activate, convolve, drop."""
        x = self.convolution(ops.relu(self.normalization(inputs, training=training)))
        return x if self.dropout is None else self.dropout(x, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height, width, filters)`."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dropout": self.initial_dropout,
        }
