"""Shapes of images as Keras passes them around."""

from __future__ import annotations

from typing import Any

# (batch, height, width, channels); each an int, or None where it is not known before the call.
Shape = tuple[Any, ...]


def strided(size: int | None, strides: int) -> int | None:
    """Height or width after a "same" convolution."""
    return None if size is None else -(-size // strides)
