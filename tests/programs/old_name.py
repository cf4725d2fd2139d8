"""From the days of `import kerastuner`: a HyperModel that is made with arguments."""

import kerastuner as kt
from tensorflow import keras


class MyHyperModel(kt.HyperModel):
    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.input_shape = input_shape
        self.num_classes = num_classes

    def build(self, hp):
        model = keras.Sequential()
        model.add(keras.layers.Flatten(input_shape=self.input_shape))
        for i in range(hp.Int("num_layers", 1, 2)):
            model.add(
                keras.layers.Dense(
                    units=hp.Int("units_" + str(i), min_value=8, max_value=16, step=8),
                    activation="relu",
                )
            )
        model.add(keras.layers.Dense(self.num_classes, activation="softmax"))
        model.compile(
            optimizer=keras.optimizers.Adam(hp.Choice("learning_rate", [1e-2, 1e-3])),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model


hypermodel = MyHyperModel(input_shape=(8, 8, 3), num_classes=4)
