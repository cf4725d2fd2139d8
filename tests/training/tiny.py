"""A small network on small images: what the tests of programs share."""

from __future__ import annotations

import keras
import numpy as np

from tuner.data.images import ImageData, channel_statistics
from tuner.models import FAMILIES
from tuner.training.trial import blueprint, program_class

BACKEND = keras.backend.backend()
CLASSES, SIZE = 4, 8
TRAINING = {
    "epochs": 3,
    "batch_size": 16,
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-7,
    "l2": 0.0,
    "label_smoothing": 0.0,
    "schedule": "constant",
    "warmup_epochs": 0,
}


def make_data(num_train=70, num_validation=37, seed=0):
    """Images whose brightness and red tell the class, with noise."""
    rng = np.random.default_rng(seed)

    def images(count):
        labels = rng.integers(0, CLASSES, count).astype(np.int32)
        pixels = rng.integers(0, 120, (count, SIZE, SIZE, 3))
        pixels[..., 0] += (labels * 40)[:, None, None]
        return pixels.astype(np.uint8), labels

    x_train, y_train = images(num_train)
    x_validation, y_validation = images(num_validation)
    mean, std = channel_statistics(x_train)
    return ImageData(x_train, y_train, x_validation, y_validation, CLASSES, mean, std, {})


def place(data, augment=(), **options):
    return program_class(BACKEND).place(data, augment, **options)


def network(family, **values):
    return FAMILIES[family].config(**values).model_dump()


# With all that a program has to care for, and quickly compiled.
NETWORK = network("lenet", kernel_size=3, batch_normalization=True, activation="relu", dropout=0.3)


def make_program(images, model=NETWORK, *, switches=("dropout",), precision="float32", **training):
    plan = blueprint(
        model,
        {**TRAINING, **training},
        switches=switches,
        precision=precision,
        images=images,
    )
    return program_class(BACKEND)(plan, images)
