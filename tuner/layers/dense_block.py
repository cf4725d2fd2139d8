"""Dense blocks and the transitions between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tuner.layers.base import Shape
from tuner.layers.batch_statistics import BatchStatistics
from tuner.layers.convolution import CompositeLayer, PreActivationConvolution
from tuner.layers.dropout import DropoutMode

Tensor = Any
Tensors = Sequence[Any]
# (what is differentiated, what is constant) → (outputs, new values of the layer's state)
PureCall = Callable[[Tensors, Tensors], tuple[Tensor, Tensors]]

# Filters of the 1×1 convolution, in growth rates. Source: Huang et al. 2017, section 3.
BOTTLENECK_WIDTH = 4


@keras.saving.register_keras_serializable(package="tuner")
class DenseLayer(CompositeLayer):
    """Makes `growth_rate` new channels from all channels before it.

        plain         conv3x3(relu(BN(x)))
        bottleneck    conv3x3(relu(BN(conv1x1(relu(BN(x))))))     conv1x1 to 4 * growth_rate

    Dropout, where wanted, follows each convolution.

    Args:
        growth_rate: channels that are made.
        bottleneck: reduce the channels by a 1×1 convolution first.
        dropout: initial rate (a runtime value); None for no dropout.
        dropout_mode: the convention, see `Dropout`.

    Source: Huang et al. 2017, section 3.
    """

    def __init__(
        self,
        growth_rate: int,
        bottleneck: bool = False,
        dropout: float | None = None,
        dropout_mode: DropoutMode = "upscale_in_train",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.growth_rate = growth_rate
        self.bottleneck = bottleneck
        self.initial_dropout = dropout
        self.dropout_mode = dropout_mode
        widths = [BOTTLENECK_WIDTH * growth_rate, growth_rate] if bottleneck else [growth_rate]
        kernel_sizes = [1, 3] if bottleneck else [3]
        self.steps = [
            PreActivationConvolution(
                width, kernel_size, dropout, dropout_mode, **self.block_arguments(f"step{n}")
            )
            for n, (width, kernel_size) in enumerate(zip(widths, kernel_sizes, strict=True), 1)
        ]

    def build(self, input_shape: Shape) -> None:
        """Build each step on the one before."""
        for step in self.steps:
            step.build(input_shape)
            input_shape = step.compute_output_shape(input_shape)

    def call(
        self,
        inputs: Any,
        training: bool | None = None,
        statistics: BatchStatistics | None = None,
    ) -> Any:
        """The new channels alone; `statistics` of the inputs, where the block has them already."""
        for step in self.steps:
            inputs = step(inputs, training=training, statistics=statistics)
            statistics = None
        return inputs

    @property
    def normalizes_by_batch(self) -> bool:
        """Whether what it reads is normalized by the batch in training: not where it is frozen."""
        return bool(self.steps[0].normalization.trainable)

    def call_efficiently(
        self,
        pieces: list[Any],
        training: bool | None = None,
        statistics: BatchStatistics | None = None,
    ) -> Any:
        """The same of the pieces' concatenation; keeps what each convolution made and no more."""
        for step in self.steps:
            pieces, statistics = [recomputed(step, pieces, training, statistics)], None
        return pieces[0]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height, width, growth_rate)`."""
        return (*input_shape[:-1], self.growth_rate)


@keras.saving.register_keras_serializable(package="tuner")
class DenseBlock(CompositeLayer):
    """`num_layers` dense layers, each of which sees all channels made before it.

    With k0 channels at the block's entrance, layer l (from 1) sees k0 + growth_rate * (l - 1)
    channels and the block gives k0 + growth_rate * num_layers.

    Every layer normalizes what it sees with a gamma and beta of its own, but in training by the
    same numbers: mean and variance of a channel over the batch do not depend on who reads it. So
    they are computed once, when the channel is made, and layer l scales channel c by them:

        y[l, c] = relu(gamma[l, c] * (x[c] - mean[c]) * r[c] + beta[l, c])

    with r = 1 / sqrt(variance + epsilon). In the gradient a layer passes on

        d mean[c]     = -gamma[l, c] * r[c] * d beta[l, c]
        d variance[c] = -gamma[l, c] * r[c]² / 2 * d gamma[l, c]

    their sums over all layers are those of mean and variance, and what these change in x[c] is
    added to its gradient once. So num_layers * growth_rate channels are normalized, where a
    normalization in every layer would do so with about num_layers² * growth_rate / 2. Outputs,
    gradients and every layer's moving averages are those of separate normalizations but for
    rounding. At prediction each layer normalizes by moving averages of its own, and also in
    training if one of them is frozen.

    Args:
        num_layers: how many.
        growth_rate: channels that each makes.
        bottleneck: give every layer a 1×1 convolution before its 3×3 one.
        dropout: initial rate after each convolution (a runtime value); None for no dropout.
        memory_efficient: remember only what each convolution made.
        dropout_mode: the convention, see `Dropout`.

    Source: Huang et al. 2017, section 3, equation 2; Pleiss et al. 2017, section 3.
    """

    def __init__(
        self,
        num_layers: int,
        growth_rate: int,
        bottleneck: bool = False,
        dropout: float | None = None,
        memory_efficient: bool = False,
        dropout_mode: DropoutMode = "upscale_in_train",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.growth_rate = growth_rate
        self.bottleneck = bottleneck
        self.initial_dropout = dropout
        self.dropout_mode = dropout_mode
        self.memory_efficient = memory_efficient
        self.dense_layers = [
            DenseLayer(
                growth_rate,
                bottleneck,
                dropout,
                dropout_mode,
                **self.block_arguments(f"layer{n}"),
            )
            for n in range(1, num_layers + 1)
        ]

    def build(self, input_shape: Shape) -> None:
        """Build each layer on the channels that it will see."""
        *images, channels = input_shape
        for n, layer in enumerate(self.dense_layers):
            layer.build((*images, channels + n * self.growth_rate))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Concatenate layer by layer."""
        pieces, features = [inputs], inputs
        statistics = self._first_statistics(inputs, training)
        for layer in self.dense_layers:
            if statistics is not None and len(pieces) > 1:
                statistics = statistics.and_of(pieces[-1])
            if self.memory_efficient:
                pieces.append(layer.call_efficiently(list(pieces), training, statistics))
            else:
                pieces.append(layer(features, training=training, statistics=statistics))
                features = joined([features, pieces[-1]])
        return joined(pieces) if self.memory_efficient else features

    def _first_statistics(self, inputs: Any, training: bool | None) -> BatchStatistics | None:
        """Of the block's inputs, where every layer normalizes by the batch."""
        if not training or not all(layer.normalizes_by_batch for layer in self.dense_layers):
            return None
        return BatchStatistics.of(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height, width, channels + num_layers * growth_rate)`."""
        *images, channels = input_shape
        return (*images, channels + self.num_layers * self.growth_rate)


@keras.saving.register_keras_serializable(package="tuner")
class TransitionLayer(CompositeLayer):
    """Between dense blocks: fewer channels, half the resolution.

        average_pool2x2(dropout(conv1x1(relu(BN(x)))))     to floor(compression * channels)

    Args:
        compression: the share of the channels that is kept, in (0, 1].
        dropout: initial rate (a runtime value); None for no dropout.
        dropout_mode: the convention, see `Dropout`.

    Raises:
        ValueError: a compression out of range or one that leaves no channel; images below 2×2.

    Source: Huang et al. 2017, section 3.
    """

    def __init__(
        self,
        compression: float = 1.0,
        dropout: float | None = None,
        dropout_mode: DropoutMode = "upscale_in_train",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 < compression <= 1.0:
            raise ValueError(f"compression must be in (0, 1]; received {compression!r}")
        self.compression = compression
        self.initial_dropout = dropout
        self.dropout_mode = dropout_mode
        self.step: Any = None

    def build(self, input_shape: Shape) -> None:
        """Build normalization and convolution for the number of channels that arrives."""
        filters = self.compute_output_shape(input_shape)[-1]
        self.step = PreActivationConvolution(
            filters, 1, self.initial_dropout, self.dropout_mode, **self.block_arguments("step1")
        )
        self.step.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Compress, then pool."""
        x = self.step(inputs, training=training)
        return ops.average_pool(x, 2, strides=2, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / 2, width / 2, compressed channels)`, sizes rounded down."""
        batch, height, width, channels = input_shape
        if 1 in (height, width):
            raise ValueError(f"images of {height}x{width} are too small for a 2x2 pool")
        # The tiny addend mends products such as 0.29 * 100 = 28.999999999999996.
        filters = math.floor(self.compression * channels + 1e-9)
        if filters < 1:
            raise ValueError(f"compression {self.compression} leaves none of {channels} channels")
        return batch, height and height // 2, width and width // 2, filters


def recomputed(
    layer: Any,
    pieces: Tensors,
    training: bool | None = None,
    statistics: BatchStatistics | None = None,
) -> Tensor:
    """`layer(concatenate(pieces))` whose backward pass computes the layer once more.

    The pieces are joined along the channels inside, so that not even the joined tensor is kept. The
    second time sees the same moving averages and random state as the first, and so makes the same
    outputs; the layer's state moves on once.

    Args:
        layer: built; called with one tensor and `training`. Its outputs are one tensor, too.
        pieces: `(batch, height, width, channels of the piece)`.
        training: at prediction nothing is differentiated, and the layer is simply called.
        statistics: of the joined pieces, for a layer that takes them.

    Source: Pleiss et al. 2017, section 3; Chen et al. 2016, "Training Deep Nets with Sublinear
    Memory Cost".
    """
    if not training:
        return layer(joined(pieces), training=training)
    weights = [ops.convert_to_tensor(variable) for variable in layer.trainable_variables]
    state = [ops.convert_to_tensor(variable) for variable in layer.non_trainable_variables]

    moments = [] if statistics is None else [statistics.moments]
    first, last = len(pieces), len(pieces) + len(weights)

    def call(differentiated: Tensors, constant: Tensors) -> tuple[Tensor, Tensors]:
        images, weights = joined(differentiated[:first]), list(differentiated[first:last])
        known = {"statistics": BatchStatistics(differentiated[last])} if moments else {}
        outputs, updated = layer.stateless_call(
            weights, list(constant), images, training=training, **known
        )
        return outputs, updated

    outputs, updated = _checkpointed(call, [*pieces, *weights, *moments], state)
    for variable, value in zip(layer.non_trainable_variables, updated, strict=True):
        variable.assign(value)
    return outputs


def joined(pieces: Tensors) -> Tensor:
    """The pieces along the channels."""
    return pieces[0] if len(pieces) == 1 else ops.concatenate(list(pieces), axis=-1)


def _checkpointed(
    call: PureCall, differentiated: Tensors, constant: Tensors
) -> tuple[Tensor, Tensors]:
    if keras.backend.backend() == "tensorflow":
        return _checkpointed_by_tensorflow(call, differentiated, constant)
    result: tuple[Tensor, Tensors] = keras.remat(call)(list(differentiated), list(constant))
    return result


def _checkpointed_by_tensorflow(
    call: PureCall, differentiated: Tensors, constant: Tensors
) -> tuple[Tensor, Tensors]:
    """As `tf.recompute_grad`, which would also differentiate moving averages and random states."""
    import tensorflow as tf

    count = len(differentiated)

    # Every tensor is an argument: TensorFlow takes what is captured for a variable of its own.
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(*tensors: Tensor) -> tuple[Any, Any]:
        made, updated = call(tensors[:count], tensors[count:])

        def backward(upstream: Tensor, *_: Tensor) -> list[Tensor | None]:
            again = _not_before(upstream, tensors)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(again[:count])
                made_again = call(again[:count], again[count:])[0]
            gradients = tape.gradient(made_again, again[:count], output_gradients=upstream)
            return [*gradients, *([None] * (len(again) - count))]

        return (made, *updated), backward

    # Variables are read here: inside, TensorFlow would differentiate them apart from the arguments.
    read = [tf.convert_to_tensor(tensor) for tensor in (*differentiated, *constant)]
    results = run(*read)
    return results[0], results[1:]


def _not_before(upstream: Tensor, tensors: Tensors) -> list[Tensor]:
    """The tensors, such that what is made of them waits for `upstream`.

    Otherwise a compiled graph would find the second computation equal to the first, and keep that.
    """
    import tensorflow as tf

    with tf.control_dependencies([upstream]):
        return [tf.identity(tensor) for tensor in tensors]
