"""Optimizers as pure functions of flat arrays, every hyperparameter a runtime value.

All trainable weights of a network lie in one vector, so that an update is a handful of array
operations whatever the depth. `slots` are vectors of the same length, zero at the start; `step`
counts from 1. Formulas and defaults agree with `keras.optimizers` step by step (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.training.slots import NUM_SLOTS

Tensor = Any
Update = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Optimizer:
    """How many slots an update keeps per weight, and the update itself.

    `update(weights, gradient, slots, *, step, rate, values, decayed)` returns the new weights and
    slots. `rate` is the learning rate of this step, `values` the hyperparameters by name, `decayed`
    is 1 where a weight belongs to a kernel and 0 elsewhere (biases, γ and β).
    """

    num_slots: int
    update: Update


def sgd(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,
    rate: Tensor,
    values: Mapping[str, Tensor],
    decayed: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v ← μv − αg; w ← w + v, or with Nesterov w ← w + μv − αg (Sutskever et al. 2013)."""
    change = rate * gradient
    velocity = values["momentum"] * slots[0] - change
    ahead = values["momentum"] * velocity - change
    return weights + velocity + values["nesterov"] * (ahead - velocity), (velocity,)


def adam(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,
    rate: Tensor,
    values: Mapping[str, Tensor],
    decayed: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Adam (Kingma & Ba 2015), in the efficient form of the end of its section 2, like Keras.

    α̂ = α √(1 − β₂ᵗ) / (1 − β₁ᵗ); w ← w − α̂ m / (√v + ε): ε is the paper's ε̂.
    """
    from keras import ops

    beta_1, beta_2 = values["beta_1"], values["beta_2"]
    mean = slots[0] + (1 - beta_1) * (gradient - slots[0])
    square = slots[1] + (1 - beta_2) * (ops.square(gradient) - slots[1])
    corrected = rate * ops.sqrt(1 - ops.power(beta_2, step)) / (1 - ops.power(beta_1, step))
    change = corrected * mean / (ops.sqrt(square) + values["epsilon"])
    return weights - change, (mean, square)


def adamw(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,
    rate: Tensor,
    values: Mapping[str, Tensor],
    decayed: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Adam with decoupled weight decay w ← w − αλw (Loshchilov & Hutter 2019).

    Only kernels decay; Keras decays every variable that is not excluded by hand.
    """
    weights = weights - rate * values["weight_decay"] * decayed * weights
    return adam(weights, gradient, slots, step=step, rate=rate, values=values, decayed=decayed)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(NUM_SLOTS["sgd"], sgd),
    "adam": Optimizer(NUM_SLOTS["adam"], adam),
    "adamw": Optimizer(NUM_SLOTS["adamw"], adamw),
}

# What an update or the loss reads from `values`; every program receives all of them.
RUNTIME_VALUES = (
    "beta_1",
    "beta_2",
    "epsilon",
    "momentum",
    "nesterov",
    "weight_decay",
    "l2",
    "label_smoothing",
)
