"""Layers that are computed again in the backward pass."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.on_backend import BACKEND, compiled, gradients, values
from tuner.layers import PreActivationConvolution
from tuner.layers.recompute import recomputed

SHAPE = (3, 4, 4, 6)


@keras.saving.register_keras_serializable(package="tests")
class Recomputed(keras.layers.Layer):
    """The inner layer on two pieces of the inputs."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs, training=None):
        return recomputed(self.inner, ops.split(inputs, [2], axis=-1), training)


def images(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def make(dropout=0.4):
    layer = PreActivationConvolution(5, 3, dropout, name="step")
    layer.build(SHAPE)
    return layer


def twins(dropout=0.4):
    plain, wrapped = make(dropout), Recomputed(make(dropout))
    wrapped.built = True
    for mine, other in zip(plain.variables, wrapped.variables, strict=True):
        other.assign(ops.convert_to_numpy(mine))
    return plain, wrapped


@pytest.mark.parametrize("dropout", [None, 0.4])
def test_the_gradients_are_those_of_the_layer(dropout):
    found = [gradients(layer, images(), images(1, (3, 4, 4, 5))) for layer in twins(dropout)]
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-5)


def call(layer, state, training=True):
    """(outputs, new state) as one program, for JAX compiles operation by operation otherwise."""

    def run(trainable, state, x):
        return layer.stateless_call(trainable, state, x, training=training)

    outputs, new = compiled(run)(values(layer.trainable_variables), state, images())
    return ops.convert_to_numpy(outputs), values(new)


def test_outputs_and_state_move_on_as_in_the_layer_and_once():
    plain, wrapped = twins()
    state = values(plain.non_trainable_variables)
    (expected, expected_state), (outputs, new) = call(plain, state), call(wrapped, state)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for before, after, wanted in zip(state, new, expected_state, strict=True):
        np.testing.assert_allclose(after, wanted, rtol=1e-6)
        assert before.shape == () or (before != after).any()  # all but the rate


def test_at_prediction_it_is_the_layer():
    plain, wrapped = twins()
    state = values(plain.non_trainable_variables)
    (expected, _), (outputs, new) = call(plain, state, False), call(wrapped, state, False)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    for before, after in zip(state, new, strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.skipif(BACKEND == "jax", reason="a stateless call assigns to no variable")
def test_without_a_scope_the_variables_themselves_are_updated_once():
    plain, wrapped = twins()
    for layer in (plain, wrapped):
        layer(images(), training=True)
    for mine, other in zip(values(plain.variables), values(wrapped.variables), strict=True):
        np.testing.assert_allclose(other, mine, rtol=1e-6)


@pytest.mark.skipif(BACKEND != "jax", reason="what a backward pass keeps is told by JAX alone")
def test_inputs_and_weights_are_all_that_is_kept():
    import jax

    _, wrapped = twins()
    trainable = [v.value for v in wrapped.trainable_variables]
    state = [v.value for v in wrapped.non_trainable_variables]

    def backward(x, trainable):
        def call(x, trainable):
            return wrapped.stateless_call(trainable, state, x, training=True)[0]

        return jax.vjp(call, x, trainable)[1]

    kept = jax.tree.leaves(jax.eval_shape(backward, images(), trainable))
    assert sum(array.size for array in kept if array.shape[:3] == SHAPE[:3]) == 3 * 96


@pytest.mark.skipif(BACKEND != "tensorflow", reason="looks at a TensorFlow graph")
def test_the_second_computation_waits_for_the_gradient():
    import tensorflow as tf

    _, wrapped = twins()

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(wrapped(x, training=True) ** 2)
        return tape.gradient(loss, x)

    graph = compiled(step).get_concrete_function(tf.TensorSpec(SHAPE)).graph
    normalizations = [op for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    # What is normalized is a concatenation; the last input of that is the axis.
    pieces = [op.inputs[0].op.inputs[:-1] for op in normalizations]
    assert [all(x.op.control_inputs for x in xs) for xs in pieces] == [False, True]
