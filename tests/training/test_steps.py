"""A trial that goes on from its arrays is the trial that was never interrupted, bit for bit."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.training import tiny
from tests.training.tiny import BACKEND, TRAINING, make_data, network, place
from tuner.errors import TunerError
from tuner.training.steps import to_arrays
from tuner.training.trial import hyperparameters

# Everything that a state can hold: moving averages, slots, and keys of random layers.
MODEL = network("mlp", num_layers=1, hidden_units=8, batch_normalization=True, dropout=0.2)
OPTIMIZERS = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adamw": {"weight_decay": 0.01},
}
if BACKEND == "jax":
    del OPTIMIZERS["sgd"]


@cache
def images():
    # With a smaller last batch where that takes no compiling of its own.
    return place(make_data(64 if BACKEND == "jax" else 70), ("crop", "flip", "cutout"))


def make_program(optimizer):
    return tiny.make_program(images(), MODEL, optimizer=optimizer)


shared_program = cache(make_program)


def values_of(optimizer):
    training = {**TRAINING, **OPTIMIZERS[optimizer], "optimizer": optimizer, "schedule": "cosine"}
    return hyperparameters(MODEL, training, 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_trial_is_bit_identical(optimizer):
    first, second, values = shared_program(optimizer), make_program(optimizer), values_of(optimizer)
    state, expected = first.initial(0), []
    for epoch in range(3):
        state, metrics = first.train_epoch(state, values, epoch)
        expected.append(metrics)
        if epoch == 0:
            arrays = to_arrays(state)
    resumed, history = second.restore(arrays), expected[:1]
    for epoch in range(1, 3):
        resumed, metrics = second.train_epoch(resumed, values, epoch)
        history.append(metrics)

    assert history == expected
    assert first.evaluate(state, values) == second.evaluate(resumed, values)
    for name, array in to_arrays(state).items():
        np.testing.assert_array_equal(to_arrays(resumed)[name], array, err_msg=name)


def test_arrays_are_copies():
    program = shared_program("adamw")
    state = program.initial(0)
    arrays = to_arrays(state)
    before = arrays["weights"].copy()
    program.train_epoch(state, values_of("adamw"), 0)
    np.testing.assert_array_equal(arrays["weights"], before)


def test_the_checkpoint_of_another_network_or_optimizer_is_refused():
    arrays = to_arrays(shared_program("adamw").initial(0))
    other_network = {**arrays, "weights": arrays["weights"][1:]}
    for program, given in (("sgd", arrays), ("adamw", other_network)):
        with pytest.raises(TunerError, match="another network or optimizer"):
            shared_program(program).restore(given)
