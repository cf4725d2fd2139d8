"""Dense layers, blocks and transitions, and layers that are computed again."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.on_backend import (
    BACKEND,
    compiled,
    gradients,
    images,
    keras_normalization,
    randomize,
    values,
)
from tuner.layers import DenseBlock, DenseLayer, PreActivationConvolution, TransitionLayer
from tuner.layers.dense_block import recomputed

SHAPE = (2, 4, 4, 3)


def keras_step(step, x, training):
    """Normalization, relu and convolution from Keras' own parts, with the step's weights."""
    x = ops.relu(keras_normalization(step.normalization, x, training))
    return ops.conv(x, step.convolution.kernel, padding="same")


@pytest.mark.parametrize("bottleneck", [False, True])
def test_layer_l_sees_the_entrance_and_the_growth_of_all_before_it(bottleneck):
    block = DenseBlock(4, 5, bottleneck=bottleneck)
    block.build((None, 8, 8, 7))
    seen = [layer.steps[0].normalization.gamma.shape[0] for layer in block.dense_layers]
    assert seen == [7, 12, 17, 22]
    assert block.compute_output_shape((None, 8, 8, 7)) == (None, 8, 8, 27)
    made = [layer.steps[-1].convolution.kernel.shape[-1] for layer in block.dense_layers]
    assert made == [5] * 4


def test_a_bottleneck_is_four_growth_rates_wide():
    layer = DenseLayer(5, bottleneck=True)
    layer.build((None, 8, 8, 7))
    kernels = [step.convolution.kernel.shape for step in layer.steps]
    assert kernels == [(1, 1, 7, 20), (3, 3, 20, 5)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_agrees_with_keras_layers(bottleneck, training):
    block, x = DenseBlock(3, 2, bottleneck=bottleneck), images(SHAPE)
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


class SeparateBlock(DenseBlock):
    """Every layer normalizes all that it sees by statistics of its own."""

    def call(self, inputs, training=None):
        for layer in self.dense_layers:
            inputs = ops.concatenate([inputs, layer(inputs, training=training)], axis=-1)
        return inputs


def separate_twin(block):
    config = block.get_config() | {"dtype": block.dtype_policy}
    twin = SeparateBlock.from_config(config)
    twin.build(SHAPE)
    for mine, other in zip(block.variables, twin.variables, strict=True):
        other.assign(ops.convert_to_numpy(mine))
    return twin


SHARING = [
    ("float32", {"bottleneck": True}),
    ("float32", {"bottleneck": True, "memory_efficient": True}),
    ("mixed_bfloat16", {}),
]


def training_steps(block):
    """(outputs, states) of three steps, as one program: JAX would compile every operation."""
    trainable = values(block.trainable_variables)

    def step(state, x):
        outputs, state = block.stateless_call(trainable, state, x, training=True)
        return ops.cast(outputs, "float32"), state

    step, state, found = compiled(step), values(block.non_trainable_variables), []
    for number in range(3):
        # Far from zero, where a sum of squares would lose what it is about.
        outputs, state = step(state, 30.0 * number + images(SHAPE, seed=number))
        found += [outputs, *state]
    return [ops.convert_to_numpy(array) for array in found]


@pytest.mark.parametrize(("dtype", "arguments"), SHARING)
def test_shared_statistics_are_those_of_each_layer(dtype, arguments):
    num_layers = 2 if BACKEND == "jax" else 3  # which takes half the time to compile
    block = DenseBlock(num_layers, 2, **arguments, dtype=dtype)
    block.build(SHAPE)
    randomize(block)
    twin, rounding = separate_twin(block), 2e-5 if dtype == "float32" else 5e-2
    for got, expected in zip(training_steps(block), training_steps(twin), strict=True):
        np.testing.assert_allclose(got, expected, rtol=rounding, atol=rounding)
    x, weights = images(SHAPE), images((2, 4, 4, 3 + 2 * num_layers), seed=3)
    found, expected = (gradients(b, x, weights) for b in (block, twin))
    for mine, other in zip(found, expected, strict=True):
        largest = float(np.abs(np.asarray(other, "float32")).max())
        assert largest > 0.01
        np.testing.assert_allclose(
            np.asarray(mine, "float32"), np.asarray(other, "float32"), atol=rounding * largest
        )


def test_a_frozen_layer_in_a_block_keeps_its_averages():
    block = DenseBlock(3, 2)
    block.build(SHAPE)
    randomize(block)
    block.dense_layers[1].trainable = False
    twin = separate_twin(block)
    twin.dense_layers[1].trainable = False
    got, expected = (np.array(b(images(SHAPE), training=True)) for b in (block, twin))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    for got, expected in zip(values(block.variables), values(twin.variables), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_names_and_shapes_of_a_block_are_those_of_its_files():
    block = DenseBlock(1, 2, bottleneck=True, name="block")
    block.build((None, 4, 4, 3))
    step = "block/layer1/step{}/{}"
    norm = ["gamma", "beta", "moving_mean", "moving_variance"]
    first = [(step.format(1, f"normalization/{name}"), (3,)) for name in norm]
    second = [(step.format(2, f"normalization/{name}"), (8,)) for name in norm]
    kernels = (
        (step.format(1, "convolution/kernel"), (1, 1, 3, 8)),
        (
            step.format(2, "convolution/kernel"),
            (3, 3, 8, 2),
        ),
    )
    trainable = [*first[:2], kernels[0], *second[:2], kernels[1]]
    assert [(v.path, v.shape) for v in block.trainable_variables] == trainable
    assert [(v.path, v.shape) for v in block.non_trainable_variables] == [*first[2:], *second[2:]]


@pytest.mark.parametrize(("bottleneck", "expected"), [(False, 3), (True, 6)])
def test_dropout_follows_every_convolution(bottleneck, expected):
    x = images(SHAPE)
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


@pytest.mark.parametrize(
    ("compression", "shape", "words"),
    [
        (0.0, (None, 4, 4, 5), r"must be in \(0, 1\]; received"),
        (1.01, (None, 4, 4, 5), r"must be in \(0, 1\]; received"),
        (0.1, (None, 4, 4, 5), r"compression 0\.1 leaves none of 5 channels"),
        (0.5, (None, 1, 4, 8), "1x4 are too small"),
    ],
)
def test_refuses_what_leaves_nothing(compression, shape, words):
    with pytest.raises(ValueError, match=words):
        TransitionLayer(compression).build(shape)


def efficient_twins(**arguments):
    """A usual block and a memory-efficient one with the same values."""
    usual, efficient = (
        DenseBlock(2, 2, **arguments, memory_efficient=kind, name="block") for kind in (False, True)
    )
    for block in (usual, efficient):
        block.build(SHAPE)
    randomize(usual)
    for mine, other in zip(usual.variables, efficient.variables, strict=True):
        other.assign(keras.ops.convert_to_numpy(mine))
    return usual, efficient


@pytest.mark.parametrize("arguments", [{}, {"bottleneck": True, "dropout": 0.3}])
def test_a_memory_efficient_block_has_the_same_gradients(arguments):
    blocks, weights = efficient_twins(**arguments), images((2, 4, 4, 7), seed=3)
    found = [gradients(block, images(SHAPE), weights) for block in blocks]
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

        arrays = jax.tree.leaves(jax.eval_shape(backward, images(SHAPE)))
        return sum(array.size for array in arrays if array.ndim == 4 and array.shape[0] == 2)

    # A layer keeps the 8 channels of its bottleneck and its own 2, at 32 pixels of a batch.
    assert kept(3, True) - kept(2, True) == kept(2, True) - kept(1, True) == 32 * 10
    assert kept(3, False) > 2 * kept(3, True)


STEP_SHAPE = (3, 4, 4, 6)


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


def twins():
    plain, inner = (PreActivationConvolution(5, 3, 0.4, name="step") for _ in range(2))
    wrapped = Recomputed(inner)
    for layer in (plain, wrapped):
        layer.build(STEP_SHAPE)
    for mine, other in zip(plain.variables, wrapped.variables, strict=True):
        other.assign(ops.convert_to_numpy(mine))
    return plain, wrapped


def call(layer, state, training):
    """(outputs, new state) as one program, for JAX compiles operation by operation otherwise."""

    def run(trainable, state, x):
        return layer.stateless_call(trainable, state, x, training=training)

    outputs, new = compiled(run)(values(layer.trainable_variables), state, images(STEP_SHAPE))
    return ops.convert_to_numpy(outputs), values(new)


@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_state_move_on_as_in_the_layer_and_once(training):
    plain, wrapped = twins()
    state = values(plain.non_trainable_variables)
    expected, expected_state = call(plain, state, training)
    outputs, new = call(wrapped, state, training)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for before, after, wanted in zip(state, new, expected_state, strict=True):
        np.testing.assert_allclose(after, wanted, rtol=1e-6)
        moves = training and before.shape != ()  # all but the rate
        assert (before != after).any() == moves


@pytest.mark.skipif(BACKEND == "jax", reason="a stateless call assigns to no variable")
def test_without_a_scope_the_variables_themselves_are_updated_once():
    plain, wrapped = twins()
    for layer in (plain, wrapped):
        layer(images(STEP_SHAPE), training=True)
    for mine, other in zip(values(plain.variables), values(wrapped.variables), strict=True):
        np.testing.assert_allclose(other, mine, rtol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="looks at a TensorFlow graph")
def test_the_second_computation_waits_for_the_gradient():
    import tensorflow as tf

    _, wrapped = twins()

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(wrapped(x, training=True) ** 2)
        return tape.gradient(loss, x)

    graph = compiled(step).get_concrete_function(tf.TensorSpec(STEP_SHAPE)).graph
    normalizations = [op for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    # What is normalized is a concatenation; the last input of that is the axis.
    concatenations = [_behind_views(op.inputs[0].op) for op in normalizations]
    pieces = [list(op.inputs)[:-1] for op in dict.fromkeys(concatenations)]
    assert [all(x.op.control_inputs for x in xs) for xs in pieces] == [False, True]


def _behind_views(op):
    while op.type == "Reshape":
        op = op.inputs[0].op
    return op
