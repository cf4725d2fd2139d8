"""Runs a person's own `build(hp)` and says what came out: its shapes, its cost.

Imported when a model is built, because it imports Keras.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras.src import backend
from keras.src.utils.naming import reset_uids

from tuner.errors import InputError, Problem
from tuner.models.building import build_uninitialized
from tuner.models.family import Cost, ImageShape
from tuner.models.own_compile import CompileArguments

# Layers whose kernel meets every place of the output; the last axis or two are channels.
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D")


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
        build = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise InputError(_not_found(name, error)) from error
    if inspect.isclass(build) and hasattr(build, "build"):
        build = build()
    build = getattr(build, "build", build)
    if not callable(build):
        raise InputError(_not_found(name, TypeError(f"{attribute} is {type(build).__name__}")))
    return build  # type: ignore[no-any-return]


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
    runs: list[Built] = []

    def model() -> Any:
        runs.append(run_build(build, values, image_shape))
        return runs[0].model

    build_uninitialized(model)
    return runs[0]


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
    layers = model._flatten_layers()
    rated = [x for x in layers if isinstance(getattr(x, "hyperparameter", None), str)]
    for index, layer in enumerate(rated):
        yield float(layer.initial_rate) * float(getattr(layer, "multiplier", 1.0))
        layer.hyperparameter, layer.initial_rate, layer.multiplier = f"rate{index}", 0.5, 1.0


def gives_probabilities(model: Any, compiled: CompileArguments | None) -> bool:
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
    if not all(map(_is_told, (variable.constraint for variable in model.variables))):
        return None
    try:
        text = json.dumps(keras.saving.serialize_keras_object(model.get_config()), sort_keys=True)
    except Exception:  # whatever a layer of someone else's raises
        return None
    trainable = [(v.path, tuple(v.shape), v.trainable) for v in model.variables]
    return hashlib.sha256(f"{text}{trainable}".encode()).hexdigest()


def _is_told(constraint: Any) -> bool:
    """Whether the configuration of its layer says all of a constraint: of Keras' own it does."""
    return constraint is None or type(constraint).__module__.startswith("keras.")


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
