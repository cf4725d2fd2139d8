"""The block of dual path networks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tuner.layers.base import Shape, convolved
from tuner.layers.convolution import CompositeLayer, GroupedConvolution

# Dense channels that a projection gives, in growth rates. Source: the authors' code.
PROJECTED_GROWTH = 2


@keras.saving.register_keras_serializable(package="tuner")
class DualPathBlock(CompositeLayer):
    """Adds to one path and appends to the other: a residual and a dense block in one.

    The first `residual_filters` channels are the residual path, all others the dense path. What a
    bottleneck makes of both is split at the same channel:

        residual, dense = split(x, or with projection conv1x1(relu(BN(x))))
        added, appended = split(conv1x1(relu(BN(conv3x3(relu(BN(conv1x1(relu(BN(x))))))))))
        y = concatenate(residual + added, dense, appended)

    The dense path grows by growth_rate a block. A projection starts it anew with 2 * growth_rate
    channels, so that such a block gives residual_filters + 3 * growth_rate whatever it gets.

    Args:
        filters: of the 1×1 and the grouped 3×3 convolution.
        residual_filters: channels of the residual path.
        growth_rate: channels that are appended.
        groups: of the 3×3 convolution.
        strides: of the 3×3 convolution and the projection.
        projection: make both paths by a 1×1 convolution, at the start of a stage.

    Raises:
        ValueError: filters that are no multiple of groups; strides without projection; inputs
            without a dense path and without projection.

    Source: Chen et al. 2017, "Dual Path Networks", section 4.1 and Figure 2d.
    """

    def __init__(
        self,
        filters: int,
        residual_filters: int,
        growth_rate: int,
        groups: int = 1,
        strides: int = 1,
        projection: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if strides > 1 and not projection:
            raise ValueError(f"strides {strides} need projection=True: both paths shrink")
        self.filters = filters
        self.residual_filters = residual_filters
        self.growth_rate = growth_rate
        self.groups = groups
        self.strides = strides
        self.projection = projection
        self.normalization1 = self.make_normalization("normalization1")
        self.convolution1 = self.make_convolution("convolution1", filters, 1)
        self.normalization2 = self.make_normalization("normalization2")
        self.convolution2 = GroupedConvolution(
            filters, 3, groups, strides, **self.block_arguments("convolution2")
        )
        self.normalization3 = self.make_normalization("normalization3")
        self.convolution3 = self.make_convolution("convolution3", residual_filters + growth_rate, 1)
        if projection:
            self._make_projection()

    def build(self, input_shape: Shape) -> None:
        """Build the bottleneck, and the projection if there is one."""
        *output_images, _ = self.compute_output_shape(input_shape)
        middle = (*input_shape[:-1], self.filters)
        strided_middle = (*output_images, self.filters)
        self.normalization1.build(input_shape)
        self.convolution1.build(input_shape)
        self.normalization2.build(middle)
        self.convolution2.build(middle)
        self.normalization3.build(strided_middle)
        self.convolution3.build(strided_middle)
        if self.projection:
            self.projection_normalization.build(input_shape)
            self.projection_convolution.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add and append."""
        split = [self.residual_filters]
        x = self.convolution1(ops.relu(self.normalization1(inputs, training=training)))
        x = self.convolution2(ops.relu(self.normalization2(x, training=training)))
        x = self.convolution3(ops.relu(self.normalization3(x, training=training)))
        added, appended = ops.split(x, split, axis=-1)
        residual, dense = ops.split(self._carry(inputs, training), split, axis=-1)
        return ops.concatenate([residual + added, dense, appended], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """`(batch, height / strides, width / strides, channels + growth_rate)`.

        With projection the channels are residual_filters + 3 * growth_rate.
        """
        channels = input_shape[-1]
        if self.projection:
            channels = self.residual_filters + PROJECTED_GROWTH * self.growth_rate
        if channels <= self.residual_filters:
            raise ValueError(
                f"{channels} channels leave no dense path beside {self.residual_filters} residual "
                "filters; use projection=True"
            )
        return convolved(input_shape, channels + self.growth_rate, self.strides)

    def _make_projection(self) -> None:
        filters = self.residual_filters + PROJECTED_GROWTH * self.growth_rate
        self.projection_normalization = self.make_normalization("projection_normalization")
        self.projection_convolution = self.make_convolution(
            "projection_convolution", filters, 1, strides=self.strides
        )

    def _carry(self, inputs: Any, training: bool | None) -> Any:
        """Both paths as they come to the addition and the concatenation."""
        if not self.projection:
            return inputs
        x = ops.relu(self.projection_normalization(inputs, training=training))
        return self.projection_convolution(x)
