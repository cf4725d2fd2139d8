"""A Keras model seen as pure functions of flat arrays.

The model's variables are never assigned while it trains: a call maps each of them to a slice of the
state (`keras.StatelessScope`), which both backends differentiate and compile alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from tuner.models.own.undrawn import build_undrawn, initializer_of
from tuner.training.seeds import VariableSpec, draw_all

Tensor = Any


def _seed_generators(model: Any) -> list[Any]:
    """All seed generators of the model's layers, in layer order, each once."""
    generators: dict[int, Any] = {}
    for layer in model._flatten_layers():
        for generator in getattr(layer, "_seed_generators", []):
            generators.setdefault(id(generator), generator)
    return list(generators.values())


@dataclass(frozen=True)
class RuntimeRate:
    """A rate variable of a layer, set to a hyperparameter's value times a constant of the layer."""

    variable: Any
    hyperparameter: str
    multiplier: float


def _runtime_rates(model: Any) -> list[RuntimeRate]:
    return [
        RuntimeRate(layer.rate, layer.hyperparameter, float(getattr(layer, "multiplier", 1.0)))
        for layer in model._flatten_layers()
        if isinstance(getattr(layer, "hyperparameter", None), str)
    ]


def _spec(variable: Any) -> VariableSpec:
    initializer = initializer_of(variable) or keras.initializers.Constant(variable.numpy())
    return VariableSpec(tuple(variable.shape), str(variable.dtype), initializer)


def _is_kernel(variable: Any) -> bool:
    return "kernel" in variable.name


class Network:
    """The parts of a model that a program needs, and its forward pass as a pure function.

    `weights` is one float32 vector of all trainable variables, in the model's order; `moving` is a
    tuple of the other variables (moving averages); `keys` has one 31-bit key per seed generator.
    """

    def __init__(
        self, build: Callable[[], Any], augmentation: Any, *, probabilities: bool = False
    ) -> None:
        self.model = build_undrawn(build)
        self.augmentation = augmentation
        self.probabilities = probabilities
        self.augmentation_seeds = keras.random.SeedGenerator(0)
        self.generators = [self.augmentation_seeds, *_seed_generators(self.model)]
        self.rates = _runtime_rates(self.model)
        self.trainable = list(self.model.trainable_variables)
        self.moving = self._moving_variables()
        self._specs = [_spec(v) for v in (*self.trainable, *self.moving)]
        self.sizes = [math.prod(v.shape) for v in self.trainable]
        self.constraints = [getattr(v, "constraint", None) for v in self.trainable]

    def _moving_variables(self) -> list[Any]:
        special = {id(rate.variable) for rate in self.rates}
        special |= {id(generator.state) for generator in self.generators}
        return [v for v in self.model.non_trainable_variables if id(v) not in special]

    @property
    def rate_names(self) -> list[str]:
        """The hyperparameters that the model's layers read while they run."""
        return sorted({rate.hyperparameter for rate in self.rates})

    def initial(self, seed: int) -> tuple[NDArray[np.float32], tuple[NDArray[Any], ...]]:
        """Initial (weights, moving) of a trial with this seed."""
        values = draw_all(self._specs, seed)
        trainable = values[: len(self.trainable)]
        flat = np.concatenate([v.ravel() for v in trainable]).astype(np.float32)
        return flat, tuple(values[len(self.trainable) :])

    def kernels(self) -> NDArray[np.float32]:
        """1 for each weight of a convolution or dense kernel, 0 for biases, γ and β."""
        parts = [
            np.full(size, _is_kernel(variable), np.float32)
            for size, variable in zip(self.sizes, self.trainable, strict=True)
        ]
        return np.concatenate(parts)

    def kernel_names(self) -> tuple[tuple[str, int], ...]:
        """Layer and number of weights of every kernel, from the image to the logits."""
        return tuple(
            (variable.path.rpartition("/")[0] or variable.name, size)
            for size, variable in zip(self.sizes, self.trainable, strict=True)
            if _is_kernel(variable)
        )

    def kernel_norms(self, gradient: Tensor) -> Tensor:
        """L2 norm of each kernel's part of a vector like `weights`, in that order."""
        parts = zip(self.trainable, self._pieces(gradient), strict=True)
        squares = [ops.sum(ops.square(piece)) for variable, piece in parts if _is_kernel(variable)]
        return ops.sqrt(ops.stack(squares))

    def constrained(self, weights: Tensor) -> Tensor:
        """The weights as the constraints of their variables leave them, after an update."""
        if not any(self.constraints):
            return weights
        pieces = [
            piece if constraint is None else ops.reshape(constraint(piece), piece.shape)
            for constraint, piece in zip(self.constraints, self._pieces(weights), strict=True)
        ]
        return ops.concatenate([ops.reshape(piece, (-1,)) for piece in pieces])

    def _pieces(self, weights: Tensor) -> list[Tensor]:
        ends = np.cumsum(self.sizes)[:-1].tolist()
        pieces = ops.split(weights, ends) if ends else [weights]
        return [
            ops.reshape(piece, variable.shape)
            for piece, variable in zip(pieces, self.trainable, strict=True)
        ]

    def _mapping(
        self,
        weights: Tensor,
        moving: Sequence[Tensor],
        values: Mapping[str, Tensor],
        keys: Tensor | None,
        step: Tensor,
    ) -> list[tuple[Any, Tensor]]:
        mapping = list(zip(self.trainable, self._pieces(weights), strict=True))
        mapping += zip(self.moving, moving, strict=True)
        for rate in self.rates:
            mapping.append((rate.variable, values[rate.hyperparameter] * rate.multiplier))
        if keys is not None:
            for index, generator in enumerate(self.generators):
                # A draw adds 1 to the second number: steps are so far apart that none is met twice.
                apart = self.augmentation.num_draws(values) if index == 0 else 1
                state = ops.stack([keys[index], ops.cast(step, keys.dtype) * apart])
                mapping.append((generator.state, ops.cast(state, generator.state.dtype)))
        return mapping

    def train(
        self,
        weights: Tensor,
        moving: Sequence[Tensor],
        values: Mapping[str, Tensor],
        keys: Tensor,
        step: Tensor,
        images: Tensor,
        indices: Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Logits of an augmented training batch, the model's own losses, and moving averages.

        The networks of `tuner.models` have no losses of their own; a person's may have.
        """
        mapping = self._mapping(weights, moving, values, keys, step)
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            batch = self.augmentation.batch(images, indices, self.augmentation_seeds, values)
            outputs = self.model(batch, training=True)
            penalty = sum(self.model.losses, start=ops.zeros(()))
        updated = tuple(scope.get_current_value(variable) for variable in self.moving)
        return self._logits(outputs), penalty, updated

    def predict(
        self,
        weights: Tensor,
        moving: Sequence[Tensor],
        values: Mapping[str, Tensor],
        images: Tensor,
        indices: Tensor,
    ) -> Tensor:
        """Logits of a batch as at prediction (one mode of dropout needs its rate there, too)."""
        mapping = self._mapping(weights, moving, values, None, 0)
        with keras.StatelessScope(state_mapping=mapping):
            batch = self.augmentation.batch(
                images, indices, self.augmentation_seeds, training=False
            )
            outputs = self.model(batch, training=False)
        return self._logits(outputs)

    def _logits(self, outputs: Tensor) -> Tensor:
        outputs = ops.cast(outputs, "float32")
        if not self.probabilities:
            return outputs
        # log softmax(log p) is log p; cut off where Keras' cross-entropy cuts probabilities off.
        return ops.log(ops.clip(outputs, keras.config.epsilon(), 1.0))

    def assign(
        self,
        weights: NDArray[np.float32],
        moving: Sequence[NDArray[Any]],
        rates: Mapping[str, float],
    ) -> Any:
        """Put a trial's state and rates into the Keras model and return it (to save it, say).

        One mode of dropout scales by the rate at prediction, so that rates are a part of the model.
        """
        pieces = np.split(weights, np.cumsum(self.sizes)[:-1])
        for variable, piece in zip(self.trainable, pieces, strict=True):
            variable.assign(piece.reshape(variable.shape))
        for variable, value in zip(self.moving, moving, strict=True):
            variable.assign(value)
        for rate in self.rates:
            rate.variable.assign(rates[rate.hyperparameter] * rate.multiplier)
        return self.model
