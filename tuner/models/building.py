"""What families build their Keras models of, and how a model is built without drawing its weights.

Imported when a model is built, because it imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.optimizers.base_optimizer import BaseOptimizer
from numpy.typing import NDArray

from tuner.layers import Dropout
from tuner.layers.convolution import convolution, normalization
from tuner.models.family import Activation, Padding, Pooling


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
) -> Any:
    """A dense layer, with a bias if no normalization follows, `activated`, and dropout."""
    x = keras.layers.Dense(
        units,
        use_bias=not batch_normalization,
        kernel_initializer="he_normal",
        name=f"{name}_dense",
    )(x)
    x = activated(x, name, activation, batch_normalization=batch_normalization)
    return x if dropout is None else Dropout(dropout, name=f"{name}_dropout")(x)


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


def build_uninitialized(build: Callable[[], Any]) -> tuple[Any, dict[int, Any]]:
    """Build a model without drawing its weights; also give each variable's initializer by id.

    Drawing them eagerly would cost a kernel launch each, and under JAX a compilation each. Inside a
    stateless scope Keras keeps the initializers for later; we take them and leave zeros behind.
    A variable that `build` itself assigned (pretrained weights, say) has no initializer here and
    keeps its value.
    """
    with keras.StatelessScope() as scope:
        with _optimizers_outside():
            model = build()
        initializers, assigned = {}, []
        for variable in model.variables:
            initializer, value = variable._initializer, scope.get_current_value(variable)
            if value is not None:
                assigned.append((variable, value))
            elif initializer is not None and "seed_generator_state" not in variable.name:
                initializers[id(variable)] = initializer
                variable._initializer = _zeros
    for variable, value in assigned:
        variable.assign(value)
    return model, initializers


def _zeros(shape: tuple[int, ...], dtype: str | None = None) -> NDArray[Any]:
    return np.zeros(shape, dtype="float32" if dtype in (None, "bfloat16") else dtype)


@contextmanager
def _optimizers_outside() -> Iterator[None]:
    """Make optimizers as if there were no stateless scope, which Keras refuses inside of one.

    A `build` that compiles its model makes one.
    """
    original = BaseOptimizer.__init__

    def outside(optimizer: Any, *args: Any, **kwargs: Any) -> None:
        scope = global_state.get_global_attribute("stateless_scope")
        global_state.set_global_attribute("stateless_scope", None)
        try:
            original(optimizer, *args, **kwargs)
        finally:
            global_state.set_global_attribute("stateless_scope", scope)

    BaseOptimizer.__init__ = outside
    try:
        yield
    finally:
        BaseOptimizer.__init__ = original
