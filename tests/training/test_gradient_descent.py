"""Batches of all images: gradient descent as it is written, and Keras' optimizers on a network."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.training import tiny
from tests.training.tiny import BACKEND, CLASSES, TRAINING, make_data, network, place
from tuner.training.program import Hyperparameters
from tuner.training.trial import hyperparameters

NUM_IMAGES = 30
FULL = {**TRAINING, "batch_size": "full"}
OPTIMIZERS = {
    "sgd": (keras.optimizers.SGD, {"momentum": 0.8, "nesterov": True}),
    "adamw": (
        keras.optimizers.AdamW,
        {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3, "weight_decay": 0.5},
    ),
}


@pytest.fixture(scope="module")
def data():
    return make_data(NUM_IMAGES, 10)


def make_program(data, model, **training):
    return tiny.make_program(place(data), model, switches=(), **{**FULL, **training})


def train(program, model, epochs, **training):
    values = hyperparameters(model, {**FULL, **training}, seed=0)
    state, losses = program.initial(0), []
    for epoch in range(epochs):
        state, metrics = program.train_epoch(state, values, epoch)
        losses.append(metrics["loss"])
    return state, losses, program.evaluate(state, values)


def normalized(data):
    return ((data.x_train - data.mean) / data.std).astype(np.float32)


def test_an_epoch_is_one_step_down_the_gradient_of_all_images(data):
    """Softmax regression, whose gradient is xᵀ(p − onehot) / n, in numpy."""
    model, rate = network("mlp", num_layers=0), 0.25
    program = make_program(data, model, optimizer="sgd")
    assert program.steps_per_epoch == 1
    start = np.asarray(program.initial(0).weights).copy()
    state, _, _ = train(program, model, 1, learning_rate=rate, momentum=0.0)

    x, onehot = normalized(data).reshape(NUM_IMAGES, -1), np.eye(CLASSES)[data.y_train]
    kernel, bias = np.split(start, [x.shape[1] * CLASSES])
    powers = np.exp(x @ kernel.reshape(-1, CLASSES) + bias)
    error = powers / powers.sum(1, keepdims=True) - onehot
    gradient = np.concatenate([(x.T @ error).ravel(), error.sum(0)]) / NUM_IMAGES
    assert np.asarray(state.weights) == pytest.approx(start - rate * gradient, abs=2e-6)
    assert np.abs(rate * gradient).max() > 1e-3


@pytest.mark.skipif(BACKEND == "jax", reason="Keras' side, operation by operation, takes seconds")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_with_l2_agrees_with_keras_over_several_epochs(data, name):
    model, (theirs, values) = network("mlp", hidden_units=8, num_layers=1), OPTIMIZERS[name]
    program = make_program(data, model, optimizer=name)
    expected = keras_training(program, data, theirs(learning_rate=0.02, **values), l2=0.05)
    state, _, _ = train(program, model, 5, learning_rate=0.02, l2=0.05, **values)
    assert np.asarray(state.weights) == pytest.approx(expected, rel=1e-4, abs=2e-5)


def keras_training(program, data, optimizer, l2):
    """Five steps of `fit` on all images, with Keras' own L2 penalty on the kernels."""
    model = program.model(program.initial(0), Hyperparameters(TRAINING, {"dropout": 0.0}, 0))
    for variable in model.trainable_variables:
        variable.regularizer = keras.regularizers.L2(l2) if "kernel" in variable.name else None
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=True)  # compiling five steps takes seconds
    model.fit(normalized(data), data.y_train, NUM_IMAGES, epochs=5, shuffle=False, verbose=0)
    return np.concatenate([np.asarray(v).ravel() for v in model.trainable_variables])


def test_it_trains_to_the_end(data):
    model = network("mlp", hidden_units=16, batch_normalization=True)
    program = make_program(data, model, optimizer="sgd")
    _, losses, validation = train(program, model, 40, learning_rate=0.1, momentum=0.9)
    assert losses[-1] < 0.1 * losses[0]
    assert validation["accuracy"] > 0.6  # chance is 1 in 4
