"""What a person's network does first to the pixels that it gets.

The images of an experiment arrive normalized unless `data.normalize` is false. A network that
rescales bytes itself, as many of keras.applications do, would then see almost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

RESCALING = {
    "Rescaling": "Rescaling",
    "Normalization": "Normalization",
    "Divide": "a division",
    "TrueDivide": "a division",
    "Multiply": "a multiplication",
    "Subtract": "a subtraction",
    "Add": "an addition",
}
"""Operations of Keras that are made for bytes, and what they are called.

Arithmetic is with a constant, as `preprocess_input` of keras.applications does it.
"""

NOT_ADAPTED = "Normalization that was not adapted"
"""It changes nothing."""

STANDARDIZING = "a layer that normalizes whatever comes"
UNKNOWN = "a layer that may do anything"

_STANDARDIZING = ("BatchNormalization", "GroupNormalization", "LayerNormalization")


def first_rescaling(model: Any) -> str:
    """What rescales the pixels before the first layer with weights; empty if nothing does."""
    for operation in _operations(model):
        name = type(operation).__name__
        if name == "Normalization" and not _is_adapted(operation):
            return NOT_ADAPTED
        if name in RESCALING and _num_inputs(operation) < 2:
            return RESCALING[name]
        if name in _STANDARDIZING:
            return STANDARDIZING
        if name == "Lambda":
            return UNKNOWN
        if getattr(operation, "weights", ()):
            return "" if _is_keras(operation) else UNKNOWN
    return ""


def _operations(model: Any) -> Iterator[Any]:
    """In the order of the graph, those of models inside the model in their place."""
    parts: Any = getattr(model, "operations", None) or model.layers
    for part in parts:
        if getattr(part, "layers", None):
            yield from _operations(part)
        else:
            yield part


def _num_inputs(operation: Any) -> int:
    nodes = operation._inbound_nodes
    return len(nodes[0].input_tensors) if nodes else 1


def _is_adapted(layer: Any) -> bool:
    if layer.input_mean is not None:
        return True
    mean = getattr(layer, "adapt_mean", None)
    return mean is not None and bool(mean.numpy().any())


def _is_keras(operation: Any) -> bool:
    return type(operation).__module__.split(".")[0] == "keras"
