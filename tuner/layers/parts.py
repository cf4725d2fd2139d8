"""The convolution and the normalization that every block is made of, each decided in one place."""

from __future__ import annotations

from typing import Any

import keras

from tuner.layers.normalization import BatchNormalization


def convolution(
    filters: int,
    kernel_size: int,
    *,
    name: str,
    dtype: Any,
    strides: int = 1,
    padding: str = "same",
    use_bias: bool = False,
    bias_initializer: Any = "zeros",
) -> Any:
    """A convolution with He initialization, by default without bias: a normalization follows.

    Source: He et al. 2015 (Keras draws the normal truncated at two standard deviations).
    """
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        # With stride 2 "same" pads below and right, where Torch recipes pad all around.
        padding=padding,
        data_format="channels_last",
        use_bias=use_bias,
        bias_initializer=bias_initializer,
        kernel_initializer="he_normal",
        name=name,
        dtype=dtype,
    )


def normalization(*, name: str, dtype: Any) -> BatchNormalization:
    """Batch normalization as in the published ResNet and DenseNet code (Torch).

    Their momentum 0.1 is the weight of the present, 0.9 in Keras' sense; Keras' defaults are
    0.99 and epsilon 1e-3.
    """
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, dtype=dtype)
