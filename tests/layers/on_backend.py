"""Inputs and weights of layers, Keras' own normalization, and what Keras leaves to its backend."""

from __future__ import annotations

import keras
import numpy as np

BACKEND = keras.backend.backend()


def values(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def images(shape=(2, 5, 4, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer, seed=5):
    """Values at which every weight matters."""
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in layer.get_weights()])


def keras_normalization(layer, x, training):
    """Keras' own with the weights of ours."""
    twin = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    twin.build(x.shape)
    twin.set_weights(layer.get_weights())
    return twin(x, training=training)


def gradients(layer, x, weights, training=True):
    """Of sum(weights * layer(x)): for x, then for each trainable variable."""
    trainable = [keras.ops.convert_to_tensor(v) for v in values(layer.trainable_variables)]
    others = values(layer.non_trainable_variables)

    def loss(x, *trainable):
        outputs, _ = layer.stateless_call(list(trainable), others, x, training=training)
        return keras.ops.sum(keras.ops.cast(outputs, "float32") * weights)

    return [np.array(g) for g in _gradients(loss, [keras.ops.convert_to_tensor(x), *trainable])]


def compiled(function):
    """The function as one compiled program."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    import jax

    return jax.jit(function)


def _gradients(loss, arguments):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arguments)
            result = loss(*arguments)
        return tape.gradient(result, arguments)
    import jax

    return jax.jit(jax.grad(loss, argnums=tuple(range(len(arguments)))))(*arguments)
