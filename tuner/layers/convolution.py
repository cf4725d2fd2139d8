"""Convolutions, alone and with the normalization and activation that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from tuner.layers.base import KernelLayer, Shape, convolved, runs_on_tensorflow_cpu
from tuner.layers.batch_statistics import BatchStatistics
from tuner.layers.dropout import Dropout, DropoutMode
from tuner.layers.normalization import BatchNormalization

# Source: He et al. 2015 (Keras draws the normal truncated at two standard deviations).
HE_NORMAL = {"kernel_initializer": "he_normal"}


def convolution(
    filters: int,
    kernel_size: int,
    *,
    name: str,
    dtype: Any,
    trainable: bool = True,
    strides: int = 1,
    padding: str = "same",
    use_bias: bool = False,
    bias_initializer: Any = "zeros",
    kernel_arguments: Mapping[str, Any] = HE_NORMAL,
    kind: type[Any] = keras.layers.Conv2D,
) -> Any:
    """A convolution with He initialization, by default without bias: a normalization follows."""
    return kind(
        filters,
        kernel_size,
        strides=strides,
        # With stride 2 "same" pads below and right, where Torch recipes pad all around.
        padding=padding,
        data_format="channels_last",
        use_bias=use_bias,
        bias_initializer=bias_initializer,
        name=name,
        dtype=dtype,
        trainable=trainable,
        **kernel_arguments,
    )


def normalization(*, name: str, dtype: Any, trainable: bool = True) -> BatchNormalization:
    """Batch normalization as in the published ResNet and DenseNet code (Torch).

    Their momentum 0.1 is the weight of the present, 0.9 in Keras' sense; Keras' defaults are
    0.99 and epsilon 1e-3.
    """
    return BatchNormalization(
        momentum=0.9, epsilon=1e-5, name=name, dtype=dtype, trainable=trainable
    )


class PointwiseConvolution(keras.layers.Conv2D):  # type: ignore[misc]
    """A 1×1 convolution with stride 1: on a CPU under TensorFlow a product of matrices.

    Every pixel's channels are a row of the one, the kernel is the other. Forward and backward in ms
    on one core (Zen 5, 64 images, float32) to 48 channels, as a convolution and as a product:

        32×32×114    32×32×208    16×16×208    8×8×256
        31 / 26      47 / 41      14 / 12      6.0 / 4.5
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """What Keras' layer calls, before it adds the bias."""
        if not runs_on_tensorflow_cpu():
            return super().convolution_op(inputs, kernel)
        *sizes, channels = ops.shape(inputs)
        rows = ops.reshape(inputs, (-1, channels))
        product = ops.matmul(rows, ops.reshape(kernel, (channels, self.filters)))
        return ops.reshape(product, (*sizes, self.filters))


class CompositeLayer(KernelLayer):
    """Makes the parts of a block, each with the block's dtype and kernel arguments; abstract.

    A part of a block that is made untrainable is so, too: otherwise a normalization in a block that
    was frozen, saved and loaded would follow batches again.
    """

    def part_arguments(self, name: str) -> dict[str, Any]:
        """What every part is given."""
        return {"name": name, "dtype": self.dtype_policy, "trainable": self.trainable}

    def block_arguments(self, name: str) -> dict[str, Any]:
        """What a part is given that has kernels, or is a block again."""
        return self.part_arguments(name) | self.kernel_arguments()

    def make_convolution(
        self,
        name: str,
        filters: int,
        kernel_size: int,
        *,
        strides: int = 1,
        use_bias: bool = False,
        bias_initializer: Any = "zeros",
    ) -> Any:
        """A part of that name."""
        is_pointwise = kernel_size == strides == 1
        return convolution(
            filters,
            kernel_size,
            strides=strides,
            use_bias=use_bias,
            bias_initializer=bias_initializer,
            kernel_arguments=self.kernel_arguments(),
            # Parts are not saved by their class, so that a model's files are the same.
            kind=PointwiseConvolution if is_pointwise else keras.layers.Conv2D,
            **self.part_arguments(name),
        )

    def make_normalization(self, name: str) -> BatchNormalization:
        """A part of that name."""
        return normalization(**self.part_arguments(name))

    def make_dropout(self, rate: float | None, mode: DropoutMode) -> Dropout | None:
        """The part `dropout`, unless the rate is None."""
        return None if rate is None else Dropout(rate, mode, **self.part_arguments("dropout"))


@keras.saving.register_keras_serializable(package="tuner")
class PostActivationConvolution(CompositeLayer):
    """`activation(BN(conv(x)))`; without normalization the convolution has a bias.

    Args:
        filters: of the convolution.
        kernel_size: of the convolution.
        strides: of the convolution.
        batch_normalization: normalize before the activation.
        activation: a name that Keras knows.

    Source: Ioffe and Szegedy 2015, section 3.2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        batch_normalization: bool = True,
        activation: str = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.batch_normalization = batch_normalization
        self.activation = activation
        self._activate = keras.activations.get(activation)
        self.convolution = self.make_convolution(
            "convolution", filters, kernel_size, strides=strides, use_bias=not batch_normalization
        )
        self.normalization: Any = None
        if batch_normalization:
            self.normalization = self.make_normalization("normalization")

    def build(self, input_shape: Shape) -> None:
        """Build the parts."""
        self.convolution.build(input_shape)
        if self.normalization is not None:
            self.normalization.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve, normalize, activate."""
        x = self.convolution(inputs)
        if self.normalization is not None:
            x = self.normalization(x, training=training)
        return self._activate(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, filters)`, sizes rounded up."""
        return convolved(input_shape, self.filters, self.strides)


@keras.saving.register_keras_serializable(package="tuner")
class PreActivationConvolution(CompositeLayer):
    """`dropout(conv(relu(BN(x))))`, the composite function of DenseNets.

    Args:
        filters: of the convolution.
        kernel_size: of the convolution.
        dropout: initial rate (a runtime value); None for no dropout.
        dropout_mode: the convention, see `Dropout`.

    Source: Huang et al. 2017, section 3, after He et al. 2016b.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        dropout: float | None = None,
        dropout_mode: DropoutMode = "upscale_in_train",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.initial_dropout = dropout
        self.dropout_mode = dropout_mode
        self.normalization = self.make_normalization("normalization")
        self.convolution = self.make_convolution("convolution", filters, kernel_size)
        self.dropout = self.make_dropout(dropout, dropout_mode)

    def build(self, input_shape: Shape) -> None:
        """Build the parts."""
        self.normalization.build(input_shape)
        self.convolution.build(input_shape)
        if self.dropout is not None:
            self.dropout.build(self.compute_output_shape(input_shape))

    def call(
        self,
        inputs: Any,
        training: bool | None = None,
        statistics: BatchStatistics | None = None,
    ) -> Any:
        """Normalize, activate, convolve, drop.

        In training the `statistics` of this batch are used where they are known already.
        """
        if statistics is None:
            x = ops.relu(self.normalization(inputs, training=training))
        else:
            x = self.normalization.relu_with(statistics, inputs)
        x = self.convolution(x)
        return x if self.dropout is None else self.dropout(x, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height, width, filters)`."""
        return convolved(input_shape, self.filters)


@keras.saving.register_keras_serializable(package="tuner")
class GroupedConvolution(KernelLayer):
    """A convolution in which each group of filters sees one group of the channels.

    With g groups the kernel `(kernel_size, kernel_size, channels / g, filters)` has 1/g of the
    weights and the work of an ordinary one. Kernel and result are those of
    `keras.layers.Conv2D(groups=g, padding="same", use_bias=False)`, which on a CPU under TensorFlow
    compiles every call for itself and then takes dozens of times as long.

    Args:
        filters: of all groups together.
        kernel_size: height and width of the kernel.
        groups: how many; channels and filters are multiples of it.
        strides: of the convolution.

    Raises:
        ValueError: filters or channels that are no multiple of groups.

    Source: Krizhevsky et al. 2012, section 3.2; Xie et al. 2017.
    """

    def __init__(
        self, filters: int, kernel_size: int, groups: int, strides: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.strides = strides
        self._check_multiple("filters", filters)

    def build(self, input_shape: Shape) -> None:
        """Create the kernel."""
        channels = input_shape[-1]
        self._check_multiple("channels", channels)
        size, given = self.kernel_size, self.kernel_arguments()
        self.kernel = self.add_weight(
            shape=(size, size, channels // self.groups, self.filters),
            name="kernel",
            initializer=given["kernel_initializer"],
            regularizer=given["kernel_regularizer"],
            constraint=given["kernel_constraint"],
        )

    def call(self, inputs: Any) -> Any:
        """Convolve."""
        kernel = ops.convert_to_tensor(self.kernel)
        if keras.backend.backend() != "tensorflow" or self.groups == 1:
            return self._convolve(inputs, kernel)
        if runs_on_tensorflow_cpu():
            return self._convolve_group_by_group(inputs, kernel)
        return _convolve_by_cudnn(inputs, kernel, self.strides)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, filters)`, sizes rounded up."""
        return convolved(input_shape, self.filters, self.strides)

    def _check_multiple(self, what: str, number: int) -> None:
        if number % self.groups:
            raise ValueError(f"{what} must be a multiple of {self.groups} groups; got {number}")

    def _convolve(self, inputs: Any, kernel: Any) -> Any:
        return ops.conv(inputs, kernel, self.strides, padding="same", data_format="channels_last")

    def _convolve_group_by_group(self, inputs: Any, kernel: Any) -> Any:
        # On a CPU TensorFlow differentiates grouped convolutions in some dtypes and builds only.
        images = ops.split(inputs, self.groups, axis=-1)
        kernels = ops.split(kernel, self.groups, axis=-1)
        pairs = zip(images, kernels, strict=True)
        return ops.concatenate([self._convolve(*pair) for pair in pairs], axis=-1)


def _convolve_by_cudnn(inputs: Any, kernel: Any, strides: int) -> Any:
    import tensorflow as tf

    # The kernel's third axis tells the number of groups.
    return tf.nn.conv2d(inputs, kernel, strides, "SAME")
