"""Dropout of elements, channels and branches, at a rate that the compiled program is given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
from keras import ops

from tuner.layers.base import ConfiguredLayer, Shape

DropoutMode = Literal["upscale_in_train", "downscale_in_infer"]


class RuntimeDropout(ConfiguredLayer):
    """What the kinds of dropout share; they differ in what is dropped together.

    The rate is a variable of the layer, and `hyperparameter` the name by which it is set.

    Raises:
        ValueError: a rate outside [0, 1] or an unknown mode.
    """

    def __init__(
        self, rate: float, mode: DropoutMode, seed: int | None, hyperparameter: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        _check_rate(rate)
        if mode not in get_args(DropoutMode):
            raise ValueError(f"mode must be one of {get_args(DropoutMode)}; received {mode!r}")
        self.initial_rate = float(rate)
        self.mode = mode
        self.seed = seed
        self.hyperparameter = hyperparameter
        self.supports_masking = True
        self._rate_variable: Any = None

    # The layer's share of the hyperparameter; 1 but for stochastic depth.
    multiplier: float = 1.0

    @property
    def rate(self) -> Any:
        """A variable, and before the layer is built the number with which it begins."""
        if self._rate_variable is None:
            return self.initial_rate * self.multiplier
        return self._rate_variable

    @rate.setter
    def rate(self, rate: float) -> None:
        _check_rate(rate)
        if self._rate_variable is None:
            self.initial_rate = float(rate) / (self.multiplier or 1.0)
        else:
            self._rate_variable.assign(rate)

    @abstractmethod
    def draw_shape(self, shape: Shape) -> Shape:
        """Of the draws for inputs of `shape`: 1 along an axis that is dropped as a whole."""

    def build(self, input_shape: Shape) -> None:
        """Create the rate and the random state."""
        self._rate_variable = self.add_weight(
            shape=(),
            name="rate",
            initializer=keras.initializers.Constant(self.rate),
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
            # At rate 1 nothing is kept; a factor of infinity would make gradients NaN.
            inputs = inputs * ops.cast(ops.divide_no_nan(1.0, self._keep()), inputs.dtype)
        # Not a product with zeros and ones: of the draws the backward pass keeps a bool each.
        return ops.where(self._draw_kept(inputs), inputs, ops.zeros((), inputs.dtype))

    def _keep(self) -> Any:
        return 1.0 - ops.convert_to_tensor(self.rate)

    def _draw_kept(self, inputs: Any) -> Any:
        # float32 even for half-precision inputs: bfloat16 knows 0.2 only to within 0.4 %.
        draws = keras.random.uniform(
            self.draw_shape(ops.shape(inputs)), dtype="float32", seed=self.seed_generator
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
        rate: the initial probability, in [0, 1].
        mode: the convention.
        seed: of the layer's own generator; None draws one.
        hyperparameter: the name under which whoever trains the network sets the rate.
        noise_shape: of the draws, each of which decides about all elements along an axis of size 1;
            None, also of a single axis, as the inputs. `(None, 1, 1, None)` drops whole channels.

    Raises:
        ValueError: a rate outside [0, 1], an unknown mode, or a noise_shape that is not one of the
            inputs' but for ones.

    Source: Srivastava et al. 2014 (downscale_in_infer); upscale_in_train is what Keras does.
    """

    def __init__(
        self,
        rate: float,
        mode: DropoutMode = "upscale_in_train",
        seed: int | None = None,
        hyperparameter: str = "dropout",
        noise_shape: Sequence[int | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, mode, seed, hyperparameter, **kwargs)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        if any(n is not None and n < 1 for n in self.noise_shape or ()):
            raise ValueError(f"noise_shape must be positive or None; received {noise_shape!r}")

    def build(self, input_shape: Shape) -> None:
        """Create the rate and the random state."""
        self._check_noise_shape(tuple(input_shape))
        super().build(input_shape)

    def draw_shape(self, shape: Shape) -> Shape:
        """A draw for each element, or as many as `noise_shape` says."""
        if self.noise_shape is None:
            return shape
        return tuple(shape[i] if n is None else n for i, n in enumerate(self.noise_shape))

    def _check_noise_shape(self, shape: Shape) -> None:
        if self.noise_shape is None:
            return
        pairs = zip(self.noise_shape, shape, strict=False)
        fits = all(n in (None, 1) or size in (None, n) for n, size in pairs)
        if len(self.noise_shape) != len(shape) or not fits:
            raise ValueError(
                f"noise_shape must have 1, None or the inputs' size along each axis of {shape}; "
                f"received {self.noise_shape}"
            )


DataFormat = Literal["channels_last", "channels_first"]


@keras.saving.register_keras_serializable(package="tuner")
class SpatialDropout2D(RuntimeDropout):
    """Sets each channel of each image to zero with probability `rate` while training.

    Neighbouring pixels of a channel tell much the same, so that dropping them one by one hides
    little; this drops them together. The conventions are those of `Dropout`.

    Args:
        rate: the initial probability, in [0, 1]; a variable, as in `Dropout`.
        mode: the convention.
        data_format: "channels_last" for `(batch, height, width, channels)`, "channels_first" for
            `(batch, channels, height, width)`; None for Keras' `image_data_format()`.
        seed: of the layer's own generator; None draws one.
        hyperparameter: the name under which whoever trains the network sets the rate.

    Raises:
        ValueError: a rate outside [0, 1], an unknown mode or data format, or inputs that are no
            images.

    Source: Tompson et al. 2015, section 3.2.
    """

    def __init__(
        self,
        rate: float,
        mode: DropoutMode = "upscale_in_train",
        data_format: DataFormat | None = "channels_last",
        seed: int | None = None,
        hyperparameter: str = "dropout",
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, mode, seed, hyperparameter, **kwargs)
        data_format = data_format or keras.config.image_data_format()
        if data_format not in get_args(DataFormat):
            allowed = get_args(DataFormat)
            raise ValueError(f"data_format must be one of {allowed}; received {data_format!r}")
        self.data_format = data_format
        self.input_spec = keras.InputSpec(ndim=4)

    def draw_shape(self, shape: Shape) -> Shape:
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
        rate: the initial value of the hyperparameter, in [0, 1].
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

    def draw_shape(self, shape: Shape) -> Shape:
        """One draw, or one for each image."""
        draws = shape[0] if self.per == "image" else 1
        return draws, *[1] * (len(shape) - 1)


def _check_rate(rate: float) -> None:
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must be in [0, 1]; received {rate!r}")
