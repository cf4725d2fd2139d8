"""The inception module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
from keras import ops

from tuner.layers.base import Shape
from tuner.layers.convolution import CompositeLayer, PostActivationConvolution

PoolingKind = Literal["max", "average"]


@keras.saving.register_keras_serializable(package="tuner")
class InceptionBlock(CompositeLayer):
    """Four branches that look at the same images at several scales, concatenated.

        conv1x1    conv3x3(conv1x1)    conv5x5(conv1x1)    conv1x1(pool3x3)

    each convolution with its normalization and activation. The 1×1 convolutions before the larger
    ones reduce channels, and the one after the pool keeps their number from growing. Without them
    (`reduction=False`, the paper's naive module) the branches are conv1x1, conv3x3, conv5x5 and
    pool3x3: at 192 channels and the filters (64, 96, 128, 16, 32, 32) the kernels then have 387,072
    weights instead of 163,328, and the output has 416 channels instead of 256.

    Args:
        filters: the six columns of the paper's Table 1: 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5,
            pool projection. Without reduction the second, fourth and sixth are not used.
        reduction: have the reducing 1×1 convolutions and the pool projection.
        batch_normalization: normalize after each convolution; otherwise it has a bias.
        activation: after each convolution, a name that Keras knows.
        pooling: of the fourth branch, "max" or "average", 3×3 with stride 1.

    Raises:
        ValueError: not six filters, or an unknown pooling.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 4, Figure 2.
    """

    def __init__(
        self,
        filters: Sequence[int],
        reduction: bool = True,
        batch_normalization: bool = True,
        activation: str = "relu",
        pooling: PoolingKind = "max",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(filters) != 6:
            raise ValueError(f"filters must be the six columns of Table 1; received {filters!r}")
        if pooling not in get_args(PoolingKind):
            raise ValueError(f"pooling must be one of {get_args(PoolingKind)}; got {pooling!r}")
        self.filters = list(filters)
        self.reduction = reduction
        self.batch_normalization = batch_normalization
        self.activation = activation
        self.pooling = pooling
        self._make_branches(*filters)

    def build(self, input_shape: Shape) -> None:
        """Build every branch on the inputs."""
        for branch in self._branches():
            shape = input_shape
            for step in branch:
                step.build(shape)
                shape = step.compute_output_shape(shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Concatenate the branches."""
        *branches, pool_branch = self._branches()
        outputs = [_through(branch, inputs, training) for branch in branches]
        outputs.append(_through(pool_branch, self._pool(inputs), training))
        return ops.concatenate(outputs, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height, width, channels of all branches)`."""
        *images, channels = input_shape
        columns = self.filters
        pooled = columns[5] if self.reduction else channels
        return (*images, columns[0] + columns[2] + columns[4] + pooled)

    def _make_branches(
        self, ones: int, reduce3: int, threes: int, reduce5: int, fives: int, projection: int
    ) -> None:
        self.branch1 = [self._convolution(ones, 1, "branch1")]
        self.branch3 = [self._convolution(threes, 3, "branch3")]
        self.branch5 = [self._convolution(fives, 5, "branch5")]
        self.pool_branch: list[Any] = []
        if self.reduction:
            self.branch3.insert(0, self._convolution(reduce3, 1, "branch3_reduction"))
            self.branch5.insert(0, self._convolution(reduce5, 1, "branch5_reduction"))
            self.pool_branch.append(self._convolution(projection, 1, "pool_projection"))

    def _branches(self) -> list[list[Any]]:
        return [self.branch1, self.branch3, self.branch5, self.pool_branch]

    def _convolution(self, filters: int, kernel_size: int, name: str) -> PostActivationConvolution:
        return PostActivationConvolution(
            filters,
            kernel_size,
            batch_normalization=self.batch_normalization,
            activation=self.activation,
            **self.block_arguments(name),
        )

    def _pool(self, inputs: Any) -> Any:
        pool = ops.max_pool if self.pooling == "max" else ops.average_pool
        return pool(inputs, 3, strides=1, padding="same", data_format="channels_last")


def _through(branch: Sequence[Any], images: Any, training: bool | None) -> Any:
    for step in branch:
        images = step(images, training=training)
    return images
