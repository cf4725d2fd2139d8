"""What a built Keras model costs, whatever its layers (imported when a model is built)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src import backend

from tuner.models.cost import Cost
from tuner.models.family import ImageShape

# Layers whose kernel meets every place of the output; the last axis or two are channels.
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D")


def cost_of_model(model: Any, image_shape: ImageShape) -> Cost:
    """Parameters, multiply-adds of convolutions and dense layers, and elements of all outputs.

    The model is called once with shapes alone, so that layers within layers are counted too.
    """
    macs = activations = 0

    def seen(layer: Any, shape: tuple[Any, ...]) -> None:
        nonlocal macs, activations
        activations += math.prod(shape[1:])
        macs += _macs(layer, shape)

    with _watched([x for x in model._flatten_layers() if not x._layers], seen):
        backend.compute_output_spec(lambda x: model.call(x), keras.KerasTensor((1, *image_shape)))
    parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
    return Cost(parameters, macs, activations)


@contextmanager
def _watched(layers: list[Any], seen: Callable[[Any, tuple[Any, ...]], None]) -> Iterator[None]:
    """Tell the shape of each output while the layers are called."""

    def watching(layer: Any) -> Callable[..., Any]:
        call = type(layer).call

        def watched(*args: Any, **kwargs: Any) -> Any:
            outputs = call(layer, *args, **kwargs)
            if hasattr(outputs, "shape"):
                seen(layer, tuple(outputs.shape))
            return outputs

        return watched

    for layer in layers:
        object.__setattr__(layer, "call", watching(layer))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def _macs(layer: Any, shape: tuple[Any, ...]) -> int:
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    places = shape[1:-1]  # a dense layer meets each of them, too
    if type(layer).__name__ in _CONVOLUTIONS and layer.data_format == "channels_first":
        places = shape[2:]
    return int(math.prod(kernel.shape) * math.prod(places))
