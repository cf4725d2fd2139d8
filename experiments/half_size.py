"""CIFAR-100's 20 superclasses at half the size: 16x16 pixels, each the mean of four.

A data set that a function makes: `dataset: experiments.half_size:load`, where `experiments/` is.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.data import find_dataset


def load() -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
    """Training images with their classes, then test images with theirs."""
    folder = os.environ.get("TUNER_DATA_DIR")
    data = find_dataset("cifar100_coarse").load(Path(folder) if folder else None, test=True)
    train, test = data.train, data.test
    assert test is not None
    return halved(train.images), train.labels, halved(test.images), test.labels


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (n, height, width, channels) of half the height and width."""
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    return np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)
