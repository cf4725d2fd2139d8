"""A data set and experiments so small that a trial takes well under a second.

The network has convolutions, statistics of the batch and random layers, and is quickly compiled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

EXPERIMENT = """
name: tiny
data: {{dataset: {data}, validation: 24, augment: [crop, flip]}}
model:
  family: lenet
  kernel_size: 3
  batch_normalization: true
  activation: relu
  dropout: {{choice: [0, 0.2]}}
training:
  epochs: 2
  batch_size: 16
  learning_rate: {{choice: [0.001, 3.0e+38]}}
"""


def write_data(folder: Path, num_test: int = 0) -> Path:
    """8x8 images of 4 classes that differ in how red they are."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 120), ("test", num_test)):
        labels = np.arange(count) % 4
        images = rng.integers(0, 120, (count, 8, 8, 3))
        images[..., 0] += (labels * 40)[:, None, None]
        if count:
            arrays |= {f"x_{part}": images.astype(np.uint8), f"y_{part}": labels}
    path = folder / "tiny.npz"
    np.savez(path, **arrays)
    return path


def write_experiment(folder: Path, text: str = EXPERIMENT) -> Path:
    """The experiment, with its data beside it."""
    path = folder / "tiny.yaml"
    path.write_text(text.format(data=write_data(folder)))
    return path
