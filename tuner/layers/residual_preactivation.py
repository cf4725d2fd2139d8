"""Residual blocks that normalize and activate before the convolution."""

from __future__ import annotations

from typing import Any

import keras

from tuner.layers.residual_layer import BASIC, BOTTLENECK, ResidualLayer
from tuner.layers.shapes import Shape


class PreActivation(ResidualLayer):
    """The order of He et al. 2016b; abstract: `steps` are missing."""

    def build(self, input_shape: Shape) -> None:
        """Build each step on the one before, and a shortcut if the shape changes."""
        shape = input_shape
        for convolution, normalization in zip(self.convolutions, self.normalizations, strict=True):
            normalization.build(shape)
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
        # The shortcut's inputs are normalized already.
        self._build_around_branch(input_shape, normalized_shortcut=False)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add the branch to the shortcut; nothing follows."""
        x = activated = self._activate(self.normalizations[0](inputs, training=training))
        for n, convolution in enumerate(self.convolutions):
            if n > 0:
                x = self._activate(self.normalizations[n](x, training=training))
            x = convolution(self._drop_before(n, x, training))
        # The identity is taken before normalization and activation; a shortcut that changes the
        # shape after them, as in the authors' code and in that of wide residual networks. (The
        # paper's appendix activates before the very first block's identity, too.)
        return self._add(x, inputs if self.shortcut is None else activated, training)


@keras.saving.register_keras_serializable(package="tuner")
class PreActivationBlock(PreActivation):
    """Two 3×3 convolutions, each after normalization and activation, added to the inputs.

        y = shortcut(x) + drop(conv(dropout(relu(BN(conv(relu(BN(x))))))))

    with drop for stochastic depth. Nothing follows the addition: where the shape stays, the inputs
    reach every later block unchanged. A projection is a 1×1 convolution alone, without
    normalization. It is the block of wide residual networks. For arguments and errors see
    `ResidualLayer`.

    Source: He et al. 2016b, "Identity Mappings in Deep Residual Networks", Figure 1 (b);
    Zagoruyko and Komodakis 2016, Figure 1 (c, d).
    """

    steps = BASIC


@keras.saving.register_keras_serializable(package="tuner")
class PreActivationBottleneckBlock(PreActivation):
    """A 3×3 convolution between two of 1×1, each after normalization and activation.

        y = shortcut(x) + drop(conv1x1(dropout(relu(BN(conv3x3(relu(BN(conv1x1(relu(BN(x)))))))))))

    The last convolution goes to 4 * filters channels. Otherwise as `PreActivationBlock`.

    Source: He et al. 2016b, section 4 and appendix.
    """

    steps = BOTTLENECK
