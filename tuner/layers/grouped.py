"""Convolutions in groups of channels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tuner.layers.shapes import Shape, strided


@keras.saving.register_keras_serializable(package="tuner")
class GroupedConvolution(keras.layers.Layer):  # type: ignore[misc]
    """A convolution in which each group of filters sees one group of the channels.

    With g groups the kernel `(kernel_size, kernel_size, channels / g, filters)` has 1/g of the
    weights and the work of an ordinary one. Kernel and result are those of
    `keras.layers.Conv2D(groups=g, padding="same", use_bias=False)`, which on a CPU under TensorFlow
    compiles every call for itself and then takes dozens of times as long.

    Args:
        filters: of all groups together.
        kernel_size: height and width of the kernel.
        groups: how many; channels and filters are multiples of it.
        strides: of the convolution.

    Raises:
        ValueError: filters or channels that are no multiple of groups.

    Source: Krizhevsky et al. 2012, section 3.2; Xie et al. 2017.
    """

    def __init__(
        self, filters: int, kernel_size: int, groups: int, strides: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.strides = strides
        self._check_multiple("filters", filters)

    def build(self, input_shape: Shape) -> None:
        """Create the kernel, with He initialization as all convolutions here."""
        channels = input_shape[-1]
        self._check_multiple("channels", channels)
        size = self.kernel_size
        self.kernel = self.add_weight(
            shape=(size, size, channels // self.groups, self.filters),
            name="kernel",
            initializer="he_normal",
        )

    def call(self, inputs: Any) -> Any:
        """Convolve."""
        kernel = ops.convert_to_tensor(self.kernel)
        if keras.backend.backend() != "tensorflow" or self.groups == 1:
            return self._convolve(inputs, kernel)
        if _has_gpu():
            return _convolve_by_cudnn(inputs, kernel, self.strides)
        return self._convolve_group_by_group(inputs, kernel)

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
            "groups": self.groups,
            "strides": self.strides,
        }

    def _check_multiple(self, what: str, number: int) -> None:
        if number % self.groups:
            raise ValueError(f"{what} must be a multiple of {self.groups} groups; got {number}")

    def _convolve(self, inputs: Any, kernel: Any) -> Any:
        return ops.conv(inputs, kernel, self.strides, padding="same", data_format="channels_last")

    def _convolve_group_by_group(self, inputs: Any, kernel: Any) -> Any:
        # On a CPU TensorFlow differentiates grouped convolutions in some dtypes and builds only.
        images = ops.split(inputs, self.groups, axis=-1)
        kernels = ops.split(kernel, self.groups, axis=-1)
        pairs = zip(images, kernels, strict=True)
        return ops.concatenate([self._convolve(*pair) for pair in pairs], axis=-1)


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _convolve_by_cudnn(inputs: Any, kernel: Any, strides: int) -> Any:
    import tensorflow as tf

    # The kernel's third axis tells the number of groups.
    return tf.nn.conv2d(inputs, kernel, strides, "SAME")
