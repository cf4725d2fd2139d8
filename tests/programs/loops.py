"""Loops of layers whose number and sizes are searched; losses and metrics by name."""

from tensorflow import keras
from tensorflow.keras import layers


def build_model(hp):
    model = keras.Sequential()
    model.add(layers.Input(shape=(8, 8, 3)))
    for i in range(hp.Int("conv_blocks", 1, 2)):
        filters = hp.Int(f"filters_{i}", min_value=4, max_value=12, step=4)
        model.add(layers.Conv2D(filters, kernel_size=(3, 3), padding="same", activation="relu"))
        if hp.Choice(f"pooling_{i}", ["avg", "max"]) == "max":
            model.add(layers.MaxPooling2D())
        else:
            model.add(layers.AveragePooling2D((2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dropout(hp.Float("dropout", 0, 0.3, step=0.1, default=0)))
    model.add(layers.Dense(4, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.Adam(
            hp.Float("learning_rate", 1e-3, 1e-2, sampling="log", default=5e-3)
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
