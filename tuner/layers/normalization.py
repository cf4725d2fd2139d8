"""Batch normalization, with TensorFlow's fused kernel where it is the faster one."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tuner.layers.base import ConfiguredLayer, Shape

# Images that TensorFlow's fused kernel takes: statistics, scaling and their gradient in one. On a
# CPU it takes 0.3 to 0.5 of the time of the same arithmetic in separate operations in training, and
# 0.4 to 0.7 at prediction. Vectors `(batch, units)` stay with the separate operations, which are
# quicker for their usual sizes.
FUSED_DTYPES = ("float16", "bfloat16", "float32")
_LAST, _FIRST = 3, 1
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@keras.saving.register_keras_serializable(package="tuner")
class BatchNormalization(ConfiguredLayer):
    """Normalizes every channel by its mean and variance over the rest of the batch.

    Keeps the scale of activations steady through a deep network, so that it bears larger learning
    rates. In training:

        y = gamma * (x - mean(x)) / sqrt(var(x) + epsilon) + beta

    with mean and (biased) variance over every axis but `axis`: over the batch for `(batch, units)`,
    over batch, height and width for `(batch, height, width, channels)`. The moving averages follow
    as `moving = momentum * moving + (1 - momentum) * batch` and take the place of the batch's
    statistics at prediction, and in a layer that is not `trainable` (as in Keras).

    Statistics are computed and kept in float32 for half-precision inputs; outputs have the layer's
    compute dtype.

    Args:
        axis: the channels; -1 for channels last, 1 for channels first.
        momentum: weight of the past in the moving averages, in [0, 1].
        epsilon: added to the variance, greater than 0.
        center: learn beta; otherwise it is 0.
        scale: learn gamma; otherwise it is 1.

    Raises:
        ValueError: momentum or epsilon out of range, or an axis that the inputs don't have.

    Source: Ioffe and Szegedy 2015, Algorithms 1 and 2 (with Keras' biased moving variance where
    Algorithm 2 has the unbiased one).
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum must be in [0, 1]; received {momentum!r}")
        if not epsilon > 0.0:
            raise ValueError(f"epsilon must be greater than 0; received {epsilon!r}")
        self.axis = int(axis)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = bool(center)
        self.scale = bool(scale)
        self.gamma: Any = None
        self.beta: Any = None

    def build(self, input_shape: Shape) -> None:
        """Create gamma, beta and the moving averages, one number a channel."""
        channels = input_shape[self._channel_axis(len(input_shape))]
        if channels is None:
            raise ValueError(f"axis {self.axis} of the inputs {input_shape} must have a known size")
        if self.scale:
            self.gamma = self._add_vector("gamma", channels, "ones", trainable=True)
        if self.center:
            self.beta = self._add_vector("beta", channels, "zeros", trainable=True)
        self.moving_mean = self._add_vector("moving_mean", channels, "zeros", trainable=False)
        self.moving_variance = self._add_vector(
            "moving_variance", channels, "ones", trainable=False
        )
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalize by the batch in training and by the moving averages otherwise."""
        if not (training and self.trainable):
            return self._normalize_by_averages(inputs)
        outputs, mean, variance = self._normalize_by_batch(inputs)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs."""
        self._channel_axis(len(input_shape))
        return tuple(input_shape)

    def _add_vector(self, name: str, size: int, initializer: str, *, trainable: bool) -> Any:
        # autocast=False: under mixed precision these stay float32.
        return self.add_weight(
            shape=(size,), name=name, initializer=initializer, trainable=trainable, autocast=False
        )

    def _channel_axis(self, rank: int) -> int:
        if not -rank <= self.axis < rank:
            raise ValueError(f"axis must be in [{-rank}, {rank}); received {self.axis}")
        return self.axis % rank

    def _normalize_by_batch(self, inputs: Any) -> tuple[Any, Any, Any]:
        channel_axis = self._channel_axis(len(inputs.shape))
        if can_fuse_batch(inputs, channel_axis):
            return normalize_by_batch(inputs, channel_axis, *self._gamma_and_beta(), self.epsilon)
        inputs = ops.cast(inputs, self._statistics_dtype)
        axes = [axis for axis in range(len(inputs.shape)) if axis != channel_axis]
        mean, variance = ops.moments(inputs, axes=axes)
        return self._scale_and_shift(inputs, mean, variance), mean, variance

    def _normalize_by_averages(self, inputs: Any) -> Any:
        mean, variance = self._vector(self.moving_mean), self._vector(self.moving_variance)
        if can_fuse_averages(inputs, self._channel_axis(len(inputs.shape))):
            return normalize_by_averages(
                inputs, mean, variance, *self._gamma_and_beta(), self.epsilon
            )
        return self._scale_and_shift(ops.cast(inputs, self._statistics_dtype), mean, variance)

    def _scale_and_shift(self, inputs: Any, mean: Any, variance: Any) -> Any:
        gamma, beta = self._gamma_and_beta()
        # Two operations on the images instead of four: y = x * factor + (beta - mean * factor).
        factor = gamma * ops.rsqrt(variance + self.epsilon)
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        outputs = inputs * ops.reshape(factor, shape) + ops.reshape(beta - mean * factor, shape)
        return ops.cast(outputs, self.compute_dtype)

    def _gamma_and_beta(self) -> tuple[Any, Any]:
        size, dtype = self.moving_mean.shape, self._statistics_dtype
        gamma = ops.ones(size, dtype) if self.gamma is None else self._vector(self.gamma)
        beta = ops.zeros(size, dtype) if self.beta is None else self._vector(self.beta)
        return gamma, beta

    def _vector(self, variable: Any) -> Any:
        return ops.cast(ops.convert_to_tensor(variable), self._statistics_dtype)

    @property
    def _statistics_dtype(self) -> str:
        # Sums of squares overflow float16 beyond 65504 and lose every digit in bfloat16.
        return str(keras.backend.result_type(self.compute_dtype, "float32"))

    def _follow(self, moving: Any, batch: Any) -> None:
        moving.assign(moving * self.momentum + ops.cast(batch, moving.dtype) * (1 - self.momentum))


def can_fuse_batch(inputs: Any, axis: int) -> bool:
    """Whether `normalize_by_batch` can take these inputs."""
    return _are_images(inputs) and axis in (_LAST, _FIRST)


def can_fuse_averages(inputs: Any, axis: int) -> bool:
    """Whether `normalize_by_averages` can take these inputs.

    Not with channels first: two transpositions cost more than the two operations that they save.
    """
    return _are_images(inputs) and axis == _LAST


def normalize_by_batch(
    inputs: Any, axis: int, gamma: Any, beta: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    """Normalize images by the statistics of the batch.

    Args:
        inputs: `(batch, height, width, channels)` in half precision or float32, which the output
            keeps; or `(batch, channels, height, width)`.
        axis: of the channels, 3 or 1.
        gamma, beta: float32, one a channel.
        epsilon: added to the variance.

    Returns:
        The outputs, and the batch's float32 mean and biased variance, one a channel.
    """
    import tensorflow as tf

    if axis == _FIRST:
        # The kernel of CPUs knows channels last alone. Still 0.4 of the time without it: the sums
        # of a gradient over the axes 0, 2 and 3 are slow.
        outputs, *statistics = normalize_by_batch(
            tf.transpose(inputs, _TO_LAST), _LAST, gamma, beta, epsilon
        )
        return tf.transpose(outputs, _TO_FIRST), *statistics
    empty = tf.zeros([0], tf.float32)
    fused = _fused(inputs, gamma, beta, empty, empty, epsilon, is_training=True)
    # The kernel reports the unbiased variance, n / (n - 1) times what Keras averages.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    return fused.y, fused.batch_mean, fused.batch_variance * ((count - 1.0) / count)


def normalize_by_averages(
    inputs: Any, mean: Any, variance: Any, gamma: Any, beta: Any, epsilon: float
) -> Any:
    """Normalize `(batch, height, width, channels)` by a given float32 mean and variance.

    They get no gradient.
    """
    return _fused(inputs, gamma, beta, mean, variance, epsilon, is_training=False).y


def _are_images(inputs: Any) -> bool:
    return (
        keras.backend.backend() == "tensorflow"
        and len(inputs.shape) == 4
        and keras.backend.standardize_dtype(inputs.dtype) in FUSED_DTYPES
    )


def _fused(
    inputs: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    epsilon: float,
    *,
    is_training: bool,
) -> Any:
    import tensorflow as tf

    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        exponential_avg_factor=1.0,
        data_format="NHWC",
        is_training=is_training,
    )
