"""What all layers have in common: their configuration, and shapes as Keras passes them around."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import keras

# (batch, height, width, channels); each an int, or None where it is not known before the call.
Shape = tuple[Any, ...]


class ConfiguredLayer(keras.layers.Layer):  # type: ignore[misc]
    """A layer whose arguments are its attributes, so that it is saved without code of its own."""

    # Attributes of arguments that are called otherwise, because their names stand for what is made.
    argument_attributes: ClassVar[dict[str, str]] = {
        "dropout": "initial_dropout",
        "stochastic_depth": "initial_stochastic_depth",
        "rate": "initial_rate",
        "shortcut": "shortcut_kind",
    }

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a rate is that at construction (the present one is a weight)."""
        config: dict[str, Any] = super().get_config()
        makers = [
            vars(kind)["__init__"]
            for kind in reversed(type(self).__mro__)
            if issubclass(kind, ConfiguredLayer) and "__init__" in vars(kind)
        ]
        for name in (name for maker in makers for name in inspect.signature(maker).parameters):
            attribute = self.argument_attributes.get(name, name)
            if hasattr(self, attribute):  # self and **kwargs are none
                value = getattr(self, attribute)
                config[name] = list(value) if isinstance(value, list) else value  # Keras wraps them
        return config


def convolved(shape: Shape, filters: int, strides: int = 1) -> Shape:
    """What a "same" convolution makes of `(batch, height, width, channels)`, sizes rounded up."""
    batch, *sizes, _ = shape
    return batch, *(None if size is None else -(-size // strides) for size in sizes), filters
