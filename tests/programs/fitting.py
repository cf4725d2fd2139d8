"""The way of the official guide: batch size and shuffling are searched in `fit`."""

import keras
import keras_tuner


class MyHyperModel(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential()
        model.add(keras.layers.Flatten())
        model.add(
            keras.layers.Dense(
                units=hp.Int("units", min_value=8, max_value=16, step=8), activation="relu"
            )
        )
        model.add(keras.layers.Dense(4, activation="softmax"))
        model.compile(
            optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(
            *args,
            batch_size=hp.Choice("batch_size", [16, 24]),
            shuffle=hp.Boolean("shuffle"),
            **kwargs,
        )
