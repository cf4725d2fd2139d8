"""Builds a Keras model without drawing its weights (imported when a model is built)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.optimizers.base_optimizer import BaseOptimizer
from numpy.typing import NDArray


def _zeros(shape: tuple[int, ...], dtype: str | None = None) -> NDArray[Any]:
    return np.zeros(shape, dtype="float32" if dtype in (None, "bfloat16") else dtype)


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
            elif initializer is not None and not is_seed_state(variable):
                initializers[id(variable)] = initializer
                variable._initializer = _zeros
    for variable, value in assigned:
        variable.assign(value)
    return model, initializers


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


def is_seed_state(variable: Any) -> bool:
    """Whether a variable is the state of a random generator."""
    return "seed_generator_state" in variable.name
