"""Batch normalization in two parts: the statistics of a batch, and normalizing by them.

Apart, one set of statistics serves every layer that reads the same channels (see `DenseBlock`).
Both parts have gradients, so that together they are batch normalization. With

    y = gamma * (x - mean) * r + beta        r = 1 / sqrt(variance + epsilon)

and g the gradient of y, `normalize_by` passes on

    d gamma = sum(g * (x - mean) * r)        d mean     = -gamma * r * d beta
    d beta  = sum(g)                         d variance = -gamma * r² / 2 * d gamma
    d x     = gamma * r * g

and `BatchStatistics.of`, for n pixels, adds what x changes in its own mean and variance:

    d x    += (d mean + 2 * (x - mean) * d variance) / n

On a CPU under TensorFlow both are calls of its fused kernel, the quickest way that it has to sum
over channels and to scale them; elsewhere they are `keras.ops`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tuner.layers.base import runs_on_tensorflow_cpu

Tensor = Any

# Images that TensorFlow's fused kernel takes: statistics, scaling and their gradient in one. On a
# CPU it takes 0.3 to 0.5 of the time of the same arithmetic in separate operations in training, and
# 0.4 to 0.7 at prediction. Vectors `(batch, units)` stay with the separate operations, which are
# quicker for their usual sizes.
FUSED_DTYPES = ("float16", "bfloat16", "float32")
# On a CPU the kernel has a quick form for channels in sixteens. Other counts get it through a view
# in which neighbouring pixels stand side by side as channels, which copies nothing. Forward and
# backward in ms on one core (Zen 5, 64 images, float32), as they are and through the view:
#
#     32x32x12    32x32x60    32x32x114    32x32x204    16x16x198    8x8x246
#     4.6 / 1.5   20 / 10     59 / 17      70 / 32      25 / 8       8.9 / 1.8
LANES = 16


class BatchStatistics:
    """Mean and biased variance of channels over a batch: float32 `(2, channels)`.

    No tensor, and so nothing that Keras would cast where it is an argument of a layer.
    """

    def __init__(self, moments: Tensor) -> None:
        self.moments = moments

    @classmethod
    def of(cls, inputs: Tensor) -> BatchStatistics:
        """Of `(batch, height, width, channels)`."""
        if runs_on_tensorflow_cpu() and are_fused_images(inputs):
            return cls(_moments_by_kernel(inputs))
        # Not even what the deviations are is kept for the gradient; the inputs are, anyway.
        moments = keras.remat(_moments) if keras.backend.backend() == "jax" else _moments
        return cls(moments(inputs))

    def and_of(self, inputs: Tensor) -> BatchStatistics:
        """Those of the channels and, after them, of more."""
        return BatchStatistics(
            ops.concatenate([self.moments, BatchStatistics.of(inputs).moments], axis=1)
        )

    @property
    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """One number a channel each."""
        mean, variance = ops.unstack(self.moments, 2)
        return mean, variance


def normalize_by(
    inputs: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    *,
    with_relu: bool = False,
) -> Tensor:
    """Normalize `(batch, height, width, channels)` by statistics that have gradients, too.

    The vectors are float32, one number a channel; the outputs have the inputs' dtype. A relu of
    them is a part of TensorFlow's kernel if it follows at once, before the view is given up.
    """
    if runs_on_tensorflow_cpu() and are_fused_images(inputs):
        return _normalize_by_kernel(inputs, mean, variance, gamma, beta, epsilon, with_relu)
    outputs = ops.batch_normalization(
        _in_full(inputs), mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=epsilon
    )
    outputs = ops.cast(outputs, inputs.dtype)
    return ops.relu(outputs) if with_relu else outputs


def are_fused_images(inputs: Tensor) -> bool:
    """Whether TensorFlow's fused kernel takes these inputs."""
    return (
        keras.backend.backend() == "tensorflow"
        and len(inputs.shape) == 4
        and keras.backend.standardize_dtype(inputs.dtype) in FUSED_DTYPES
    )


def pixels_in_view(inputs: Tensor) -> int:
    """How many pixels stand side by side as channels in the view; 1 where none need or can."""
    _, height, width, channels = inputs.shape
    count = LANES // math.gcd(channels, LANES)
    if not runs_on_tensorflow_cpu() or None in (height, width) or height * width % count:
        return 1
    return count


def normalize_by_averages(
    inputs: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> Tensor:
    """Normalize `(batch, height, width, channels)` by a given float32 mean and variance.

    They get no gradient. TensorFlow alone.

    Always in another shape: a convolution, this and a tanh, one after the other, would be fused by
    TensorFlow 2.21 into a kernel that it does not have ("Fusion is not implemented"). What is lost
    where it has one, with relu, is 6 % of a prediction (ResNet-20, one core).
    """
    count = pixels_in_view(inputs)
    gamma, beta, mean, variance = _repeated([gamma, beta, mean, variance], count)
    view = _view(inputs, count) if count > 1 else _in_one_row(inputs)
    outputs = fused(view, gamma, beta, mean, variance, epsilon, is_training=False).y
    return ops.reshape(outputs, ops.shape(inputs))


def fused(
    inputs: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    *,
    is_training: bool,
) -> Any:
    """TensorFlow's fused kernel."""
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


def biased(variance: Tensor, inputs: Tensor) -> Tensor:
    """What Keras averages; the kernel reports n / (n - 1) times that for n pixels."""
    count = _pixels(inputs)
    return variance * ((count - 1.0) / count)


def _moments(inputs: Tensor) -> Tensor:
    return ops.stack(ops.moments(_in_full(inputs), axes=(0, 1, 2)))


def _in_full(inputs: Tensor) -> Tensor:
    # Sums of squares overflow float16 beyond 65504 and lose every digit in bfloat16.
    return ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))


def _moments_by_kernel(inputs: Tensor) -> Tensor:
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(inputs: Tensor) -> Any:
        moments = _moments_of_view(inputs)

        def backward(upstream: Tensor) -> Tensor:
            to_mean, to_variance = tf.unstack(upstream / _pixels(inputs))
            mean = moments[0]
            vectors = mean, tf.ones_like(mean), 2.0 * to_variance, to_mean
            return normalize_by_averages(inputs, *vectors, 0.0)

        return moments, backward

    return run(tf.convert_to_tensor(inputs))


def _moments_of_view(inputs: Tensor) -> Tensor:
    """Of each channel's parts in the view, put together.

    A variance is the mean of those of the parts and the variance of their means.
    """
    import tensorflow as tf

    count = pixels_in_view(inputs)
    view = _view(inputs, count)
    empty, one = tf.zeros([0], tf.float32), tf.ones([view.shape[-1]], tf.float32)
    result = fused(view, one, tf.zeros_like(one), empty, empty, 1e-3, is_training=True)
    mean, variance = result.batch_mean, biased(result.batch_variance, view)
    if count > 1:
        means, variances = (tf.reshape(part, (count, -1)) for part in (mean, variance))
        mean = tf.reduce_mean(means, 0)
        variance = tf.reduce_mean(variances + tf.square(means - mean), 0)
    return tf.stack([mean, variance])


def _normalize_by_kernel(
    inputs: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    with_relu: bool,
) -> Tensor:
    import tensorflow as tf

    count = pixels_in_view(inputs)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(inputs: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        view = _view(inputs, count)
        scale, offset, center, spread = _repeated([gamma, beta, mean, variance], count)
        outputs = fused(view, scale, offset, center, spread, epsilon, is_training=False).y
        if with_relu:
            outputs = tf.nn.relu(outputs)

        def backward(upstream: Tensor) -> tuple[Tensor, ...]:
            upstream = _view(upstream, count)
            if with_relu:
                upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=outputs)
            gradient = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=view,
                scale=scale,
                reserve_space_1=center,
                reserve_space_2=spread,
                reserve_space_3=tf.zeros([0], tf.float32),
                epsilon=epsilon,
                data_format="NHWC",
                is_training=False,
            )
            to_gamma = _summed(gradient.scale_backprop, count)
            to_beta = _summed(gradient.offset_backprop, count)
            r = tf.math.rsqrt(variance + epsilon)
            to_mean, to_variance = -gamma * r * to_beta, -0.5 * gamma * r * r * to_gamma
            to_inputs = _back(gradient.x_backprop, inputs, count)
            return to_inputs, to_mean, to_variance, to_gamma, to_beta

        return _back(outputs, inputs, count), backward

    return run(*(tf.convert_to_tensor(x) for x in (inputs, mean, variance, gamma, beta)))


def _view(inputs: Tensor, count: int) -> Tensor:
    """The same numbers with `count` times as many channels."""
    import tensorflow as tf

    if count == 1:
        return inputs
    _, height, width, channels = inputs.shape
    return tf.reshape(inputs, (-1, 1, height * width // count, count * channels))


def _in_one_row(inputs: Tensor) -> Tensor:
    batch, height, width, channels = ops.shape(inputs)
    return ops.reshape(inputs, (batch, 1, height * width, channels))


def _back(outputs: Tensor, inputs: Tensor, count: int) -> Tensor:
    """What was made of the view, in the shape of the inputs."""
    import tensorflow as tf

    return outputs if count == 1 else tf.reshape(outputs, (-1, *inputs.shape[1:]))


def _repeated(vectors: list[Tensor], count: int) -> list[Tensor]:
    """One number a channel of the view."""
    import tensorflow as tf

    return vectors if count == 1 else [tf.tile(vector, [count]) for vector in vectors]


def _summed(vector: Tensor, count: int) -> Tensor:
    """One number a channel, of one for each channel of the view."""
    import tensorflow as tf

    return vector if count == 1 else tf.reduce_sum(tf.reshape(vector, (count, -1)), 0)


def _pixels(inputs: Tensor) -> Any:
    """A constant where it is one: it is asked for at every normalization of a graph."""
    import tensorflow as tf

    if None not in inputs.shape[:3]:
        return float(math.prod(inputs.shape[:3]))
    return tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
