"""Subclasses of keras.Model that build their layers when they are called."""

import keras
from keras import layers


@keras.saving.register_keras_serializable()
class ResidualUnit(layers.Layer):
    def __init__(self, filters, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.main = [
            layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
        ]
        self.skip = []
        if strides > 1:
            self.skip = [layers.Conv2D(filters, 1, strides=strides), layers.BatchNormalization()]

    def call(self, inputs, training=False):
        z = inputs
        for layer in self.main:
            z = layer(z, training=training) if "normalization" in layer.name else layer(z)
        skip = inputs
        for layer in self.skip:
            skip = layer(skip)
        return keras.activations.relu(z + skip)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


@keras.saving.register_keras_serializable()
class SmallResNet(keras.Model):
    def __init__(self, num_units, filters, **kwargs):
        super().__init__(**kwargs)
        self.num_units = num_units
        self.filters = filters
        self.stem = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")
        self.units = [ResidualUnit(filters, strides=1 + (n == 1)) for n in range(num_units)]
        self.pool = layers.Flatten()
        self.head = layers.Dense(4, activation="softmax")

    def call(self, x):
        x = self.stem(x)
        for unit in self.units:
            x = unit(x)
        return self.head(self.pool(x))

    def get_config(self):
        return {"num_units": self.num_units, "filters": self.filters, "name": self.name}


def build_model(hp):
    model = SmallResNet(hp.Int("num_units", 1, 2), hp.Choice("filters", [4, 8]))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=hp.Choice("lr", [1e-2, 5e-3]), epsilon=1e-5),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    return model
