"""Dropout of elements, channels and branches, at a rate that the compiled program is given."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, get_args

import keras
from keras import ops

from tuner.layers.base import ConfiguredLayer, Shape

DropoutMode = Literal["upscale_in_train", "downscale_in_infer"]


class RuntimeDropout(ConfiguredLayer):
    """What the kinds of dropout share; they differ in what is dropped together.

    The rate is a variable of the layer, and `hyperparameter` the name by which it is set.

    Raises:
        ValueError: a rate outside [0, 1) or an unknown mode.
    """

    def __init__(
        self, rate: float, mode: DropoutMode, seed: int | None, hyperparameter: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate must be in [0, 1); received {rate!r}")
        if mode not in get_args(DropoutMode):
            raise ValueError(f"mode must be one of {get_args(DropoutMode)}; received {mode!r}")
        self.initial_rate = float(rate)
        self.mode = mode
        self.seed = seed
        self.hyperparameter = hyperparameter
        self.supports_masking = True

    # The layer's share of the hyperparameter; 1 but for stochastic depth.
    multiplier: float = 1.0

    @abstractmethod
    def noise_shape(self, shape: Shape) -> Shape:
        """Of the draws for inputs of `shape`: 1 along an axis that is dropped as a whole."""

    def build(self, input_shape: Shape) -> None:
        """Create the rate and the random state."""
        self.rate = self.add_weight(
            shape=(),
            name="rate",
            initializer=keras.initializers.Constant(self.initial_rate * self.multiplier),
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        # Here and not in __init__, so that the path of its state begins with the layer's.
        self.seed_generator = keras.random.SeedGenerator(self.seed, name="seed_generator")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Drop in training; in the second convention scale at prediction."""
        if training:
            return self._drop(inputs)
        if self.mode == "upscale_in_train":
            return inputs
        return inputs * ops.cast(self._keep(), inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs."""
        return tuple(input_shape)

    def _drop(self, inputs: Any) -> Any:
        if self.mode == "upscale_in_train":
            inputs = inputs * ops.cast(1.0 / self._keep(), inputs.dtype)
        # Not a product with zeros and ones: of the draws the backward pass keeps a bool each.
        return ops.where(self._draw_kept(inputs), inputs, ops.zeros((), inputs.dtype))

    def _keep(self) -> Any:
        return 1.0 - ops.convert_to_tensor(self.rate)

    def _draw_kept(self, inputs: Any) -> Any:
        # float32 even for half-precision inputs: bfloat16 knows 0.2 only to within 0.4 %.
        draws = keras.random.uniform(
            self.noise_shape(ops.shape(inputs)), dtype="float32", seed=self.seed_generator
        )
        return draws >= ops.convert_to_tensor(self.rate)


@keras.saving.register_keras_serializable(package="tuner")
class Dropout(RuntimeDropout):
    """Sets each element to zero with probability `rate` while training.

    Both conventions that are in use make the expectation at prediction that of training:

        mode                  training         prediction
        upscale_in_train      x·m / (1 - r)    x
        downscale_in_infer    x·m              x·(1 - r)

    with m = 0 with probability r and 1 otherwise. The rate is a variable: after
    `layer.rate.assign(0.3)` the compiled program goes on with 0.3 and nothing is traced again.
    A layer at rate 0 costs its random numbers and changes nothing.

    Args:
        rate: the initial probability, in [0, 1).
        mode: the convention.
        seed: of the layer's own generator; None draws one.
        hyperparameter: the name under which whoever trains the network sets the rate.

    Raises:
        ValueError: a rate outside [0, 1) or an unknown mode.

    Source: Srivastava et al. 2014 (downscale_in_infer); upscale_in_train is what Keras does.
    """

    def __init__(
        self,
        rate: float,
        mode: DropoutMode = "upscale_in_train",
        seed: int | None = None,
        hyperparameter: str = "dropout",
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, mode, seed, hyperparameter, **kwargs)

    def noise_shape(self, shape: Shape) -> Shape:
        """A draw for each element."""
        return shape


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
