"""Runs a person's own `build(hp)` and says what came out (imported when a model is built)."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras.src import backend
from keras.src.utils.naming import reset_uids

from tuner.errors import InputError, Problem
from tuner.models.family import ImageShape
from tuner.models.own_compiled import Compiled
from tuner.models.uninitialized import build_uninitialized


@dataclass(frozen=True)
class Built:
    """A model with the hyperparameters that its making asked for.

    `space` are keras-tuner's hyperparameters, used or not; `used` the names of those in use.
    `rates` are the values of runtime rates in layer order, which do not shape the network.
    """

    model: Any
    space: tuple[Any, ...]
    used: frozenset[str]
    rates: tuple[float, ...]


def load_build(name: str) -> Callable[[Any], Any]:
    """The function of `package.module:build`; also the `build` of a keras_tuner.HyperModel.

    Raises:
        InputError: the module cannot be imported, or has no such function.
    """
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise InputError(_not_found(name, error)) from error
    if inspect.isclass(found) and hasattr(found, "build"):
        found = found()
    found = getattr(found, "build", found)
    if not callable(found):
        raise InputError(_not_found(name, TypeError(f"{attribute} is {type(found).__name__}")))
    return found  # type: ignore[no-any-return]


def source_of(build: Callable[[Any], Any]) -> tuple[str, str]:
    """Path and SHA-256 of the file that defines the function; empty where there is none."""
    try:
        path = inspect.getsourcefile(inspect.unwrap(build)) or ""
        with open(path, "rb") as file:
            return path, hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, TypeError):
        return "", ""


def run_build(
    build: Callable[[Any], Any], values: Mapping[str, Any], image_shape: ImageShape | None
) -> Built:
    """Call the function with these values; for others it takes its own defaults.

    Raises:
        InputError: it returns no Keras model of images.
        Exception: whatever `build` raises.
    """
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    reset_uids()  # so that automatic names say nothing of earlier models
    model = build(hp)
    _check_model(model)
    if not model.built and image_shape is not None:
        model.build((None, *image_shape))
    used = frozenset(h.name for h in hp.space if hp.is_active(h))
    return Built(model, tuple(hp.space), used, tuple(_take_rates(model)))


def run_uninitialized(
    build: Callable[[Any], Any], values: Mapping[str, Any], image_shape: ImageShape | None
) -> Built:
    """`run_build` without drawing weights."""
    found: list[Built] = []

    def made() -> Any:
        found.append(run_build(build, values, image_shape))
        return found[0].model

    build_uninitialized(made)
    return found[0]


def rates_by_place(rates: Sequence[float]) -> dict[str, float]:
    """The values of runtime rates under the names that `run_build` gave their layers."""
    return {f"rate{index}": rate for index, rate in enumerate(rates)}


def check_shapes(model: Any, image_shape: ImageShape, num_classes: int) -> None:
    """The model must take the images and tell the classes apart.

    Raises:
        InputError: it does not.
    """
    images = keras.KerasTensor((1, *image_shape))
    try:
        outputs = backend.compute_output_spec(lambda x: model(x, training=False), images)
    except Exception as error:  # whatever a layer says of a shape that it cannot take
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what, mend = "the model cannot take the images", f"keras.Input({tuple(image_shape)})"
        received = f"images of {_by(image_shape)}: {lines[0]}"
        raise InputError(Problem(what, "model.family", received, mend=mend)) from error
    given = tuple(getattr(outputs, "shape", ())[1:])
    if given != (num_classes,):
        received, expected = _by(given) or "none", f"{num_classes}, one a class"
        what = "the model has the wrong number of outputs"
        raise InputError(Problem(what, "model.family", received, expected))


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        received = type(model).__name__
        what = "build returned no model"
        raise InputError(Problem(what, "model.family", received, "a keras.Model", "return model"))
    if len(getattr(model, "inputs", None) or [0]) != 1:
        what = "the model has several inputs"
        raise InputError(Problem(what, "model.family", expected="one input, the images"))


def _take_rates(model: Any) -> Iterator[float]:
    """Name each runtime rate after its place and give its value, which then shapes nothing."""
    rated = [x for x in model._flatten_layers() if isinstance(_hyperparameter(x), str)]
    for index, layer in enumerate(rated):
        yield float(layer.initial_rate) * float(getattr(layer, "multiplier", 1.0))
        layer.hyperparameter, layer.initial_rate, layer.multiplier = f"rate{index}", 0.5, 1.0


def _hyperparameter(layer: Any) -> Any:
    return getattr(layer, "hyperparameter", None)


def gives_probabilities(model: Any, compiled: Compiled | None) -> bool:
    """Whether the outputs are probabilities: as the compiled loss takes them, or by a softmax."""
    if compiled is not None:
        return not compiled.from_logits
    if not getattr(model, "layers", None):
        return False
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax


def digest_of(model: Any) -> str | None:
    """Of all that shapes the network: one compiled program trains models of equal digest.

    None where a class of someone else's may hide a part of it: a subclassed model keeps its graph
    in Python, and a class defined inside a function can see more than its configuration tells.
    """
    layers = model._flatten_layers()
    if not hasattr(model, "operations") and not isinstance(model, keras.Sequential):
        return None
    if any("<locals>" in type(layer).__qualname__ for layer in layers):
        return None
    try:
        text = json.dumps(keras.saving.serialize_keras_object(model.get_config()), sort_keys=True)
    except Exception:  # whatever a layer of someone else's raises
        return None
    trainable = [(v.path, tuple(v.shape), v.trainable) for v in model.variables]
    return hashlib.sha256(f"{text}{trainable}".encode()).hexdigest()


def _by(shape: tuple[Any, ...]) -> str:
    return "x".join(str(size) for size in shape)


def _not_found(name: str, error: Exception) -> Problem:
    module, _, function = name.partition(":")
    return Problem(
        "no such function",
        where="model.family",
        received=name,
        expected=f"a module {module} that can be imported, with a function {function}(hp)",
        mend=f"{type(error).__name__}: {error}; is its folder in $PYTHONPATH?",
    )
