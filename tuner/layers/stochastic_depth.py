"""Stochastic depth: dropping a residual block's branch, at a rate the compiled program is given."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras

from tuner.layers.dropout import DropoutMode, RuntimeDropout
from tuner.layers.shapes import Shape

DroppedPer = Literal["batch", "image"]


@keras.saving.register_keras_serializable(package="tuner")
class StochasticDepth(RuntimeDropout):
    """Sets the whole branch of a residual block to zero with probability r while training.

    A very deep network then trains as a random shallow one each step, and predicts as an average of
    them. With r = rate * multiplier, and b = 0 with probability r and 1 otherwise:

        mode                  training         prediction
        downscale_in_infer    x·b              x·(1 - r)
        upscale_in_train      x·b / (1 - r)    x

    The rate is a variable: after it is assigned the compiled program goes on and nothing is traced
    again. A layer at rate 0 changes nothing. The branch is computed even when it is dropped, so
    that its batch normalization follows every batch (the paper skips both).

    Args:
        rate: the initial value of the hyperparameter, in [0, 1).
        mode: the convention; the first one is the paper's.
        per: one b for the whole "batch" (the paper), or one for each "image".
        hyperparameter: the name under which whoever trains the network sets the rate.
        multiplier: share of the hyperparameter that this layer takes, in [0, 1]: l/L in block l of
            L gives the paper's linear decay rule, where the hyperparameter is the last block's r.
        seed: of the layer's own generator; None draws one.

    Raises:
        ValueError: a rate or multiplier out of range, an unknown mode or `per`.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", section 3.
    """

    def __init__(
        self,
        rate: float,
        mode: DropoutMode = "downscale_in_infer",
        per: DroppedPer = "batch",
        hyperparameter: str = "stochastic_depth",
        multiplier: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, mode, seed, hyperparameter, **kwargs)
        if not 0.0 <= multiplier <= 1.0:
            raise ValueError(f"multiplier must be in [0, 1]; received {multiplier!r}")
        if per not in get_args(DroppedPer):
            raise ValueError(f"per must be one of {get_args(DroppedPer)}; received {per!r}")
        self.per = per
        self.multiplier = float(multiplier)

    def noise_shape(self, shape: Shape) -> Shape:
        """One draw, or one for each image."""
        draws = shape[0] if self.per == "image" else 1
        return draws, *[1] * (len(shape) - 1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; the rate at construction (the present one is a weight)."""
        return {**super().get_config(), "per": self.per, "multiplier": self.multiplier}
