"""One hyperparameter for all layers, asked for again and again; layers that share a name prefix."""

import keras
from keras import layers


def dense_block(x, hp, name):
    units = hp.Choice("units", [8, 16])
    act = hp.Choice("activation", ["relu", "tanh", "elu"])
    x = layers.Dense(units, name=f"{name}_dense")(x)
    if hp.Boolean("batch_norm", default=True):
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation(act, name=f"{name}_act")(x)


def build_model(hp):
    img = keras.Input(shape=(8, 8, 3), name="img")
    x = layers.Flatten()(img)
    skip = x = dense_block(x, hp, "first")
    x = dense_block(x, hp, "second")
    x = layers.add([x, skip])
    x = layers.concatenate([dense_block(x, hp, "third"), skip])
    return keras.Model(img, layers.Dense(4, name="logits")(x), name="shared")
