"""A Sequential that learns the shape of its input from the data, with an optimizer by name."""

import keras
from keras.layers import Conv2D, Dense, Flatten, LeakyReLU, MaxPool2D


def build_model(hp):
    model = keras.Sequential(
        [
            Conv2D(hp.Choice("filters", [4, 8]), 3, padding="same"),
            LeakyReLU(negative_slope=hp.Choice("slope", [0.1, 0.3])),
            MaxPool2D(),
            Flatten(),
            Dense(4, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=hp.Choice("optimizer", ["adam", "sgd", "rmsprop", "nadam", "adagrad"]),
        loss="sparse_categorical_crossentropy",
        metrics=["sparse_categorical_accuracy"],
    )
    return model
