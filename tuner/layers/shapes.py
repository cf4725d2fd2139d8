"""Shapes of images as Keras passes them around."""

from __future__ import annotations

from typing import Any

# (batch, height, width, channels); each an int, or None where it is not known before the call.
Shape = tuple[Any, ...]


def convolved(shape: Shape, filters: int, strides: int = 1) -> Shape:
    """What a "same" convolution makes of `(batch, height, width, channels)`, sizes rounded up."""
    batch, *sizes, _ = shape
    return batch, *(None if size is None else -(-size // strides) for size in sizes), filters
