"""One training step and one evaluation step as pure functions, the same on every backend.

A backend adds two things: how a gradient is taken, and how steps are looped and compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from tuner.errors import TunerError
from tuner.training.network import Network
from tuner.training.optimizers import OPTIMIZERS

Tensor = Any
Arrays = dict[str, NDArray[Any]]
# weights → (loss, aux)
LossFunction = Callable[[Tensor], tuple[Tensor, Any]]
# (loss function, weights) → ((loss, aux), gradient)
ValueAndGradient = Callable[[LossFunction, Tensor], tuple[Any, Tensor]]

# Loss scaling of mixed_float16 (Micikevicius et al. 2018, section 3.2), with the usual constants.
FIRST_LOSS_SCALE = 2.0**15
LOSS_SCALE_PATIENCE = 2000.0

_TUPLES = ("moving", "slots")  # fields of State


class State(NamedTuple):
    """All that changes while a trial trains; a handful of arrays whatever the network."""

    weights: Tensor  # float32 (parameters,)
    moving: tuple[Tensor, ...]  # moving averages, as the model has them
    slots: tuple[Tensor, ...]  # of the optimizer, each like weights
    step: Tensor  # float32 scalar: updates so far
    loss_scale: Tensor  # float32 (2,): scale and steps since it last changed; mixed_float16 only


def to_arrays(state: State) -> Arrays:
    """Copies: the device may use the state's memory again for the next step."""
    arrays: Arrays = {}
    for name, value in state._asdict().items():
        if name in _TUPLES:
            arrays |= {f"{name}.{n}": np.array(part) for n, part in enumerate(value)}
        else:
            arrays[name] = np.array(value)
    return arrays


def from_arrays(arrays: Mapping[str, NDArray[Any]], like: State) -> State:
    """The state in host arrays; `like` is one of the same program.

    Raises:
        TunerError: the arrays are those of another network or optimizer.
    """
    expected = to_arrays(like)
    given = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    wanted = {name: (array.shape, array.dtype) for name, array in expected.items()}
    if given != wanted:
        raise TunerError("the checkpoint is of another network or optimizer")
    fields: dict[str, Any] = {
        name: tuple(arrays[f"{name}.{n}"] for n in range(len(value)))
        if name in _TUPLES
        else arrays[name]
        for name, value in like._asdict().items()
    }
    return State(**fields)


class Totals(NamedTuple):
    """Sums over the images of an epoch, float32 scalars."""

    loss: Tensor
    correct: Tensor
    correct_5: Tensor
    images: Tensor


class Fixed(NamedTuple):
    """What lies on the device for all trials of a program; an argument, never a constant."""

    images: Tensor  # uint8 (n, height, width, channels)
    labels: Tensor  # int32 (n,)
    decayed: Tensor  # float32 (parameters,): 1 for a weight of a kernel, 0 for all others


class EpochPlan(NamedTuple):
    """What the host decides of an epoch before it runs."""

    order: Tensor  # int32 (images,): each step takes the next of them, the last what is left
    rates: Tensor  # float32 (steps,): learning rates
    keys: Tensor  # int32 (generators,): keys of the random layers and of augmentation


def cross_entropy(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """−log p of the label, per image."""
    picked = ops.take_along_axis(log_probabilities, ops.expand_dims(labels, -1), axis=-1)
    return -ops.squeeze(picked, -1)


def smoothed(log_probabilities: Tensor, losses: Tensor, smoothing: Tensor) -> Tensor:
    """Cross-entropy against (1 − s)·onehot + s/K (Szegedy et al. 2016, section 7)."""
    uniform = -ops.mean(log_probabilities, axis=-1)
    return (1 - smoothing) * losses + smoothing * uniform


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the label, per image; 0 means the prediction is right.

    Equal logits go to the lower class, and NaN comes before everything, so that neither a
    collapsed nor a diverged network counts as right.
    """
    own = ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1)
    classes = ops.arange(logits.shape[-1], dtype="int32")
    earlier = ops.expand_dims(classes, 0) < ops.expand_dims(labels, -1)
    after = ops.logical_or(logits < own, ops.logical_and(logits == own, ~earlier))
    return ops.sum(ops.cast(~after, "float32"), axis=-1)


def totals_of(logits: Tensor, labels: Tensor, losses: Tensor, counted: Tensor) -> Totals:
    """Sums over the images where `counted` is 1."""
    rank = ranks(logits, labels)
    return Totals(
        loss=ops.sum(ops.where(counted > 0, losses, 0.0)),
        correct=ops.sum(counted * ops.cast(rank < 1, "float32")),
        correct_5=ops.sum(counted * ops.cast(rank < 5, "float32")),
        images=ops.sum(counted),
    )


def _added(totals: Totals, more: Totals) -> Totals:
    return Totals(*(a + b for a, b in zip(totals, more, strict=True)))


class Steps:
    """The step functions of one structure: a network, an optimizer, its images on the device."""

    def __init__(
        self,
        network: Network,
        optimizer: str,
        value_and_gradient: ValueAndGradient,
        *,
        scale_loss: bool,
    ) -> None:
        self.network = network
        self.optimizer = OPTIMIZERS[optimizer]
        self.value_and_gradient = value_and_gradient
        self.scale_loss = scale_loss

    def train(
        self,
        state: State,
        totals: Totals,
        values: Mapping[str, Tensor],
        batch: tuple[Tensor, Tensor, Tensor],
        fixed: Fixed,
    ) -> tuple[State, Totals]:
        """One update. `batch` is (indices (batch,), learning rate, keys of the generators)."""
        indices, rate, keys = batch
        truth = ops.take(fixed.labels, indices, axis=0)
        scale = state.loss_scale[0] if self.scale_loss else 1.0

        def objective(weights: Tensor) -> tuple[Tensor, Any]:
            logits, penalty, moving = self.network.train(
                weights, state.moving, values, keys, state.step, fixed.images, indices
            )
            loss, losses = _mean_loss(logits, truth, values)
            return (loss + penalty) * scale, (moving, logits, losses)

        (_, (moving, logits, losses)), gradient = self.value_and_gradient(objective, state.weights)
        seen = totals_of(logits, truth, losses, ops.ones_like(losses))

        def updated(gradient: Tensor) -> State:
            return self._updated(state._replace(moving=moving), values, rate, gradient, fixed)

        if self.scale_loss:
            return _scaled_update(state, totals, gradient, seen, updated)
        return updated(gradient), _added(totals, seen)

    def gradient_norms(
        self,
        state: State,
        values: Mapping[str, Tensor],
        batch: tuple[Tensor, Tensor],
        fixed: Fixed,
    ) -> Tensor:
        """The norm of the mean gradient in each kernel, (kernels,), as a step would see it.

        Of the loss alone: without L2 penalty and the model's own losses. `batch` is (indices,
        keys of the generators); nothing is updated.
        """
        indices, keys = batch
        truth = ops.take(fixed.labels, indices, axis=0)
        # Small gradients are zero in float16 unless they are scaled, as in training.
        scale = state.loss_scale[0] if self.scale_loss else 1.0

        def objective(weights: Tensor) -> tuple[Tensor, Any]:
            logits, _, _ = self.network.train(
                weights, state.moving, values, keys, state.step, fixed.images, indices
            )
            loss, losses = _mean_loss(logits, truth, values)
            return loss * scale, losses

        _, gradient = self.value_and_gradient(objective, state.weights)
        return self.network.kernel_norms(gradient / scale)

    def _updated(
        self,
        state: State,
        values: Mapping[str, Tensor],
        rate: Tensor,
        gradient: Tensor,
        fixed: Fixed,
    ) -> State:
        # λ·Σw² enters through its gradient 2λw alone; reported losses are without it.
        gradient = gradient + 2.0 * values["l2"] * fixed.decayed * state.weights
        step = state.step + 1.0
        weights, slots = self.optimizer.update(
            state.weights,
            gradient,
            state.slots,
            step=step,
            rate=rate,
            values=values,
            decayed=fixed.decayed,
        )
        weights = self.network.constrained(weights)
        return state._replace(weights=weights, slots=slots, step=step)

    def evaluate(
        self,
        state: State,
        totals: Totals,
        values: Mapping[str, Tensor],
        first: Tensor,
        size: int,
        fixed: Fixed,
    ) -> Totals:
        """Add the images first … first + size − 1; those past the end are not counted."""
        count = fixed.labels.shape[0]
        positions = first + ops.arange(size, dtype="int32")
        counted = ops.cast(positions < count, "float32")
        indices = ops.minimum(positions, count - 1)
        truth = ops.take(fixed.labels, indices, axis=0)
        logits = self.network.predict(state.weights, state.moving, values, fixed.images, indices)
        losses = cross_entropy(ops.log_softmax(logits, axis=-1), truth)
        return _added(totals, totals_of(logits, truth, losses, counted))

    def predict(
        self, state: State, values: Mapping[str, Tensor], first: Tensor, size: int, fixed: Fixed
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of the images first … first + size − 1: the class that is predicted, its log p, and
        that of the label, each (size,). Past the end the last image comes again.

        Of equal logits the lower class is predicted, as `ranks` has it.
        """
        positions = first + ops.arange(size, dtype="int32")
        indices = ops.minimum(positions, fixed.labels.shape[0] - 1)
        truth = ops.take(fixed.labels, indices, axis=0)
        logits = self.network.predict(state.weights, state.moving, values, fixed.images, indices)
        predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
        log_probabilities = ops.log_softmax(logits, axis=-1)
        own, true = (-cross_entropy(log_probabilities, labels) for labels in (predicted, truth))
        return predicted, own, true


def _mean_loss(
    logits: Tensor, truth: Tensor, values: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """What is minimized, and the cross-entropy of each image.

    The mean is over the images and not over their weights, as in Keras.
    """
    log_probabilities = ops.log_softmax(logits, axis=-1)
    losses = cross_entropy(log_probabilities, truth)
    minimized = smoothed(log_probabilities, losses, values["label_smoothing"])
    return ops.mean(ops.take(values["class_weight"], truth) * minimized), losses


def _scaled_update(
    state: State,
    totals: Totals,
    gradient: Tensor,
    seen: Totals,
    updated: Callable[[Tensor], State],
) -> tuple[State, Totals]:
    """The update where the scaled gradient is finite; otherwise only a halved loss scale."""
    scale, calm = state.loss_scale[0], state.loss_scale[1]
    finite = ops.all(ops.isfinite(gradient))
    grown = ops.where(calm + 1 >= LOSS_SCALE_PATIENCE, scale * 2.0, scale)
    calmer = ops.where(calm + 1 >= LOSS_SCALE_PATIENCE, 0.0, calm + 1)
    good = updated(gradient / scale)._replace(loss_scale=ops.stack([grown, calmer]))
    halved = ops.maximum(scale / 2.0, 1.0)
    skipped = state._replace(loss_scale=ops.stack([halved, ops.zeros_like(halved)]))
    # At scale 1 there is nothing left to halve: the loss itself is not finite, and is shown.
    shown = ops.logical_or(finite, scale <= 1.0)
    return _choose(finite, good, skipped), _choose(shown, _added(totals, seen), totals)


def _choose(condition: Tensor, first: Any, second: Any) -> Any:
    if isinstance(first, tuple):
        parts = [_choose(condition, a, b) for a, b in zip(first, second, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return ops.where(condition, first, second)
