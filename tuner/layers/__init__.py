"""Keras layers of the network families, written over `keras.ops` for both backends.

They stand on their own in any Keras program; images are `(batch, height, width, channels)`.
"""

from __future__ import annotations

from tuner.layers.dense_block import DenseBlock, DenseLayer, TransitionLayer
from tuner.layers.dropout import Dropout
from tuner.layers.dual_path import DualPathBlock
from tuner.layers.grouped import GroupedConvolution
from tuner.layers.highway import HighwayBlock
from tuner.layers.inception import InceptionBlock
from tuner.layers.normalization import BatchNormalization
from tuner.layers.postactivation import PostActivationConvolution
from tuner.layers.preactivation import PreActivationConvolution
from tuner.layers.residual import BottleneckBlock, ResidualBlock
from tuner.layers.residual_preactivation import PreActivationBlock, PreActivationBottleneckBlock
from tuner.layers.shortcut import PaddedShortcut, ProjectionShortcut
from tuner.layers.spatial_dropout import SpatialDropout2D
from tuner.layers.stochastic_depth import StochasticDepth

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
