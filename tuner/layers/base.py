"""What all layers have in common: their configuration, and shapes as Keras passes them around."""

from __future__ import annotations

import inspect
from functools import cache
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
                config[name] = _as_config(getattr(self, attribute))
        return config


class KernelLayer(ConfiguredLayer):
    """A layer that has kernels, its own or those of its parts.

    Args:
        kernel_initializer: of every kernel, as Keras takes it. One with a seed gives kernels of
            equal shape equal weights, as in Keras' composite layers.
        kernel_regularizer: its penalty of every kernel is a part of `losses`.
        kernel_constraint: what every kernel is projected to after a step.
    """

    def __init__(
        self,
        kernel_initializer: Any = "he_normal",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def kernel_arguments(self) -> dict[str, Any]:
        """Those arguments for one kernel."""
        initializer = self.kernel_initializer
        if isinstance(initializer, keras.initializers.Initializer):
            # An initializer object draws the same numbers each time.
            initializer = initializer.clone()
        return {
            "kernel_initializer": initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "kernel_constraint": self.kernel_constraint,
        }


def convolved(shape: Shape, filters: int, strides: int = 1) -> Shape:
    """What a "same" convolution makes of `(batch, height, width, channels)`, sizes rounded up."""
    batch, *sizes, _ = shape
    return batch, *(None if size is None else -(-size // strides) for size in sizes), filters


@cache
def runs_on_tensorflow_cpu() -> bool:
    """Whether layers choose among TensorFlow's kernels for CPUs."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _as_config(value: Any) -> Any:
    if isinstance(value, list):
        return list(value)  # Keras wraps them
    if value is None or isinstance(value, bool | int | float | str | tuple | dict):
        return value
    return keras.saving.serialize_keras_object(value)
