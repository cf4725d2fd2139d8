"""Layers of one's own: weights in `build`, another way in training, a Lambda, an operation."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="programs")
class Attention(layers.Layer):
    def __init__(self, reduction=2, noise=0.0, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction
        self.noise = noise

    def build(self, input_shape):
        channels = input_shape[-1]
        self.w1 = self.add_weight(shape=(channels, channels // self.reduction), name="w1")
        self.w2 = self.add_weight(
            shape=(channels // self.reduction, channels), initializer="he_uniform", name="w2"
        )
        self.gain = self.add_weight(shape=(), initializer="ones", trainable=False, name="gain")

    def call(self, x, training=None):
        pooled = ops.mean(x, axis=(1, 2))
        scale = ops.sigmoid(ops.matmul(ops.relu(ops.matmul(pooled, self.w1)), self.w2))
        if training and self.noise:
            scale = scale * (1.0 - self.noise)
        return x * scale[:, None, None, :] * self.gain

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction, "noise": self.noise}


def build_model(hp):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.ReLU()(x)
    if hp.Boolean("attention", default=True):
        x = Attention(reduction=hp.Choice("reduction", [2, 4]), noise=0.1)(x)
    x = layers.AveragePooling2D(4)(x) + 0.5 * layers.MaxPooling2D(4)(x)
    x = ops.reshape(x, (-1, 2 * 2 * 8))
    return keras.Model(inputs, layers.Dense(4)(x))
