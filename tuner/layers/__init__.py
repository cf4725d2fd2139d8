"""Keras layers of the network families, written over `keras.ops` for both backends.

They stand on their own in any Keras program; images are `(batch, height, width, channels)`.
"""

from __future__ import annotations

from tuner.layers.convolution import (
    GroupedConvolution,
    PostActivationConvolution,
    PreActivationConvolution,
)
from tuner.layers.dense_block import DenseBlock, DenseLayer, TransitionLayer
from tuner.layers.dropout import Dropout, SpatialDropout2D, StochasticDepth
from tuner.layers.dual_path import DualPathBlock
from tuner.layers.highway import HighwayBlock
from tuner.layers.inception import InceptionBlock
from tuner.layers.normalization import BatchNormalization
from tuner.layers.residual import (
    BottleneckBlock,
    PaddedShortcut,
    PreActivationBlock,
    PreActivationBottleneckBlock,
    ProjectionShortcut,
    ResidualBlock,
)

__all__ = [
    "BatchNormalization",
    "BottleneckBlock",
    "DenseBlock",
    "DenseLayer",
    "Dropout",
    "DualPathBlock",
    "GroupedConvolution",
    "HighwayBlock",
    "InceptionBlock",
    "PaddedShortcut",
    "PostActivationConvolution",
    "PreActivationBlock",
    "PreActivationBottleneckBlock",
    "PreActivationConvolution",
    "ProjectionShortcut",
    "ResidualBlock",
    "SpatialDropout2D",
    "StochasticDepth",
    "TransitionLayer",
]
