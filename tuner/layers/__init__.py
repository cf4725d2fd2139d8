"""Keras layers of the network families, written over `keras.ops` for both backends.

They stand on their own in any Keras program; images are `(batch, height, width, channels)`.
"""

from __future__ import annotations

from tuner.layers.dense_block import DenseBlock, DenseLayer, TransitionLayer
from tuner.layers.dropout import Dropout
from tuner.layers.normalization import BatchNormalization
from tuner.layers.preactivation import PreActivationConvolution
from tuner.layers.residual import ResidualBlock
from tuner.layers.shortcut import PaddedShortcut, ProjectionShortcut

__all__ = [
    "BatchNormalization",
    "DenseBlock",
    "DenseLayer",
    "Dropout",
    "PaddedShortcut",
    "PreActivationConvolution",
    "ProjectionShortcut",
    "ResidualBlock",
    "TransitionLayer",
]
