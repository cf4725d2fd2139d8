"""Residual blocks as first published: normalization and activation after the convolution."""

from __future__ import annotations

from typing import Any

import keras

from tuner.layers.residual_layer import BASIC, BOTTLENECK, ResidualLayer
from tuner.layers.shapes import Shape


class PostActivation(ResidualLayer):
    """The order of He et al. 2016; abstract: `steps` are missing."""

    def build(self, input_shape: Shape) -> None:
        """Build each step on the one before, and a shortcut if the shape changes."""
        shape = input_shape
        for convolution, normalization in zip(self.convolutions, self.normalizations, strict=True):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            normalization.build(shape)
        self._build_around_branch(input_shape, normalized_shortcut=self.batch_normalization)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add the branch to the shortcut, then activate."""
        x = inputs
        steps = zip(self.convolutions, self.normalizations, strict=True)
        for n, (convolution, normalization) in enumerate(steps):
            if n > 0:
                x = self._drop_before(n, self._activate(x), training)
            x = normalization(convolution(x), training=training)
        return self._activate(self._add(x, inputs, training))


@keras.saving.register_keras_serializable(package="tuner")
class ResidualBlock(PostActivation):
    """Two 3×3 convolutions whose result is added to the block's inputs.

        y = relu(shortcut(x) + drop(BN(conv(dropout(relu(BN(conv(x))))))))

    with drop for stochastic depth. The shortcut is the identity where the shape stays. A block
    whose branch gives zeros therefore passes what is not negative unchanged, which is what lets
    networks grow deep. For arguments and errors see `ResidualLayer`.

    Source: He et al. 2016, Figure 2 and section 4.2; dropout's place: Zagoruyko and Komodakis 2016;
    that of stochastic depth: Huang et al. 2016.
    """

    steps = BASIC


@keras.saving.register_keras_serializable(package="tuner")
class BottleneckBlock(PostActivation):
    """A 3×3 convolution between two of 1×1, the second to 4 * filters channels.

        y = relu(shortcut(x) + drop(BN(conv1x1(dropout(relu(BN(conv3x3(relu(BN(conv1x1(x))))))))))

    It costs about as much as two 3×3 convolutions on a quarter of the channels, so that networks
    of 50 layers and more stay affordable. For arguments and errors see `ResidualLayer`.

    Source: He et al. 2016, section 4.1, "Deeper Bottleneck Architectures".
    """

    steps = BOTTLENECK
