"""The first and the last layers that the families share (imported when a model is built)."""

from __future__ import annotations

from typing import Any

import keras

from tuner.layers.dropout import Dropout
from tuner.layers.parts import normalization


def normalize_and_activate(x: Any, name: str, activation: str = "relu") -> Any:
    """Batch normalization and activation, named after `name`."""
    x = normalization(name=f"{name}_normalization", dtype=None)(x)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def classify(x: Any, num_classes: int, dropout: float | None = None) -> Any:
    """Global average pool, dropout where wanted, and a dense layer of logits.

    All in float32 under every precision: a loss from half-precision logits is too coarse.
    """
    x = keras.layers.GlobalAveragePooling2D(
        data_format="channels_last", dtype="float32", name="pool"
    )(x)
    if dropout is not None:
        x = Dropout(dropout, dtype="float32", name="dropout")(x)
    return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
