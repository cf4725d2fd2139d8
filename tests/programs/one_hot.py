"""Written for one-hot labels: the categorical loss and metrics, the class and not its name."""

import keras

NUM_CLASSES = 4


def build_model(hp):
    model = keras.models.Sequential(name="one_hot")
    model.add(keras.layers.InputLayer(shape=(8, 8, 3)))
    model.add(keras.layers.Flatten())
    model.add(
        keras.layers.Dense(
            units=hp.Int("units", 8, 16, step=8),
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.l2(hp.Choice("l2", [0.0, 1e-4])),
        )
    )
    model.add(keras.layers.Dense(NUM_CLASSES))
    model.add(keras.layers.Softmax())
    model.compile(
        optimizer=keras.optimizers.SGD(
            learning_rate=hp.Float("lr", 1e-3, 1e-1, sampling="log", default=1e-2),
            momentum=0.9,
            nesterov=True,
        ),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy()],
    )
    return model
