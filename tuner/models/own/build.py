"""Runs a person's own `build(hp)` and says what came out: its shapes, its cost.

Imported when a model is built, because it imports Keras.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import keras
from keras.src import backend
from keras.src.utils.naming import reset_uids, to_snake_case

from tuner.code.files import CodeFile
from tuner.code.keras_globals import kept_globals
from tuner.code.loading import load_function, raised
from tuner.code.process import prints_aside
from tuner.errors import InputError, Problem
from tuner.models.family import Cost, ImageShape
from tuner.models.own.checks import check_model, is_own, outputs_on_shapes
from tuner.models.own.undrawn import SEED_STATE, initializer_of, undrawn

# Layers whose kernel meets every place of the output; the last axis or two are channels.
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D",
                 "SeparableConv1D", "SeparableConv2D")  # fmt: skip
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_ELEMENTWISE = ("Embedding", "LayerNormalization", "PReLU")


@dataclass(frozen=True)
class Built:
    """A model with the hyperparameters that its making asked for.

    `space` are keras-tuner's hyperparameters, used or not; `used` the names of those in use.
    `rates` are the values of runtime rates in layer order, which do not shape the network.
    `outputs` has the shape of what comes out, None where the images were not known. `precision` is
    the one that the person's code set.
    """

    model: Any
    space: tuple[Any, ...]
    used: frozenset[str]
    rates: tuple[float, ...]
    outputs: Any = None
    precision: str = ""


@undrawn()  # layers that a module makes when it is imported are drawn by each trial, too
def load_build(name: str) -> Callable[[Any], Any]:
    """The function of `package.module:build`; also the `build` of a keras_tuner.HyperModel.

    Raises:
        InputError: the module cannot be imported, or has no such function.
    """
    with kept_globals():
        build = load_function(name, where="model.family", call="build(hp)")
    is_class = inspect.isclass(build)
    if issubclass(build if is_class else type(build), keras.Model):
        mend = "def build(hp): return the model"
        raise InputError(Problem("this is a model", "model.family", name, "a function", mend))
    if is_class and hasattr(build, "build"):
        build = _made(name, build)
    return getattr(build, "build", build)  # type: ignore[no-any-return]


def _made(name: str, hyper_model: Callable[[], Any]) -> Any:
    try:
        return hyper_model()
    except Exception as error:  # whatever its __init__ says
        mend = f"an instance of it in the module, or a function: {name.partition(':')[0]}:build"
        what = "the class cannot be called without arguments"
        raise InputError(Problem(what, "model.family", raised(error), mend=mend)) from error


def defining_module(build: Callable[[Any], Any]) -> str:
    """The module of the file that defines the function, installed or not."""
    module = inspect.getmodule(inspect.unwrap(build))
    return module.__name__ if module else ""


def import_as_known(code: Mapping[str, Sequence[CodeFile]]) -> None:
    """Import functions with all that they ever import, as a run knows them from its beginning.

    A worker may start hours after that. Whatever is edited later is not read.

    Raises:
        InputError: a file is another than when the run began; or the same one cannot be imported
            here, where something is missing that it needs.
    """
    missing: list[InputError] = []
    for name, files in code.items():
        try:
            load_build(name)
        except InputError as error:
            missing.append(error)
        for file in files:
            with suppress(Exception, SystemExit), prints_aside():
                importlib.import_module(file.module)
    for name, files in code.items():
        for file in (file for file in files if not file.is_current):
            what = f"the code of {name} has changed since the run began"
            mend = "run it again: that goes on with the code as it is now"
            raise InputError(Problem(what, "model.family", file.path, mend=mend))
    if missing:
        raise missing[0]


def run_build(
    build: Callable[[Any], Any], values: Mapping[str, Any], image_shape: ImageShape | None
) -> Built:
    """Call the function with these values; for others it takes its own defaults.

    Raises:
        InputError: it returns no Keras model of images, or one that would not be trained as it is.
        Exception: whatever `build` raises.
    """
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    reset_uids()  # so that automatic names say nothing of earlier models
    with kept_globals() as changes:
        model = build(hp)
        precision = keras.config.dtype_policy().name
    _check_globals(changes)
    check_model(model)
    # Of `class _Net`, say: TensorFlow takes no such name for the outermost scope of a graph.
    model.name = model.name.lstrip("_") or "model"
    outputs = None if image_shape is None else _outputs_once(model, image_shape)
    used = frozenset(h.name for h in hp.space if hp.is_active(h))
    return Built(model, tuple(hp.space), used, tuple(_take_rates(model)), outputs, precision)


_OUTPUTS: dict[Any, Any] = {}  # by structure: calling a large network takes long


def _outputs_once(model: Any, image_shape: ImageShape) -> Any:
    """`outputs_on_shapes`, again only where a network may be another one than was looked at."""
    digest = digest_of(model) if model.built else None
    if digest is None:
        return outputs_on_shapes(model, image_shape)
    structure = (digest, tuple(image_shape), keras.config.dtype_policy().name)
    if structure not in _OUTPUTS:
        _OUTPUTS[structure] = outputs_on_shapes(model, image_shape)
    return _OUTPUTS[structure]


def run_undrawn(
    build: Callable[[Any], Any],
    values: Mapping[str, Any],
    image_shape: ImageShape | None,
    seed: int = 0,
) -> Built:
    """`run_build` without drawing weights; what it draws itself comes from `seed`."""
    policy = keras.config.dtype_policy()
    try:
        with undrawn(seed):
            return run_build(build, values, image_shape)
    finally:
        keras.config.set_dtype_policy(policy)


def rates_by_place(rates: Sequence[float]) -> dict[str, float]:
    """The values of runtime rates under the names that `run_build` gave their layers."""
    return {f"rate{index}": rate for index, rate in enumerate(rates)}


def _check_globals(changes: Mapping[str, str]) -> None:
    """What holds for a whole process would be in force for some trials, and not for others."""
    for name, value in changes.items():
        if name == "dtype_policy":  # the network's own precision, compared with the experiment's
            continue
        what = f"build sets Keras' {name}"
        mend = "leave it out; keras.backend.clear_session() resets it, too"
        raise InputError(Problem(what, "model.family", value, mend=mend))


def _take_rates(model: Any) -> Iterator[float]:
    """Name each runtime rate after its place and give its value, which then shapes nothing."""
    for index, layer in enumerate(_rated_layers(model)):
        rate = float(layer.initial_rate) * float(getattr(layer, "multiplier", 1.0))
        # One that lies in the person's module has lost its own when it was first used.
        layer.rate_as_built = getattr(layer, "rate_as_built", rate)
        yield layer.rate_as_built
        layer.hyperparameter, layer.initial_rate, layer.multiplier = f"rate{index}", 0.5, 1.0


def _rated_layers(model: Any) -> list[Any]:
    layers = model._flatten_layers()
    return [layer for layer in layers if isinstance(getattr(layer, "hyperparameter", None), str)]


def digest_of(model: Any) -> str | None:
    """Of all that shapes the network: one compiled program trains models of equal digest.

    None where a class of someone else's may hide a part of it: a subclassed model keeps its graph
    in Python, and a class defined inside a function can see more than its configuration tells.
    """
    is_graph = hasattr(model, "operations") or isinstance(model, keras.Sequential)
    if not is_graph or is_own(model, "call"):
        return None
    if any(map(_hides_values, model._flatten_layers())):
        return None
    if not all(map(_is_told, (variable.constraint for variable in model.variables))):
        return None
    names = _plain_names(model)
    try:
        config = keras.saving.serialize_keras_object(model.get_config())
        text = json.dumps(_renamed(config, names), sort_keys=True)
    except Exception:  # whatever a layer of someone else's raises
        return None
    initializers = {v.path: x for v in _lasting(model) if (x := initializer_of(v)) is not None}
    if any(getattr(initializer, "__closure__", None) for initializer in initializers.values()):
        return None
    variables = [
        ("/".join(names.get(part, part) for part in v.path.split("/")), tuple(v.shape), v.trainable)
        for v in model.variables
    ]
    beginnings = [*map(_told, initializers.values()), *set_values(model).values()]
    return hashlib.sha256(f"{text}{variables}{beginnings}".encode()).hexdigest()


def _hides_values(layer: Any) -> bool:
    """Whether a class or function made inside a function may know more than the configuration."""
    parts = (type(layer), *vars(layer).values())
    functions = (part for part in parts if inspect.isfunction(part) or inspect.isclass(part))
    regularizers = (type(part) for part in parts if isinstance(part, keras.Regularizer))
    return any("<locals>" in part.__qualname__ for part in (*functions, *regularizers))


def _plain_names(model: Any) -> dict[str, str]:
    """Names that Keras gave itself, by their order in the network alone.

    Its counters know every layer that was ever made: also one that lies in the person's module and
    was built when it was used for the first time.
    """
    automatic = (
        layer.name
        for layer in model._flatten_layers()
        if re.fullmatch(rf"{to_snake_case(type(layer).__name__)}(_\d+)?", layer.name)
    )
    return {name: f"#{place}" for place, name in enumerate(dict.fromkeys(automatic))}


def _renamed(config: Any, names: Mapping[str, str]) -> Any:
    if isinstance(config, Mapping):
        return {key: _renamed(value, names) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def set_values(model: Any) -> dict[str, str]:
    """SHA-256 of each value that `build` set itself, by the variable's path."""
    kept = [v for v in _lasting(model) if initializer_of(v) is None]
    return {v.path: hashlib.sha256(v.numpy().tobytes()).hexdigest() for v in kept}


def _lasting(model: Any) -> list[Any]:
    """Variables of the network, without those that each step sets anew."""
    rates = {id(getattr(layer, "rate", None)) for layer in _rated_layers(model)}
    return [v for v in model.variables if v.name != SEED_STATE and id(v) not in rates]


def _told(initializer: Any) -> str:
    """All that makes an initializer what it is, but for a seed of its own, which is not used."""
    is_keras = type(initializer).__module__.startswith("keras.")
    values = {} if is_keras else getattr(initializer, "__dict__", {})
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    return str({name: v for name, v in {**values, **config}.items() if name != "seed"})


def _is_told(constraint: Any) -> bool:
    """Whether the configuration of its layer says all of a constraint: of Keras' own it does."""
    return constraint is None or type(constraint).__module__.startswith("keras.")


def cost_of_model(model: Any, image_shape: ImageShape) -> Cost:
    """Parameters, multiply-adds of convolutions and dense layers, and elements of all outputs.

    The model is called once with shapes alone, so that layers within layers are counted too.
    """
    macs = activations = 0
    uncounted: dict[str, None] = {}

    def seen(layer: Any, shape: tuple[Any, ...]) -> None:
        nonlocal macs, activations
        activations += math.prod(shape[1:])
        macs += _macs(layer, shape)
        if _has_other_weights(layer):
            uncounted[f"{layer.name} ({type(layer).__name__})"] = None

    with _watched([x for x in model._flatten_layers() if not x._layers], seen):
        backend.compute_output_spec(lambda x: model.call(x), keras.KerasTensor((1, *image_shape)))
    parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
    return Cost(parameters, macs, activations, tuple(uncounted))


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
    places = shape[1:-1]  # a dense layer meets each of them, too
    if type(layer).__name__ in _CONVOLUTIONS and layer.data_format == "channels_first":
        places = shape[2:]
    weights = sum(math.prod(kernel.shape) for kernel in _kernels(layer))
    return int(weights * math.prod(places))


def _kernels(layer: Any) -> list[Any]:
    found = (getattr(layer, name, None) for name in _KERNELS)
    return [kernel for kernel in found if kernel is not None]


def _has_other_weights(layer: Any) -> bool:
    """Matrices that are no kernel: what is multiplied by them is the layer's own business."""
    known = {id(kernel) for kernel in _kernels(layer)}
    own = [v for v in layer.trainable_variables if len(v.shape) > 1 and id(v) not in known]
    return bool(own) and type(layer).__name__ not in _ELEMENTWISE
