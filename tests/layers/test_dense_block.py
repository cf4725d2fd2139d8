"""Dense layers, blocks and transitions, and layers that are computed again."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.on_backend import BACKEND, compiled, gradients, values
from tuner.layers import DenseBlock, DenseLayer, PreActivationConvolution, TransitionLayer
from tuner.layers.dense_block import recomputed


def images(shape=(2, 4, 4, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer, seed=5):
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in layer.get_weights()])


def keras_step(step, x, training):
    """Normalization, relu and convolution from Keras' own parts, with the step's weights."""
    twin = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    twin.build(x.shape)
    twin.set_weights(step.normalization.get_weights())
    x = keras.ops.relu(twin(x, training=training))
    return keras.ops.conv(x, step.convolution.kernel, padding="same")


@pytest.mark.parametrize("bottleneck", [False, True])
def test_layer_l_sees_the_entrance_and_the_growth_of_all_before_it(bottleneck):
    block = DenseBlock(4, 5, bottleneck=bottleneck)
    block.build((None, 8, 8, 7))
    seen = [layer.steps[0].normalization.gamma.shape[0] for layer in block.dense_layers]
    assert seen == [7, 12, 17, 22]
    assert block.compute_output_shape((None, 8, 8, 7)) == (None, 8, 8, 27)
    made = [layer.steps[-1].convolution.kernel.shape[-1] for layer in block.dense_layers]
    assert made == [5] * 4


@pytest.mark.parametrize("training", [True, False])
def test_the_entrance_leaves_the_block_unchanged(training):
    x = images()
    y = np.array(DenseBlock(3, 2)(x, training=training))
    assert y.shape == (2, 4, 4, 9)
    np.testing.assert_array_equal(y[..., :3], x)


def test_a_bottleneck_is_four_growth_rates_wide():
    layer = DenseLayer(5, bottleneck=True)
    layer.build((None, 8, 8, 7))
    kernels = [step.convolution.kernel.shape for step in layer.steps]
    assert kernels == [(1, 1, 7, 20), (3, 3, 20, 5)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_agrees_with_keras_layers(bottleneck, training):
    block, x = DenseBlock(3, 2, bottleneck=bottleneck), images()
    block.build(x.shape)
    randomize(block)
    expected = x
    for layer in block.dense_layers:
        y = expected
        for step in layer.steps:
            y = keras_step(step, y, training)
        expected = keras.ops.concatenate([expected, y], axis=-1)
    y = np.array(block(x, training=training))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-4)


def test_every_weight_gets_a_gradient():
    block, x = DenseBlock(3, 2, bottleneck=True), images()
    block.build(x.shape)
    randomize(block)
    found = gradients(block, x, images((2, 4, 4, 9), seed=3))
    assert len(found) == 1 + 3 * 6
    assert all(np.abs(g).max() > 1e-7 for g in found)


@pytest.mark.parametrize(("bottleneck", "expected"), [(False, 3), (True, 6)])
def test_dropout_follows_every_convolution(bottleneck, expected):
    x = images()
    block = DenseBlock(3, 2, bottleneck=bottleneck, dropout=0.5)
    block.build(x.shape)
    rates = [layer.rate for layer in block._flatten_layers() if hasattr(layer, "hyperparameter")]
    assert len(rates) == expected
    first, second = (np.array(block(x, training=True)) for _ in range(2))
    assert (first != second).any()
    for rate in rates:
        rate.assign(0.0)
    first, second = (np.array(block(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("compression", "channels", "kept"),
    [(1.0, 7, 7), (0.5, 7, 3), (0.5, 8, 4), (0.29, 100, 29), (0.1, 10, 1)],
)
def test_a_transition_keeps_its_share_of_channels_and_halves_the_images(
    compression, channels, kept
):
    x = images((1, 5, 4, channels))
    layer = TransitionLayer(compression)
    assert layer.compute_output_shape(x.shape) == (1, 2, 2, kept)
    assert np.array(layer(x)).shape == (1, 2, 2, kept)


@pytest.mark.parametrize("training", [True, False])
def test_a_transition_agrees_with_keras_layers(training):
    layer, x = TransitionLayer(0.5), images((2, 4, 4, 6))
    layer.build(x.shape)
    randomize(layer)
    expected = keras.ops.average_pool(keras_step(layer.step, x, training), 2, strides=2)
    np.testing.assert_allclose(np.array(layer(x, training=training)), expected, atol=1e-4)


@pytest.mark.parametrize("compression", [0.0, -0.5, 1.01])
def test_refuses_a_compression_out_of_range(compression):
    with pytest.raises(ValueError, match=r"compression must be in \(0, 1\]; received"):
        TransitionLayer(compression)


def test_refuses_to_leave_no_channel():
    with pytest.raises(ValueError, match=r"compression 0\.1 leaves none of 5 channels"):
        TransitionLayer(0.1).build((None, 4, 4, 5))


def test_refuses_images_too_small_to_pool():
    with pytest.raises(ValueError, match="1x4 are too small"):
        TransitionLayer(0.5).build((None, 1, 4, 8))


def efficient_twins(**arguments):
    """A usual block and a memory-efficient one with the same values."""
    usual, efficient = (
        DenseBlock(2, 2, **arguments, memory_efficient=kind, name="block") for kind in (False, True)
    )
    for block in (usual, efficient):
        block.build((2, 4, 4, 3))
    randomize(usual)
    for mine, other in zip(usual.variables, efficient.variables, strict=True):
        other.assign(keras.ops.convert_to_numpy(mine))
    return usual, efficient


@pytest.mark.parametrize("arguments", [{}, {"bottleneck": True, "dropout": 0.3}])
def test_a_memory_efficient_block_has_the_same_gradients(arguments):
    blocks, weights = efficient_twins(**arguments), images((2, 4, 4, 7), seed=3)
    found = [gradients(block, images(), weights) for block in blocks]
    for usual, efficient in zip(*found, strict=True):
        np.testing.assert_allclose(efficient, usual, rtol=1e-3, atol=1e-4)


def test_a_memory_efficient_block_has_the_same_weights_under_the_same_names(tmp_path):
    models = []
    for block in efficient_twins(bottleneck=True, dropout=0.3):
        inputs = keras.Input((4, 4, 3), name="image")
        models.append(keras.Model(inputs, block(inputs)))
    usual, efficient = models
    assert [v.path for v in efficient.variables] == [v.path for v in usual.variables]
    efficient.save_weights(tmp_path / "of.weights.h5")
    expected = [keras.ops.convert_to_numpy(v) for v in efficient.variables]
    for variable in efficient.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    usual.load_weights(tmp_path / "of.weights.h5")
    for variable, value in zip(usual.variables, expected, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="slow, and says nothing new there")
def test_a_memory_efficient_block_trains_in_keras():
    losses = []
    for block in efficient_twins(bottleneck=True):
        inputs = keras.Input((4, 4, 3))
        model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(block(inputs)))
        model.compile(keras.optimizers.SGD(0.01), "mse")
        history = model.fit(images(), np.ones((2, 7)), epochs=3, verbose=0, shuffle=False)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[1][2] < losses[1][0]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone tells what it keeps")
def test_what_a_memory_efficient_block_keeps_grows_with_its_layers_alone():
    import jax

    def kept(num_layers, memory_efficient):
        block = DenseBlock(num_layers, 2, bottleneck=True, memory_efficient=memory_efficient)
        block.build((2, 4, 4, 3))
        trainable, state = (
            [v.value for v in variables]
            for variables in (block.trainable_variables, block.non_trainable_variables)
        )

        def backward(x):
            def call(x):
                return block.stateless_call(trainable, state, x, training=True)[0]

            return jax.vjp(call, x)[1]

        arrays = jax.tree.leaves(jax.eval_shape(backward, images()))
        return sum(array.size for array in arrays if array.shape[:1] == (2,))

    # A layer keeps the 8 channels of its bottleneck and its own 2, at 32 pixels of a batch.
    assert kept(3, True) - kept(2, True) == kept(2, True) - kept(1, True) == 32 * 10
    assert kept(3, False) > 2 * kept(3, True)


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


def inputs_of(seed=0, shape=SHAPE):
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
    found = [gradients(layer, inputs_of(), inputs_of(1, (3, 4, 4, 5))) for layer in twins(dropout)]
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-5)


def call(layer, state, training=True):
    """(outputs, new state) as one program, for JAX compiles operation by operation otherwise."""

    def run(trainable, state, x):
        return layer.stateless_call(trainable, state, x, training=training)

    outputs, new = compiled(run)(values(layer.trainable_variables), state, inputs_of())
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
        layer(inputs_of(), training=True)
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

    kept = jax.tree.leaves(jax.eval_shape(backward, inputs_of(), trainable))
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
