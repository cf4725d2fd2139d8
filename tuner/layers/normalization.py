"""Batch normalization, with TensorFlow's fused kernel where it is the faster one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tuner.layers.base import Shape
from tuner.layers.batch_statistics import (
    BatchStatistics,
    are_fused_images,
    biased,
    fused,
    normalize_by,
    normalize_by_averages,
    pixels_in_view,
)

_LAST, _FIRST = 3, 1
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@keras.saving.register_keras_serializable(package="tuner")
class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Normalizes every channel by its mean and variance over the rest of the batch.

    Keeps the scale of activations steady through a deep network, so that it bears larger learning
    rates. In training:

        y = gamma * (x - mean(x)) / sqrt(var(x) + epsilon) + beta

    with mean and (biased) variance over every axis but `axis`: over the batch for `(batch, units)`,
    over batch, height and width for `(batch, height, width, channels)`, and only where a mask is
    true, if there is one. The moving averages follow as
    `moving = momentum * moving + (1 - momentum) * batch` and take the place of the batch's
    statistics at prediction, and in a layer that is not `trainable` (as in Keras).

    It is `keras.layers.BatchNormalization` with a faster way for images on TensorFlow, and takes
    all arguments of that: initializers, regularizers and constraints of gamma and beta,
    initializers of the moving averages, synchronized, renorm.

    Statistics are computed and kept in float32 for half-precision inputs; outputs have the layer's
    compute dtype.

    Args:
        axis: the channels; -1 for channels last, 1 for channels first. Of a list of several, each
            combination of places has statistics, gamma and beta of its own.
        momentum: weight of the past in the moving averages, in [0, 1].
        epsilon: added to the variance, greater than 0.
        center: learn beta; otherwise it is 0.
        scale: learn gamma; otherwise it is 1.

    Raises:
        ValueError: momentum or epsilon out of range, an axis that the inputs don't have, or a mask
            with several axes.

    Source: Ioffe and Szegedy 2015, Algorithms 1 and 2 (with Keras' biased moving variance where
    Algorithm 2 has the unbiased one).
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        axes = [int(number) for number in np.atleast_1d(axis)]
        # Keras normalizes along one axis; several are made one, the last.
        super().__init__(
            axes[0] if len(axes) == 1 else -1, momentum, epsilon, center, scale, **kwargs
        )
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum must be in [0, 1]; received {momentum!r}")
        if not epsilon > 0.0:
            raise ValueError(f"epsilon must be greater than 0; received {epsilon!r}")
        self.axes = axes

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        config: dict[str, Any] = super().get_config()
        return config | {"axis": self._named}

    def build(self, input_shape: Shape) -> None:
        """Create gamma, beta and the moving averages, one number a channel."""
        rank = len(input_shape)
        places = self._places(rank)
        sizes = [input_shape[axis] for axis in places]
        if None in sizes:
            raise ValueError(
                f"axis {self._named} of the inputs {input_shape} must have known sizes"
            )
        if len(places) == 1:
            super().build(input_shape)
            return
        super().build((*_without(input_shape, places), math.prod(sizes)))
        self.input_spec = keras.InputSpec(ndim=rank, axes=dict(zip(places, sizes, strict=True)))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize by the batch in training and by the moving averages otherwise."""
        if len(self.axes) > 1:
            return self._normalize_merged(inputs, training, mask)
        (channel_axis,) = self._places(len(inputs.shape))
        by_batch = training and self.trainable
        if mask is None and by_batch and self._can_fuse_batch(inputs, channel_axis):
            return self._normalize_by_batch(inputs, channel_axis)
        if mask is None and not by_batch and can_fuse_averages(inputs, channel_axis):
            mean, variance = self._vector(self.moving_mean), self._vector(self.moving_variance)
            return normalize_by_averages(
                inputs, mean, variance, *self._gamma_and_beta(), self.epsilon
            )
        return super().call(inputs, training=training, mask=mask)

    def relu_with(self, statistics: BatchStatistics, inputs: Any) -> Any:
        """`relu` of what `call` gives in training, by statistics that many layers share."""
        mean, variance = statistics.mean_and_variance
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        vectors = mean, variance, *self._gamma_and_beta()
        return normalize_by(inputs, *vectors, self.epsilon, with_relu=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs."""
        self._places(len(input_shape))
        return tuple(input_shape)

    @property
    def _named(self) -> int | list[int]:
        return self.axes[0] if len(self.axes) == 1 else list(self.axes)

    def _places(self, rank: int) -> list[int]:
        """The axes, counted from the first."""
        if any(not -rank <= axis < rank for axis in self.axes):
            raise ValueError(f"axis must be in [{-rank}, {rank}); received {self._named}")
        places = [axis % rank for axis in self.axes]
        if len(set(places)) < max(1, len(places)):
            raise ValueError(f"axis must name each axis once; received {self._named}")
        return places

    def _normalize_merged(self, inputs: Any, training: bool | None, mask: Any) -> Any:
        """Normalize with the axes merged into one, behind all others."""
        if mask is not None:
            raise ValueError(f"a mask needs a single axis of channels; received axis {self._named}")
        places = self._places(len(inputs.shape))
        order = [*_without(range(len(inputs.shape)), places), *places]
        ordered = ops.transpose(inputs, order)
        shape = ops.shape(ordered)
        merged = ops.reshape(ordered, (*shape[: -len(places)], self.moving_mean.shape[0]))
        outputs = ops.reshape(super().call(merged, training=training), shape)
        return ops.transpose(outputs, [order.index(axis) for axis in range(len(order))])

    def _can_fuse_batch(self, inputs: Any, axis: int) -> bool:
        return not (self.renorm or self.synchronized) and can_fuse_batch(inputs, axis)

    def _normalize_by_batch(self, inputs: Any, axis: int) -> Any:
        outputs, mean, variance = normalize_by_batch(
            inputs, axis, *self._gamma_and_beta(), self.epsilon
        )
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        return outputs

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        mean, variance = super()._moments(inputs, mask)
        if mask is None:
            return mean, variance
        # Keras squeezes a single channel away.
        return ops.reshape(mean, (-1,)), ops.reshape(variance, (-1,))

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
        moving.assign(self._vector(moving) * self.momentum + batch * (1 - self.momentum))


def can_fuse_batch(inputs: Any, axis: int) -> bool:
    """Whether `normalize_by_batch` can take these inputs."""
    return are_fused_images(inputs) and axis in (_LAST, _FIRST)


def can_fuse_averages(inputs: Any, axis: int) -> bool:
    """Whether `normalize_by_averages` can take these inputs.

    Not with channels first: two transpositions cost more than the two operations that they save.
    """
    return are_fused_images(inputs) and axis == _LAST


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
    if pixels_in_view(inputs) > 1:
        mean, variance = BatchStatistics.of(inputs).mean_and_variance
        return normalize_by(inputs, mean, variance, gamma, beta, epsilon), mean, variance
    empty = tf.zeros([0], tf.float32)
    result = fused(inputs, gamma, beta, empty, empty, epsilon, is_training=True)
    return result.y, result.batch_mean, biased(result.batch_variance, inputs)


def _without(items: Iterable[Any], places: Sequence[int]) -> list[Any]:
    return [item for place, item in enumerate(items) if place not in places]
