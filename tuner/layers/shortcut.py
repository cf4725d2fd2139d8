"""Shortcuts of residual blocks where the number of filters or the resolution changes."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import ops

from tuner.layers.parts import convolution, normalization
from tuner.layers.shapes import Shape, strided

ShortcutKind = Literal["identity", "projection"]


@keras.saving.register_keras_serializable(package="tuner")
class PaddedShortcut(keras.layers.Layer):  # type: ignore[misc]
    """The identity, subsampled by `strides`, with channels of zeros appended up to `filters`.

    It has no weights. Source: He et al. 2016, section 3.3, option A; section 4.2 uses it on CIFAR.

    Raises:
        ValueError: fewer filters than the inputs have channels.
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Subsample and pad."""
        added = self.filters - inputs.shape[-1]
        # A pool of one pixel takes every strides-th pixel, on a CPU 5 times faster than a slice.
        outputs = ops.average_pool(inputs, 1, strides=self.strides) if self.strides > 1 else inputs
        return ops.pad(outputs, [(0, 0), (0, 0), (0, 0), (0, added)])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, filters)`, sizes rounded up."""
        batch, height, width, channels = input_shape
        if channels is not None and channels > self.filters:
            raise ValueError(
                f"an identity shortcut cannot take {channels} channels to {self.filters} filters; "
                "use shortcut='projection'"
            )
        return batch, strided(height, self.strides), strided(width, self.strides), self.filters

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


@keras.saving.register_keras_serializable(package="tuner")
class ProjectionShortcut(keras.layers.Layer):  # type: ignore[misc]
    """A 1×1 convolution with `strides`, then batch normalization.

    Args:
        filters: of the convolution.
        strides: of the convolution.
        batch_normalization: normalize; otherwise it is the convolution alone, without a bias
            (in a network without normalization the branch that is added has one).

    Source: He et al. 2016, section 3.3, option B; the convolution alone: He et al. 2016b.
    """

    def __init__(
        self, filters: int, strides: int = 1, batch_normalization: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.batch_normalization = batch_normalization
        policy = self.dtype_policy
        self.convolution = convolution(
            filters, 1, strides=strides, name="convolution", dtype=policy
        )
        make = normalization if batch_normalization else keras.layers.Identity
        self.normalization = make(name="normalization", dtype=policy)

    def build(self, input_shape: Shape) -> None:
        """Build convolution and normalization."""
        self.convolution.build(input_shape)
        self.normalization.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Project."""
        return self.normalization(self.convolution(inputs), training=training)

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
            "batch_normalization": self.batch_normalization,
        }


SHORTCUTS = get_args(ShortcutKind)


def shortcut_layer(
    kind: ShortcutKind, filters: int, strides: int, *, batch_normalization: bool, dtype: Any
) -> PaddedShortcut | ProjectionShortcut:
    """The layer of that kind; `batch_normalization` is of a projection."""
    if kind == "identity":
        return PaddedShortcut(filters, strides, name="shortcut", dtype=dtype)
    return ProjectionShortcut(
        filters, strides, batch_normalization=batch_normalization, name="shortcut", dtype=dtype
    )
