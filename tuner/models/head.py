"""The first and the last layers that the families share (imported when a model is built)."""

from __future__ import annotations

from typing import Any

import keras

from tuner.layers.parts import convolution, normalization


def stem(inputs: Any, filters: int, activation: str = "relu") -> Any:
    """A 3×3 convolution, normalization and activation."""
    x = convolution(filters, 3, name="stem_convolution", dtype=None)(inputs)
    return normalize_and_activate(x, "stem", activation)


def normalize_and_activate(x: Any, name: str, activation: str = "relu") -> Any:
    """Batch normalization and activation, named after `name`."""
    x = normalization(name=f"{name}_normalization", dtype=None)(x)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def classify(x: Any, num_classes: int) -> Any:
    """Global average pool and a dense layer of logits.

    Both in float32 under every precision: a loss from half-precision logits is too coarse.
    """
    x = keras.layers.GlobalAveragePooling2D(
        data_format="channels_last", dtype="float32", name="pool"
    )(x)
    return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
