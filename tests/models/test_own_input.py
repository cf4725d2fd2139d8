"""What a person's network does first to its pixels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tuner.models.own.build import run_undrawn
from tuner.models.own.input import NOT_ADAPTED, STANDARDIZING, UNKNOWN, first_rescaling


def begins(make):
    def build(hp):
        image = keras.Input((8, 8, 3))
        return keras.Model(image, layers.Dense(4)(layers.Flatten()(make(image))))

    return build


def adapted(image):
    layer = layers.Normalization()
    layer.adapt(np.arange(24, dtype="float32").reshape(8, 3))
    return layer(image)


def deferred(hp):
    return keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255), layers.Dense(4)])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.rescale = layers.Rescaling(1 / 255)
        self.head = layers.Dense(4)

    def call(self, images):
        return self.head(self.rescale(images))


class Mine(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(), name="scale")

    def call(self, images):
        return images * self.scale


def attended(image):
    return layers.Multiply()([image, layers.ZeroPadding2D(0)(image)])


applications = keras.applications


@pytest.mark.parametrize(
    ("build", "does"),
    [
        (begins(layers.Rescaling(1 / 255)), "Rescaling"),
        (begins(lambda x: layers.Rescaling(1 / 255)(layers.RandomFlip()(x))), "Rescaling"),
        (begins(keras.Sequential([layers.Rescaling(1 / 255)])), "Rescaling"),
        (begins(lambda x: x / 255.0), "a division"),
        (begins(applications.mobilenet.preprocess_input), "a division"),
        (begins(applications.vgg16.preprocess_input), "an addition"),
        (begins(layers.Normalization(mean=[1, 2, 3], variance=[4, 4, 4])), "Normalization"),
        (begins(adapted), "Normalization"),
        (begins(layers.Normalization()), NOT_ADAPTED),
        (begins(layers.BatchNormalization()), STANDARDIZING),
        (begins(layers.Lambda(lambda x: x / 255)), UNKNOWN),
        (begins(Mine()), UNKNOWN),
        (begins(lambda x: x), ""),
        (begins(attended), ""),
        (begins(lambda x: layers.Rescaling(2.0)(layers.Conv2D(3, 1)(x))), ""),
        (deferred, "Rescaling"),
        (lambda hp: Subclassed(), "Rescaling"),
        (
            lambda hp: applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3)),
            "Rescaling",
        ),
    ],
)
def test_what_the_network_does_first(build, does):
    assert first_rescaling(run_undrawn(build, {}, None).model) == does
