"""What people write in compile() and in HyperModel.fit."""

from __future__ import annotations

import copy

import keras
import keras_tuner
from keras.optimizers import SGD, Adam, RMSprop
from keras.optimizers.schedules import ExponentialDecay

IMAGE, CLASSES = (8, 8, 3), 4


def network(units=None, activation=None):
    x = image = keras.Input(IMAGE)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    x = x if units is None else keras.layers.Dense(units, activation="relu")(x)
    return keras.Model(image, keras.layers.Dense(CLASSES, activation=activation)(x))


def compiled(optimizer="adam", loss="sparse_categorical_crossentropy", **options):
    model = network(activation="softmax")
    model.compile(optimizer, loss, **options)
    return model


def optimizers(hp):
    return compiled(hp.Choice("optimizer", ["lion", "adam", "sgd", "ftrl"]))


def schedule(hp):
    rate = hp.Float("lr", 1e-4, 1e-1, sampling="log")
    if hp.Boolean("decay"):
        rate = ExponentialDecay(rate, 10, hp.Float("decay_rate", 0.8, 0.9))
    return compiled(Adam(rate))


def losses(hp):
    return compiled(loss=hp.Choice("loss", ["mse", "sparse_categorical_crossentropy"]))


def clipped(hp):
    return compiled(SGD(clipnorm=hp.Float("clip", 0.5, 2.0)))


def together(hp):
    """Only one optimizer is clipped, and by default neither it nor the clipping."""
    clip, kind = hp.Boolean("clip"), hp.Choice("kind", ["adam", "sgd"])
    return compiled(SGD(clipnorm=1.0 if clip else None) if kind == "sgd" else "adam")


def failing(hp):
    if hp.Choice("size", [1, 2, 3]) == 3:
        raise ValueError("three is too much")
    return compiled()


def smoothed(hp):
    smoothing = hp.Float("smoothing", 0.0, 0.2)
    return compiled(loss=keras.losses.CategoricalCrossentropy(label_smoothing=smoothing))


def sometimes_compiled(hp):
    return compiled() if hp.Boolean("compile") else network()


def dead(hp):
    """One that is never used, one that is only beside another, and two that compile() reads."""
    hp.Int("never", 1, 5)
    rate = hp.Float("rate", 0, 0.5)
    x = image = keras.Input(IMAGE)
    if hp.Boolean("drop"):
        x = keras.layers.Dropout(rate)(x)
    model = keras.Model(image, keras.layers.Dense(CLASSES, "softmax")(keras.layers.Flatten()(x)))
    kind = {"adam": Adam, "rmsprop": RMSprop}[hp.Choice("kind", ["adam", "rmsprop"])]
    model.compile(kind(hp.Float("lr", 1e-3, 1e-1)), "sparse_categorical_crossentropy")
    return model


def pretrained(hp):
    model = network()
    if hp.Boolean("pretrained"):
        model.layers[-1].set_weights([w * 0 + 7 for w in model.layers[-1].get_weights()])
    return model


class Fitted(keras_tuner.HyperModel):
    """`fit` is added by each of the others."""

    def build(self, hp):
        return compiled()


class Bound(Fitted):
    """As the official guide does it."""

    def fit(self, hp, model, *args, **kwargs):
        size, shuffle = hp.Choice("batch", [8, 16]), hp.Boolean("shuffle")
        return model.fit(*args, batch_size=size, shuffle=shuffle, epochs=3, **kwargs)


class Loud(Fitted):
    """`verbose` is not among what keras-tuner gives unless search() was given it."""

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch", [8, 16]), verbose=2, **kwargs)


class Collides(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, callbacks=[], **kwargs)


class ByTable(Fitted):
    def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
        return model.fit(
            x=x,
            y=y,
            batch_size=2 ** hp.Int("log_size", 3, 5),
            epochs=hp.Int("epochs", 2, 50),
            class_weight={0: 1.0, 1: 2} if hp.Boolean("weighted") else None,
            validation_data=(validation_data[0], validation_data[1])
            if isinstance(validation_data, tuple)
            else None,
            callbacks=callbacks,
            verbose=2,
        )


class Nested(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        size = hp.Choice("size", [8, 16]) if hp.Boolean("own_size") else 64
        return model.fit(*args, batch_size=size, **kwargs)


class OfBuild(Fitted):
    """One value for both."""

    def build(self, hp):
        model = network(hp.Choice("size", [8, 16]), "softmax")
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.get("size"), **kwargs)


class NeedsEpochs(Fitted):
    def fit(self, hp, model, x, y, batch_size, **kwargs):
        return model.fit(x, y, batch_size, epochs=kwargs.pop("epochs"), **kwargs)


class Stops(Fitted):
    def fit(self, hp, model, *args, callbacks, **kwargs):
        stop = keras.callbacks.EarlyStopping(patience=hp.Int("patience", 1, 3))
        kept = keras.callbacks.CSVLogger("log.csv")
        callbacks = [*copy.deepcopy(callbacks), stop, kept]
        return model.fit(*args, callbacks=callbacks, **kwargs)


class Crops(Fitted):
    def fit(self, hp, model, x, y, **kwargs):
        return model.fit(x[: hp.Int("images", 100, 200)], y, **kwargs)


class Normalizes(Fitted):
    def fit(self, hp, model, x, y, **kwargs):
        if hp.Boolean("normalize"):
            x = keras.layers.Normalization()(x)
        return model.fit(x, y, **kwargs)


class Weighs(Fitted):
    def fit(self, hp, model, x, y, **kwargs):
        import numpy as np

        return model.fit(x, y, class_weight=dict(enumerate(1 / np.bincount(y))), **kwargs)


class Scores(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        return max(model.fit(*args, **kwargs).history["val_accuracy"])


class OwnLoop(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        hp.Choice("batch_size", [8, 16])
        return 0.5


class Product(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        size = hp.Choice("a", [1, 2]) * hp.Choice("b", [8, 16])
        return model.fit(*args, batch_size=size, **kwargs)


class Splits(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, validation_split=0.2, **kwargs)


class Compiles(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model.fit(*args, **kwargs)


class Freezes(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        model.layers[-1].trainable = False
        return model.fit(*args, **kwargs)


class Raises(Fitted):
    def fit(self, hp, model, *args, **kwargs):
        raise RuntimeError("no luck in fit")
