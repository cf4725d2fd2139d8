"""Several ways through the network, session cleared, optimizer by class name, constraints."""

import keras
from keras import backend, constraints, layers, regularizers


def build_model(hp):
    backend.clear_session()
    keras.utils.set_random_seed(7)
    inputs = layers.Input((8, 8, 3))
    towers = []
    for size in (1, 3):
        if hp.Boolean(f"tower_{size}", default=size == 3):
            towers.append(
                layers.SeparableConv2D(
                    4, size, padding="same", depthwise_regularizer=regularizers.L1L2(1e-5, 1e-5)
                )(inputs)
            )
    if not towers:
        raise ValueError("a network without a tower")
    x = layers.Concatenate()(towers) if len(towers) > 1 else towers[0]
    x = layers.GaussianNoise(0.05)(x)
    x = layers.SpatialDropout2D(0.1)(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.AveragePooling2D(4)(x)
    x = layers.Reshape((-1,))(x)
    x = layers.Dense(4, kernel_constraint=constraints.MaxNorm(2.0), activity_regularizer="l2")(x)
    model = keras.Model(inputs, layers.Activation("softmax")(x))
    optimizer = getattr(keras.optimizers, hp.Choice("opt", ["Adam", "SGD"]))(learning_rate=0.01)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
