"""Conditional scopes inside one another, name scopes, and values asked for again by name."""

import keras
from keras import layers


def build_model(hp):
    inputs = x = keras.Input((8, 8, 3))
    kind = hp.Choice("kind", ["mlp", "cnn"])
    with hp.conditional_scope("kind", ["mlp"]):
        if kind == "mlp":
            x = layers.Flatten()(x)
            depth = hp.Int("mlp_depth", 1, 2)
            for n in range(depth):
                with hp.conditional_scope("mlp_depth", list(range(n + 1, 3))):
                    x = layers.Dense(hp.Int(f"units_{n}", 8, 16, 8), activation="relu")(x)
    with hp.conditional_scope("kind", ["cnn"]):
        if kind == "cnn":
            with hp.name_scope("conv"):
                x = layers.Conv2D(hp.Int("filters", 4, 8, 4), 3, activation="relu")(x)
            x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    outputs = layers.Dense(4)(x)
    model = keras.Model(inputs, outputs)
    hp.Choice("lr", [1e-2, 3e-3])
    model.compile(
        keras.optimizers.RMSprop(learning_rate=hp.get("lr")),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
    )
    return model
