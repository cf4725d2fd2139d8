"""The basic residual block."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tuner.layers.dropout import Dropout
from tuner.layers.parts import convolution, normalization
from tuner.layers.shapes import Shape, strided
from tuner.layers.shortcut import SHORTCUTS, ShortcutKind


@keras.saving.register_keras_serializable(package="tuner")
class ResidualBlock(keras.layers.Layer):  # type: ignore[misc]
    """Two 3×3 convolutions whose result is added to the block's inputs.

        y = relu(shortcut(x) + BN(conv(dropout(relu(BN(conv(x)))))))

    The shortcut is the identity where the shape stays. A block whose branch gives zeros therefore
    passes what is not negative unchanged, which is what lets networks grow deep.

    Args:
        filters: of both convolutions.
        strides: of the first convolution and the shortcut.
        shortcut: where the shape changes: "identity" subsamples and appends zeros (option A of the
            paper, no weights), "projection" is a 1×1 convolution (option B).
        dropout: initial rate between the convolutions (a runtime value); None for no dropout.

    Raises:
        ValueError: an unknown shortcut, or an identity shortcut to fewer filters.

    Source: He et al. 2016, Figure 2 and section 4.2; dropout's place: Zagoruyko and Komodakis 2016.
    """

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        shortcut: ShortcutKind = "identity",
        dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if shortcut not in SHORTCUTS:
            raise ValueError(f"shortcut must be one of {tuple(SHORTCUTS)}; received {shortcut!r}")
        self.filters = filters
        self.strides = strides
        self.shortcut_kind = shortcut
        self.initial_dropout = dropout
        policy = self.dtype_policy
        self.convolution1 = convolution(
            filters, 3, strides=strides, name="convolution1", dtype=policy
        )
        self.normalization1 = normalization(name="normalization1", dtype=policy)
        self.dropout = None if dropout is None else Dropout(dropout, name="dropout", dtype=policy)
        self.convolution2 = convolution(filters, 3, name="convolution2", dtype=policy)
        self.normalization2 = normalization(name="normalization2", dtype=policy)
        self.shortcut: Any = None

    def build(self, input_shape: Shape) -> None:
        """Build both convolutions, and a shortcut if the shape changes."""
        output_shape = self.compute_output_shape(input_shape)
        self.convolution1.build(input_shape)
        self.normalization1.build(output_shape)
        if self.dropout is not None:
            self.dropout.build(output_shape)
        self.convolution2.build(output_shape)
        self.normalization2.build(output_shape)
        if self.strides != 1 or input_shape[-1] != self.filters:
            self.shortcut = SHORTCUTS[self.shortcut_kind](
                self.filters, self.strides, name="shortcut", dtype=self.dtype_policy
            )
            self.shortcut.compute_output_shape(input_shape)
            self.shortcut.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add the branch to the shortcut."""
        x = ops.relu(self.normalization1(self.convolution1(inputs), training=training))
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        x = self.normalization2(self.convolution2(x), training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        return ops.relu(x + inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, filters)`, sizes rounded up."""
        batch, height, width, _ = input_shape
        return batch, strided(height, self.strides), strided(width, self.strides), self.filters

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "shortcut": self.shortcut_kind,
            "dropout": self.initial_dropout,
        }
