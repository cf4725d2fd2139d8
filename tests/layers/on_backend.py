"""The two things that Keras leaves to its backend: gradients and compiled functions."""

from __future__ import annotations

import keras
import numpy as np

BACKEND = keras.backend.backend()


def values(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


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
