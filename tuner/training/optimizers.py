"""Optimizers and learning-rate schedules, every hyperparameter a runtime value.

All trainable weights of a network lie in one vector, so that an update is a handful of array
operations whatever the depth. `slots` are vectors of the same length, zero at the start; `step`
counts from 1. Formulas and defaults agree with `keras.optimizers` step by step (tests).

The learning rates of an epoch are computed on the host and passed as an array, one a step, so that
every schedule and every length runs in the same compiled program.

Importing this loads no framework: a plan asks how much an optimizer keeps per weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.experiment.schema import OPTIMIZER_SLOTS

Tensor = Any
Fractions = NDArray[np.float64]
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


def nadam(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,
    rate: Tensor,
    values: Mapping[str, Tensor],
    decayed: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Adam with Nesterov's momentum (Dozat 2016, algorithm 8), with Keras' schedule of it.

    μₜ = β₁ (1 − 0.96ᵗ/2), Πₜ = μ₁ ⋯ μₜ;
    m̂ = μₜ₊₁ m / (1 − Πₜ₊₁) + (1 − μₜ) g / (1 − Πₜ); w ← w − α m̂ / (√(v / (1 − β₂ᵗ)) + ε).
    """
    from keras import ops

    beta_1, beta_2 = values["beta_1"], values["beta_2"]
    mean = slots[0] + (1 - beta_1) * (gradient - slots[0])
    square = slots[1] + (1 - beta_2) * (ops.square(gradient) - slots[1])
    now, ahead = (beta_1 * (1 - 0.5 * ops.power(0.96, t)) for t in (step, step + 1))
    table = ops.convert_to_tensor(_NADAM_PRODUCTS)
    place = ops.cast(ops.minimum(step, len(_NADAM_PRODUCTS) - 1.0), "int32")
    product = ops.take(table, place) * ops.power(beta_1, step)
    follows = ahead * mean / (1 - product * ahead) + (1 - now) * gradient / (1 - product)
    root = ops.sqrt(square / (1 - ops.power(beta_2, step)))
    return weights - rate * follows / (root + values["epsilon"]), (mean, square)


# (1 − 0.96/2) ⋯ (1 − 0.96ᵗ/2) by t: what Πₜ is without β₁ᵗ. It stands still long before the end.
_NADAM_PRODUCTS = np.cumprod(1 - 0.5 * 0.96 ** np.arange(600.0) * (np.arange(600) > 0)).astype(
    np.float32
)


def rmsprop(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,
    rate: Tensor,
    values: Mapping[str, Tensor],
    decayed: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """s ← ρs + (1 − ρ)g²; u ← μu + αg / √(s + ε); w ← w − u (Tieleman & Hinton 2012).

    Centered, the square of the mean gradient is taken off s (Graves 2013).
    """
    from keras import ops

    rho = values["rho"]
    square = rho * slots[0] + (1 - rho) * ops.square(gradient)
    mean = rho * slots[1] + (1 - rho) * gradient
    # Never below 0 but for rounding, which the root would not bear.
    variance = ops.maximum(square - values["centered"] * ops.square(mean), 0.0)
    change = rate * gradient / ops.sqrt(variance + values["epsilon"])
    velocity = values["momentum"] * slots[2] + change
    return weights - velocity, (square, mean, velocity)


def adagrad(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,
    rate: Tensor,
    values: Mapping[str, Tensor],
    decayed: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """w ← w − αg / √(a + Σg² + ε), a being the initial value (Duchi et al. 2011)."""
    from keras import ops

    squares = slots[0] + ops.square(gradient)
    scale = ops.sqrt(values["initial_accumulator_value"] + squares + values["epsilon"])
    return weights - rate * gradient / scale, (squares,)


OPTIMIZERS: dict[str, Optimizer] = {
    name: Optimizer(OPTIMIZER_SLOTS[name], update)
    for name, update in {
        "sgd": sgd,
        "adam": adam,
        "adamw": adamw,
        "rmsprop": rmsprop,
        "nadam": nadam,
        "adagrad": adagrad,
    }.items()
}

# What an update or the loss reads from `values`; every program receives all of them.
RUNTIME_VALUES = (
    "beta_1",
    "beta_2",
    "epsilon",
    "momentum",
    "nesterov",
    "weight_decay",
    "rho",
    "centered",
    "initial_accumulator_value",
    "l2",
    "label_smoothing",
)

ONE_CYCLE_RISE = 0.3  # share of the steps in which the rate rises
ONE_CYCLE_START = 1 / 25  # first rate over the highest
ONE_CYCLE_END = 1e-4 / 25  # last rate over the highest


def learning_rates(
    schedule: str | Mapping[str, Any],
    *,
    highest: float,
    epoch: int,
    epochs: int,
    steps: int,
    warmup_epochs: float = 0,
) -> NDArray[np.float32]:
    """The learning rate of each of the `steps` steps of `epoch` (counted from 0).

    During the first `warmup_epochs` the rate rises linearly to where the schedule begins; the
    schedule runs over what is left. `{step: {at: [0.5, 0.75], factor: 0.1}}` multiplies by
    `factor` at each of these fractions of what is left.
    """
    step = epoch * steps + np.arange(steps, dtype=np.float64)
    warmup = warmup_epochs * steps
    progress = np.clip((step - warmup) / max(epochs * steps - warmup, 1), 0.0, 1.0)
    if isinstance(schedule, str):
        factors = SCHEDULES[schedule](progress)
    else:
        factors = _steps_down(progress, schedule["step"]["at"], schedule["step"]["factor"])
    if warmup > 0:
        factors = factors * np.minimum((step + 1) / warmup, 1.0)
    return (highest * factors).astype(np.float32)


def _steps_down(progress: Fractions, at: list[float], factor: float) -> Fractions:
    passed = np.searchsorted(np.sort(np.asarray(at)), progress, side="right")
    return np.power(factor, passed)


def constant(progress: Fractions) -> Fractions:
    """1 throughout."""
    return np.ones_like(progress)


def cosine(progress: Fractions) -> Fractions:
    """From 1 to 0 along half a cosine (Loshchilov & Hutter 2017, SGDR, eq. 5, no restarts)."""
    return 0.5 * (1.0 + np.cos(np.pi * progress))


def one_cycle(progress: Fractions) -> Fractions:
    """Up from 1/25 to 1 in the first 30 %, down to 4e-6 in the rest, both along a cosine.

    Smith & Topin 2018 (super-convergence), with the cosine annealing that is usual today; the
    momentum is left alone.
    """
    rise = ONE_CYCLE_START + (1 - ONE_CYCLE_START) * (1 - cosine(progress / ONE_CYCLE_RISE))
    fall = cosine((progress - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))
    fall = ONE_CYCLE_END + (1 - ONE_CYCLE_END) * fall
    return np.where(progress < ONE_CYCLE_RISE, rise, fall)


SCHEDULES: dict[str, Callable[[Fractions], Fractions]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
}
