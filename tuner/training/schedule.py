"""Learning-rate schedules, as one value per step computed on the host.

A program receives the learning rates of an epoch as an array, so that every schedule and every
length runs in the same compiled program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fractions = NDArray[np.float64]

ONE_CYCLE_RISE = 0.3  # share of the steps in which the rate rises
ONE_CYCLE_START = 1 / 25  # first rate over the highest
ONE_CYCLE_END = 1e-4 / 25  # last rate over the highest


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


def _steps_down(progress: Fractions, at: list[float], factor: float) -> Fractions:
    passed = np.searchsorted(np.sort(np.asarray(at)), progress, side="right")
    return np.power(factor, passed)


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
    `factor` at each fraction of the training.
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
