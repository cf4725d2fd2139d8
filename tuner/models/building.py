"""What families build their Keras models of.

Imported when a model is built, because it imports Keras.
"""

from __future__ import annotations

from typing import Any

import keras

from tuner.layers import Dropout
from tuner.layers.convolution import convolution, normalization
from tuner.models.family import Activation, DropoutMode, Padding, Pooling


def activated(
    x: Any, name: str, activation: Activation = "relu", *, batch_normalization: bool = True
) -> Any:
    """Batch normalization, where wanted, and activation, named after `name`."""
    if batch_normalization:
        x = normalization(name=f"{name}_normalization", dtype=None)(x)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def activated_convolution(
    x: Any,
    name: str,
    filters: int,
    kernel_size: int,
    strides: int = 1,
    *,
    activation: Activation,
    batch_normalization: bool,
    padding: Padding = "same",
) -> Any:
    """A convolution, with a bias if no normalization follows, and `activated`."""
    x = convolution(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=not batch_normalization,
        name=f"{name}_convolution",
        dtype=None,
    )(x)
    return activated(x, name, activation, batch_normalization=batch_normalization)


def hidden_layer(
    x: Any,
    name: str,
    units: int,
    *,
    activation: Activation,
    batch_normalization: bool,
    dropout: float | None,
    dropout_mode: DropoutMode,
) -> Any:
    """A dense layer, with a bias if no normalization follows, `activated`, and dropout."""
    x = keras.layers.Dense(
        units,
        use_bias=not batch_normalization,
        kernel_initializer="he_normal",
        name=f"{name}_dense",
    )(x)
    x = activated(x, name, activation, batch_normalization=batch_normalization)
    return x if dropout is None else Dropout(dropout, dropout_mode, name=f"{name}_dropout")(x)


def pooled(
    x: Any,
    name: str,
    size: int,
    strides: int,
    *,
    pooling: Pooling = "max",
    padding: Padding = "same",
) -> Any:
    """A pool; "same" gives the sizes that strides would give, and takes images of any size."""
    kinds = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}
    return kinds[pooling](size, strides, padding=padding, data_format="channels_last", name=name)(x)


def classify(
    x: Any,
    num_classes: int,
    dropout: float | None = None,
    dropout_mode: DropoutMode = "upscale_in_train",
) -> Any:
    """Global average pool, dropout where wanted, and a dense layer of logits.

    All in float32 under every precision: a loss from half-precision logits is too coarse.
    """
    x = keras.layers.GlobalAveragePooling2D(
        data_format="channels_last", dtype="float32", name="pool"
    )(x)
    if dropout is not None:
        x = Dropout(dropout, dropout_mode, dtype="float32", name="dropout")(x)
    return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
