"""Own networks that ask for more memory than there is.

What they take is asked for while they train, and only then: building and costing them is harmless,
and the amounts are refused by the system at once, or by a limit that a test has set.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

BLOCK = 65536  # floats; 256 kB for each image
ABSURD = 2**30  # blocks: 256 TB for each image, more than any address space


@keras.saving.register_keras_serializable(package="fault_nets")
class Hungry(keras.layers.Layer):
    """Passes its input on, and takes `blocks` times 256 kB for each image of a training batch."""

    def __init__(self, blocks: int, **others: Any) -> None:
        super().__init__(**others)
        self.blocks = blocks

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        mean = ops.mean(x, axis=-1)[:, None, None]
        # cumsum, so that no compiler finds a way around having all of it
        wide = ops.cumsum(ops.broadcast_to(mean, (ops.shape(x)[0], self.blocks, BLOCK)), axis=-1)
        return x + 0.0 * ops.stop_gradient(ops.max(wide, axis=(1, 2))[:, None])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "blocks": self.blocks}


def hungry(hp: Any) -> keras.Model:
    """A small network of 8x8 images and 4 classes with an appetite, in blocks for each image."""
    blocks = hp.Choice("blocks", [1, 2, ABSURD])
    images = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(images)
    x = keras.layers.Dense(8, activation="relu")(x)
    x = Hungry(blocks)(x)
    return keras.Model(images, keras.layers.Dense(4)(x))
