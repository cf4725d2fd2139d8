"""A Keras model that is built without drawing its weights: each keeps its initializer for later.

Drawing them would cost a kernel launch each, and under JAX a compilation each, for every trial that
is only looked at; and a trial draws its own, from its seed. `build` itself runs as it would
anywhere: it may read weights, load them from a file, train, or clear Keras' session.

Imported when a model is built, because it imports Keras.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.backend.common.variables import Variable as AnyVariable
from numpy.typing import NDArray

_INITIALIZER = "_undrawn_initializer"  # attribute of a Keras variable
SEED_STATE = "seed_generator_state"  # Keras' name of the variable in a seed generator


def build_undrawn(build: Callable[[], Any], seed: int = 0) -> Any:
    """The model, whose weights hold zeros and know their initializers (`initializer_of`).

    What `build` draws by itself comes from `seed`, the same every time.
    """
    with undrawn(seed):
        return build()


def initializer_of(variable: Any) -> Any:
    """The initializer of a variable that was built undrawn.

    None where `build` set the value itself (pretrained weights, an array): that is to be kept.
    """
    return getattr(variable, _INITIALIZER, None)


def called(initializer: Any, shape: tuple[int, ...], dtype: str, seed: int) -> NDArray[Any]:
    """What an initializer gives under a seed, whatever it draws with."""
    if hasattr(initializer, "get_config") and "seed" in (config := initializer.get_config()):
        initializer = type(initializer).from_config({**config, "seed": seed})
    with seeded(seed):
        return np.asarray(initializer(shape, dtype=dtype))


def draw_weights(model: Any, seed: int) -> None:
    """Give every undrawn variable a value of its initializer, to see what the network does.

    They count as undrawn still: a trial draws its own.
    """
    for variable in model.variables:
        if (initializer := initializer_of(variable)) is not None:
            value = called(initializer, tuple(variable.shape), variable._dtype, seed)
            variable.assign(value)
            setattr(variable, _INITIALIZER, initializer)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, numpy's and Keras' global generators begin at a seed; later they go on as before.

    Not `keras.utils.set_random_seed`, which would import TensorFlow under JAX.
    """
    before, numpys, states = random.getstate(), np.random.get_state(), {}
    for name, value in {"global_seed_generator": None, "global_random_seed": seed}.items():
        states[name] = global_state.get_global_attribute(name)
        global_state.set_global_attribute(name, value)
    random.seed(seed)
    np.random.seed(seed)
    try:
        with _tensorflow_seeded(seed):
            yield
    finally:
        random.setstate(before)
        np.random.set_state(numpys)
        for name, value in states.items():
            global_state.set_global_attribute(name, value)


@contextmanager
def _tensorflow_seeded(seed: int) -> Iterator[None]:
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from tensorflow.python.eager import context

    before = context.global_seed()
    context.set_global_seed(seed)
    try:
        yield
    finally:
        context.set_global_seed(before)


@contextmanager
def undrawn(seed: int = 0) -> Iterator[None]:
    """Variables that are made inside hold zeros until somebody reads or assigns them.

    A value that is read is one of its initializer, so that what is computed of it makes sense.
    Keras' own stateless scope would do much of this, but a `clear_session()` ends it, and inside of
    it optimizers and variables made of arrays are refused.
    """
    backend_variable = next(x for x in keras.Variable.__mro__ if "_direct_assign" in vars(x))
    assign = backend_variable._direct_assign
    changes: list[tuple[Any, str, Any]] = [
        (AnyVariable, "__init__", _initialized(AnyVariable.__init__)),
        (AnyVariable, "value", _read(AnyVariable.value, assign)),
        (backend_variable, "_direct_assign", _assigned(assign)),
        # Of all that clear_session() takes away, the precision must stay.
        (global_state, "threading", _Threads({"dtype_policy": keras.config.dtype_policy()})),
    ]
    with ExitStack() as stack:
        stack.enter_context(seeded(seed))
        for owner, name, value in changes:
            stack.enter_context(replaced(owner, name, value))
        yield


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute for a while."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _initialized(original: Callable[..., None]) -> Callable[..., None]:
    """A constructor that leaves zeros and keeps the initializer."""

    def construct(variable: Any, initializer: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(initializer, str):
            initializer = keras.initializers.get(initializer)
        if not callable(initializer) or kwargs.get("name") == SEED_STATE:
            original(variable, initializer, *args, **kwargs)
            return
        original(variable, _zeros, *args, **kwargs)
        setattr(variable, _INITIALIZER, initializer)

    return construct


def _zeros(shape: tuple[int, ...], dtype: str | None = None) -> Any:
    if in_stateless_scope():  # a placeholder while shapes are worked out: no constant in a graph
        return keras.ops.zeros(shape, dtype)
    return np.zeros(shape, dtype="float32" if dtype in (None, "bfloat16") else dtype)


def _read(original: property, assign: Callable[[Any, Any], None]) -> property:
    """`Variable.value`: drawn when it is first read, though not to work out shapes."""

    def value(variable: Any) -> Any:
        is_first = initializer_of(variable) is not None and not hasattr(variable, "_was_read")
        if is_first and not in_stateless_scope() and variable._value is not None:
            variable._was_read = True
            with _outside_of_graphs():
                drawn = initializer_of(variable)(tuple(variable.shape), dtype=variable._dtype)
                assign(variable, keras.ops.convert_to_tensor(drawn, dtype=variable._dtype))
        return original.__get__(variable)

    return property(value)


def _outside_of_graphs() -> Any:
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    return tf.init_scope()


def _assigned(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """`Variable._direct_assign`: what somebody has set is not drawn."""

    def assign(variable: Any, value: Any) -> None:
        is_first = getattr(variable, "_value", None) is None  # which JAX gives in this way, too
        if not is_first:
            setattr(variable, _INITIALIZER, None)
        original(variable, value)

    return assign


class _Threads:
    """What `clear_session()` uses of `threading`: new state, though not all of it empty."""

    def __init__(self, kept: dict[str, Any]) -> None:
        self.kept = kept

    def local(self) -> threading.local:
        state = threading.local()
        vars(state).update(self.kept)
        return state
