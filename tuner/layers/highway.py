"""Highway blocks: a learnt gate between a transformation and the identity."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tuner.layers.base import Shape
from tuner.layers.convolution import CompositeLayer
from tuner.layers.dropout import DropoutMode


@keras.saving.register_keras_serializable(package="tuner")
class HighwayBlock(CompositeLayer):
    """Transforms as far as its gate is open and carries its inputs for the rest.

        y = T(x) * H(x) + (1 - T(x)) * x

    H is an activated convolution, T a convolution with a sigmoid: a gate of its own for every
    element. The gate's bias starts below 0, so that a new block is near the identity and networks
    of a hundred layers train from the start. Inputs `(batch, units)` go through dense layers
    instead of convolutions.

    Args:
        filters: of both convolutions (or their units); the channels of the inputs.
        kernel_size: of both convolutions; dense layers have none.
        gate_bias: initial bias of the gate; an untrained block transforms about
            1 / (1 + exp(-gate_bias)) of its inputs.
        activation: of H, by Keras' name.
        batch_normalization: normalize in H before the activation (not in the paper).
        dropout: initial rate on H (a runtime value), which leaves what is carried alone; None for
            no dropout.
        dropout_mode: the convention, see `Dropout`.

    Raises:
        ValueError: inputs with another number of channels than `filters`, or neither images nor
            vectors.

    Source: Srivastava et al. 2015, "Training Very Deep Networks", section 2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        gate_bias: float = -4.0,
        activation: str = "relu",
        batch_normalization: bool = False,
        dropout: float | None = None,
        dropout_mode: DropoutMode = "upscale_in_train",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.gate_bias = float(gate_bias)
        self.activation = activation
        self.batch_normalization = bool(batch_normalization)
        self.initial_dropout = dropout
        self.dropout_mode = dropout_mode
        self.normalization: Any = None
        if batch_normalization:
            self.normalization = self.make_normalization("normalization")
        self.dropout = self.make_dropout(dropout, dropout_mode)

    def build(self, input_shape: Shape) -> None:
        """Build H and T for images or vectors."""
        shape = self.compute_output_shape(input_shape)
        self.transform = self._affine(len(shape), "transform", 0.0, not self.batch_normalization)
        self.gate = self._affine(len(shape), "gate", self.gate_bias, True)
        for part in (self.transform, self.gate, self.normalization, self.dropout):
            if part is not None:
                part.build(shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Mix the transformed and the carried inputs."""
        x = self.transform(inputs)
        if self.normalization is not None:
            x = self.normalization(x, training=training)
        x = keras.activations.get(self.activation)(x)
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        # T * H + (1 - T) * x with one product less.
        return inputs + ops.sigmoid(self.gate(inputs)) * (x - inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs."""
        if len(input_shape) not in (2, 4):
            raise ValueError(
                "a highway block takes (batch, height, width, channels) or (batch, units); "
                f"received inputs of shape {tuple(input_shape)}"
            )
        if input_shape[-1] != self.filters:
            raise ValueError(
                f"a highway block needs as many filters as its inputs have channels, since it adds "
                f"them; received {self.filters} filters for {input_shape[-1]} channels"
            )
        return tuple(input_shape)

    def _affine(self, rank: int, name: str, bias: float, use_bias: bool) -> Any:
        bias_arguments: dict[str, Any] = {
            "use_bias": use_bias,
            "bias_initializer": keras.initializers.Constant(bias),
        }
        if rank == 2:
            return keras.layers.Dense(self.filters, **bias_arguments, **self.block_arguments(name))
        return self.make_convolution(name, self.filters, self.kernel_size, **bias_arguments)
