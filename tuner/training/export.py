"""A trained model as a `.keras` file that is read back before anybody relies on it.

On demand it is written in layers of Keras alone, which predict the same: our composite layers are
run once on symbolic tensors, so that what they call becomes a part of the graph; the few that hold
weights or rates themselves have an equal in Keras.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getattr_static
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.code.keras_globals import keras_defaults
from tuner.errors import TunerError, reason_of, telling_line
from tuner.layers import (
    BatchNormalization,
    Dropout,
    GroupedConvolution,
    SpatialDropout2D,
    StochasticDepth,
)
from tuner.layers.convolution import PointwiseConvolution

OWN_PACKAGE = "tuner.layers"
Tensor = Any
_TOLERANCE = 1e-5  # of the largest output, where that is above 1
_NUM_IMAGES = 8


@dataclass(frozen=True)
class ModelFile:
    """What was written: which modules must be imported to load it, and how well it agrees.

    `kept_because` says why layers of tuner were kept where others were wanted; `difference` is the
    largest one of any output on random images, between the checkpoint and the file.
    """

    needs: tuple[str, ...]
    difference: float
    kept_because: str
    parameters: int


def write_model(
    model: Any, path: Path, *, standard: bool, probabilities: bool, highest: float = 255.0
) -> ModelFile:
    """Write a model of pixels in 0..`highest`, in Keras' layers alone if `standard` and exact.

    The file is loaded again, and must predict what the model predicts on random images.

    Raises:
        TunerError: Keras cannot save the model, or not load it again.
    """
    with keras_defaults():
        return _write_model(model, path, standard, probabilities, highest)


def _write_model(
    model: Any, path: Path, standard: bool, probabilities: bool, highest: float
) -> ModelFile:
    if probabilities:
        softmax = keras.layers.Softmax(name="probabilities", dtype="float32")
        model = keras.Model(model.inputs[0], softmax(model.outputs[0]), name=model.name)
    if not standard or not foreign_modules(model):
        return _written(model, model, path, "", highest)
    try:
        return _written(in_standard_layers(model), model, path, "", highest)
    except Exception as error:  # whatever a layer of someone else's says to symbolic tensors
        reason = telling_line(error) or type(error).__name__
        return _written(model, model, path, reason, highest)


def in_shares(model: Any) -> Any:
    """The model, with outputs divided by their sum."""
    outputs = model.outputs[0]
    shares = outputs / keras.ops.sum(outputs, axis=-1, keepdims=True)
    return keras.Model(model.inputs[0], shares, name=model.name)


def _written(form: Any, model: Any, path: Path, kept_because: str, highest: float) -> ModelFile:
    """Write `form`, and compare what can be loaded with `model`."""
    try:
        form.save(path)
        loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what comes
        raise TunerError(
            f"Keras cannot save this network and load it again: {reason_of(error)}\n"
            "    fix:      @keras.saving.register_keras_serializable() and get_config "
            "for layers of your own; no Lambda"
        ) from error
    images = _random_images(model, highest)
    expected, given = _outputs(model, images), _outputs(loaded, images)
    difference = float(np.max(np.abs(expected - given)))
    largest = max(1.0, float(np.max(np.abs(expected))))
    if not difference <= _TOLERANCE * largest:
        raise TunerError(
            f"the file's outputs differ by {difference:.2g} from those of the checkpoint"
        )
    needs = tuple(foreign_modules(form))
    return ModelFile(needs, difference, kept_because, model.count_params())


def _random_images(model: Any, highest: float) -> NDArray[np.float32]:
    shape = (_NUM_IMAGES, *model.input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    return images * np.float32(highest / 255)


def _outputs(model: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    if keras.backend.backend() == "jax":  # which compiles every operation that is called alone
        return np.asarray(model.predict_on_batch(images), np.float32)
    outputs = keras.ops.convert_to_numpy(model(images, training=False))
    return np.asarray(outputs, np.float32)


def in_standard_layers(model: Any) -> Any:
    """A functional model without layers of `tuner.layers`.

    What only training would use and Keras has no equal for (stochastic depth) is left out. Models
    inside the model are taken apart; layers of someone else's stay as they are.
    """
    inputs = keras.Input(model.input_shape[1:], name=model.inputs[0].name)
    return keras.Model(inputs, _Expansion().graph(model, inputs), name=model.name)


def foreign_modules(model: Any) -> list[str]:
    """The modules that must be imported before plain Keras can load the model."""
    parts = [*model._flatten_layers(), *getattr(model, "operations", ())]
    modules = {type(part).__module__ for part in parts}
    foreign = {name for name in modules if name.split(".")[0] != "keras"}
    return sorted({OWN_PACKAGE if _is_ours(name) else name for name in foreign})


def _is_ours(module: str) -> bool:
    return module == OWN_PACKAGE or module.startswith(f"{OWN_PACKAGE}.")


class _Expansion:
    """One model on its way; a layer that is met twice becomes one layer that is called twice."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._names: set[str] = set()

    def graph(self, model: Any, inputs: Tensor) -> Tensor:
        """What the layers of a functional or sequential model make of the inputs."""
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                inputs = self.call(layer, layer.name, inputs)
            return inputs
        return model._run_through_graph(
            inputs, call_fn=lambda layer, *tensors, **named: self.call(layer, "", *tensors, **named)
        )

    def call(self, layer: Any, place: str, *tensors: Any, **named: Any) -> Tensor:
        """What a layer makes of symbolic tensors; `place` is its name in the whole model."""
        place = place or layer.name
        if not isinstance(layer, keras.Layer):
            return layer(*tensors, **named)  # an operation of keras.ops
        if isinstance(layer, keras.Sequential) or hasattr(layer, "_run_through_graph"):
            return self.graph(layer, *tensors)
        if type(layer) in _EQUALS:
            named.pop("training", None)
            return self._equal(layer, place)(*tensors, **named)
        if _is_ours(type(layer).__module__):
            return type(layer).call(_Inlined(layer, place, self), *tensors, training=False)
        return self._equal(layer, place)(*tensors, **named)

    def _equal(self, layer: Any, place: str) -> Callable[..., Tensor]:
        if id(layer) not in self._made:
            make = _EQUALS.get(type(layer), _copy)
            self._made[id(layer)] = make(layer, self._unused(place))
        return self._made[id(layer)]  # type: ignore[no-any-return]

    def _unused(self, name: str) -> str:
        unused, count = name, 1
        while unused in self._names:
            count += 1
            unused = f"{name}_{count}"
        self._names.add(unused)
        return unused


class _Inlined:
    """A composite layer's `self` while its `call` runs: the layers that it calls are expanded."""

    def __init__(self, layer: Any, place: str, expansion: _Expansion) -> None:
        self._layer = layer
        self._place = place
        self._expansion = expansion

    def __call__(
        self, inputs: Tensor, training: bool | None = None, statistics: None = None
    ) -> Tensor:
        # Statistics of a batch there are in training alone.
        return self._expansion.call(self._layer, self._place, inputs)

    def __getattr__(self, name: str) -> Any:
        declared = getattr_static(type(self._layer), name, None)
        if isinstance(declared, types.FunctionType):
            return types.MethodType(declared, self)
        return self._inlined(getattr(self._layer, name))

    def _inlined(self, value: Any) -> Any:
        if isinstance(value, keras.Layer):
            return _Inlined(value, f"{self._place}_{value.name}", self._expansion)
        if isinstance(value, list | tuple):
            return [self._inlined(item) for item in value]
        return value


def _copy(layer: Any, name: str) -> Any:
    """The layer itself where it is someone else's: who knows how to copy that?"""
    if type(layer).__module__.split(".")[0] != "keras":
        return layer
    return _with_weights(type(layer).from_config(layer.get_config() | {"name": name}), layer)


def _batch_normalization(layer: Any, name: str) -> Any:
    if len(layer.axes) > 1:
        raise ValueError(
            f"keras.layers.BatchNormalization takes one axis, {layer.name} has several"
        )
    config = layer.get_config() | {"name": name}
    equal = keras.layers.BatchNormalization.from_config(config)
    return _with_weights(equal, layer)


def _pointwise_convolution(layer: Any, name: str) -> Any:
    equal = keras.layers.Conv2D.from_config(layer.get_config() | {"name": name})
    return _with_weights(equal, layer)


def _grouped_convolution(layer: Any, name: str) -> Any:
    equal = keras.layers.Conv2D(
        layer.filters,
        layer.kernel_size,
        strides=layer.strides,
        padding="same",
        data_format="channels_last",
        groups=layer.groups,
        use_bias=False,
        name=name,
        dtype=layer.dtype_policy,
        **layer.kernel_arguments(),
    )
    return _with_weights(equal, layer)


def _dropout(layer: Any, name: str) -> Any:
    rate = float(keras.ops.convert_to_numpy(layer.rate))
    if layer.mode == "downscale_in_infer":
        return keras.layers.Rescaling(1.0 - rate, name=name, dtype=layer.dtype_policy)
    if isinstance(layer, SpatialDropout2D):
        return keras.layers.SpatialDropout2D(rate, layer.data_format, name=name)
    if isinstance(layer, StochasticDepth):
        return _nothing(layer, name)
    return keras.layers.Dropout(rate, layer.noise_shape, name=name, dtype=layer.dtype_policy)


def _nothing(layer: Any, name: str) -> Any:
    return lambda inputs: inputs


def _with_weights(equal: Any, layer: Any) -> Callable[..., Tensor]:
    """Calls `equal`, which has the weights of `layer` from its first call on."""
    weights = layer.get_weights()

    def call(*tensors: Any, **named: Any) -> Tensor:
        is_new = not equal.built
        outputs = equal(*tensors, **named)
        if is_new:
            equal.set_weights(weights)
        return outputs

    return call


_EQUALS: dict[type, Callable[[Any, str], Any]] = {
    BatchNormalization: _batch_normalization,
    PointwiseConvolution: _pointwise_convolution,
    GroupedConvolution: _grouped_convolution,
    Dropout: _dropout,
    SpatialDropout2D: _dropout,
    StochasticDepth: _dropout,
    keras.layers.Identity: _nothing,  # Keras cannot save one that was given a dtype policy
}
