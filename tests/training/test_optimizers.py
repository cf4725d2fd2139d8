"""Every optimizer agrees with Keras' own, step by step, for every hyperparameter."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner.training.optimizers import OPTIMIZERS, RUNTIME_VALUES
from tuner.training.slots import NUM_SLOTS

SIZE, STEPS = 7, 6


def run_ours(name, rates, gradients, **values):
    values = {**dict.fromkeys(RUNTIME_VALUES, 0.0), **values}
    tensors = {k: keras.ops.convert_to_tensor(v, "float32") for k, v in values.items()}
    optimizer = OPTIMIZERS[name]
    weights = keras.ops.ones(SIZE)
    slots = tuple(keras.ops.zeros(SIZE) for _ in range(optimizer.num_slots))
    history = []
    for step, (rate, gradient) in enumerate(zip(rates, gradients, strict=True), 1):
        weights, slots = optimizer.update(
            weights,
            keras.ops.convert_to_tensor(gradient),
            slots,
            step=keras.ops.convert_to_tensor(float(step)),
            rate=keras.ops.convert_to_tensor(rate, "float32"),
            values=tensors,
            decayed=keras.ops.ones(SIZE),
        )
        history.append(np.asarray(weights))
    return np.stack(history)


def run_keras(optimizer, rates, gradients):
    variable = keras.Variable(np.ones(SIZE, np.float32))
    optimizer.build([variable])
    history = []
    for rate, gradient in zip(rates, gradients, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        history.append(np.asarray(variable))
    return np.stack(history)


CASES = [
    ("sgd", {"momentum": 0.0}, keras.optimizers.SGD),
    ("sgd", {"momentum": 0.9}, keras.optimizers.SGD),
    ("sgd", {"momentum": 0.7, "nesterov": True}, keras.optimizers.SGD),
    ("adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}, keras.optimizers.Adam),
    ("adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, keras.optimizers.Adam),
    (
        "adamw",
        {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-8, "weight_decay": 0.05},
        keras.optimizers.AdamW,
    ),
]


@pytest.mark.parametrize(("name", "options", "theirs"), CASES)
def test_agrees_with_keras_step_by_step(name, options, theirs):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(STEPS, SIZE)).astype(np.float32)
    rates = np.linspace(0.1, 0.01, STEPS)
    ours = run_ours(name, rates, gradients, **{k: float(v) for k, v in options.items()})
    expected = run_keras(theirs(learning_rate=0.1, **options), rates, gradients)
    assert ours == pytest.approx(expected, rel=2e-5, abs=1e-6)


def test_weight_decay_spares_what_is_no_kernel():
    optimizer = OPTIMIZERS["adamw"]
    values = {k: keras.ops.convert_to_tensor(0.5) for k in RUNTIME_VALUES}
    weights, _ = optimizer.update(
        keras.ops.ones(2),
        keras.ops.zeros(2),
        (keras.ops.zeros(2), keras.ops.zeros(2)),
        step=keras.ops.convert_to_tensor(1.0),
        rate=keras.ops.convert_to_tensor(0.1),
        values=values,
        decayed=keras.ops.convert_to_tensor([1.0, 0.0]),
    )
    assert np.asarray(weights) == pytest.approx([0.95, 1.0])


def test_the_plan_knows_how_many_slots_each_optimizer_keeps():
    assert {name: optimizer.num_slots for name, optimizer in OPTIMIZERS.items()} == NUM_SLOTS
