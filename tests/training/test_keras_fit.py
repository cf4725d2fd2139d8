"""An epoch is what Keras' own `fit` makes of the same images in the same order."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.training.tiny import BACKEND, CLASSES, SIZE, TRAINING, make_data, place
from tuner.training.program import Blueprint, Hyperparameters, class_weights
from tuner.training.trial import program_class

BATCH = TRAINING["batch_size"]
LARGEST = 0.3  # of the norm of what is constrained; initial norms are larger


def capped(weights):
    """A constraint as a plain function."""
    return keras.ops.minimum(weights, 0.9)


def build():
    """Statistics of the batch, and constraints of every kind."""
    constraints = keras.constraints
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(4, 3, strides=2, kernel_constraint=constraints.MaxNorm(LARGEST)),
            keras.layers.BatchNormalization(momentum=0.8, gamma_constraint=capped),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(8, kernel_constraint="unit_norm", activation="tanh"),
            keras.layers.Dense(CLASSES, bias_constraint="non_neg"),
        ]
    )


def make_program(data, precision="float32"):
    plan = Blueprint(build, "sgd", BATCH, precision)
    return program_class(BACKEND)(plan, place(data))


def values_of(**training):
    training = {**TRAINING, "learning_rate": 0.05, "momentum": 0.5, **training}
    return Hyperparameters(training, {}, seed=0)


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture(scope="module")
def program(data):
    return make_program(data)


def keras_training(program, data, values, epochs):
    """Weights and unweighted losses of `fit`, an epoch at a time in the program's order."""
    model = build()
    model.set_weights(program.model(program.initial(0), values).get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    unweighted = keras.metrics.SparseCategoricalCrossentropy("unweighted", from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.5), loss, metrics=[unweighted])
    counts = class_weights(values.training["class_weight"], np.bincount(data.y_train))
    images, losses = (data.x_train - data.mean) / data.std, []
    for epoch in range(epochs):
        order = program.plan_epoch(values, epoch).order
        history = model.fit(
            images[order].astype(np.float32),
            data.y_train[order],
            BATCH,
            shuffle=False,
            class_weight=dict(enumerate(counts)),
            verbose=0,
        )
        losses += history.history["unweighted"]
    return model.get_weights(), losses


def test_a_partial_batch_weights_of_classes_and_constraints_are_those_of_keras(program, data):
    assert program.is_last_partial
    assert program.num_traces == (3 if BACKEND == "jax" else 2)
    values = values_of(class_weight={0: 4.0, 2: 0.25})
    state, ours = program.initial(0), []
    for epoch in range(2):
        state, metrics = program.train_epoch(state, values, epoch)
        ours.append(metrics["loss"])
    weights, losses = keras_training(program, data, values, epochs=2)
    for found, expected in zip(program.model(state, values).get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    assert ours == pytest.approx(losses, rel=1e-4)


def norms(program, state):
    convolution = program.network.trainable[0]
    kernel = np.asarray(state.weights)[: program.network.sizes[0]].reshape(convolution.shape)
    return np.sqrt((kernel**2).sum(axis=0))


def test_a_constraint_holds_with_loss_scaling_too_and_only_after_a_step_that_counts(data):
    program = make_program(data, "mixed_float16")
    start = program.initial(0)
    assert norms(program, start).max() > 1.01 * LARGEST
    # In the first steps every gradient overflows.
    scale = program._to_device(np.array([2.0**40, 0], np.float32))
    skipped, _ = program.train_epoch(start._replace(loss_scale=scale), values_of(), 0)
    assert norms(program, skipped).max() > 1.01 * LARGEST
    state, _ = program.train_epoch(program.initial(0), values_of(), 0)
    assert norms(program, state).max() <= 1.001 * LARGEST


def test_balanced_weights_are_those_of_scikit_learn():
    assert class_weights("balanced", [10, 30]).tolist() == [2.0, pytest.approx(2 / 3)]
    assert class_weights("balanced", [10, 0, 30])[[0, 2]].tolist() == [2.0, pytest.approx(2 / 3)]
    assert class_weights(None, [10, 30]).tolist() == [1.0, 1.0]
    assert class_weights({"1": 5.0}, [10, 30]).tolist() == [1.0, 5.0]
    assert class_weights({"dog": 5.0, "0": 2.0}, [10, 30], ["cat", "dog"]).tolist() == [2.0, 5.0]


@pytest.mark.skipif(BACKEND != "jax", reason="the two ways of looping are JAX's")
def test_a_compiled_loop_gives_what_single_steps_give(data, program, monkeypatch):
    """What runs on a GPU, here on the CPU; the last batch too."""
    stepwise, expected = program.train_epoch(program.initial(0), values_of(), 0)
    monkeypatch.setattr(type(program), "_loops_inside", True)
    looping = make_program(data)
    looped, metrics = looping.train_epoch(looping.initial(0), values_of(), 0)
    assert np.asarray(looped.weights) == pytest.approx(np.asarray(stepwise.weights), abs=1e-4)
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-4)
