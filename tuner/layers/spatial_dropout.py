"""Dropout of whole channels."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras

from tuner.layers.dropout import DropoutMode, RuntimeDropout
from tuner.layers.shapes import Shape

DataFormat = Literal["channels_last", "channels_first"]


@keras.saving.register_keras_serializable(package="tuner")
class SpatialDropout2D(RuntimeDropout):
    """Sets each channel of each image to zero with probability `rate` while training.

    Neighbouring pixels of a channel tell much the same, so that dropping them one by one hides
    little; this drops them together. The conventions are those of `Dropout`.

    Args:
        rate: the initial probability, in [0, 1); a variable, as in `Dropout`.
        mode: the convention.
        data_format: "channels_last" for `(batch, height, width, channels)`, "channels_first" for
            `(batch, channels, height, width)`.
        seed: of the layer's own generator; None draws one.
        hyperparameter: the name under which whoever trains the network sets the rate.

    Raises:
        ValueError: a rate outside [0, 1), an unknown mode or data format, or inputs that are no
            images.

    Source: Tompson et al. 2015, section 3.2.
    """

    def __init__(
        self,
        rate: float,
        mode: DropoutMode = "upscale_in_train",
        data_format: DataFormat = "channels_last",
        seed: int | None = None,
        hyperparameter: str = "dropout",
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, mode, seed, hyperparameter, **kwargs)
        if data_format not in get_args(DataFormat):
            allowed = get_args(DataFormat)
            raise ValueError(f"data_format must be one of {allowed}; received {data_format!r}")
        self.data_format = data_format
        self.input_spec = keras.InputSpec(ndim=4)

    def noise_shape(self, shape: Shape) -> Shape:
        """A draw for each channel of each image."""
        if self.data_format == "channels_last":
            return shape[0], 1, 1, shape[3]
        return shape[0], shape[1], 1, 1

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "data_format": self.data_format}
