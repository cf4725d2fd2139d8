"""Gradient norms of the layers: what they are, and that nobody's training notices them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.tiny import NETWORK, TRAINING, make_data, make_program, place
from tuner.training.trial import hyperparameters

NUM_TRAIN = 32
SGD = {
    **TRAINING,
    "batch_size": NUM_TRAIN,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.0,
    "nesterov": False,
    "label_smoothing": 0.1,
}


@pytest.fixture(scope="module")
def program():
    return make_program(place(make_data(num_train=NUM_TRAIN)), **SGD)


def trial(dropout=0.0, **changes):
    return hyperparameters({**NETWORK, "dropout": dropout}, {**SGD, **changes}, 3)


def kernel_parts(program, vector):
    """The norms of a vector like the weights, taken apart by hand."""
    parts = np.split(np.asarray(vector), np.cumsum(program.network.sizes)[:-1])
    pairs = zip(program.network.trainable, parts, strict=True)
    return [float(np.linalg.norm(part)) for variable, part in pairs if "kernel" in variable.name]


def test_the_norms_are_those_of_a_step_of_gradient_descent_over_its_rate(program):
    values = trial()
    before = np.asarray(program.initial(3).weights)
    norms = program.gradient_norms(program.initial(3), values)
    state, _ = program.train_epoch(program.initial(3), values, 0)
    steps = (before - np.asarray(state.weights)) / SGD["learning_rate"]
    np.testing.assert_allclose(norms, kernel_parts(program, steps), rtol=2e-3, atol=1e-6)


def test_the_l2_penalty_is_no_part_of_them(program):
    state = program.initial(3)
    without = program.gradient_norms(state, trial())
    assert program.gradient_norms(state, trial(l2=0.5)) == without


def test_there_is_one_norm_for_each_kernel_in_the_order_of_the_layers(program):
    names = program.network.kernel_names()
    norms = program.gradient_norms(program.initial(3), trial())
    assert len(norms) == len(names) == 5  # two convolutions and three dense layers
    assert names[0][1] == 3 * 3 * 3 * 6
    assert names[-1][1] == 84 * 4
    assert len({name for name, _ in names}) == len(names)
    assert min(norms) > 0


def test_training_is_bit_identical_whether_it_is_watched_or_not(program):
    """With dropout: what is watched draws from nobody's generators."""
    ends = []
    for watches in (False, True):
        values, state = trial(dropout=0.3), program.initial(3)
        for epoch in range(2):
            if watches:
                program.gradient_norms(state, values)
            state, metrics = program.train_epoch(state, values, epoch)
        ends.append((np.asarray(state.weights).tobytes(), metrics))
    assert ends[0] == ends[1]


def test_the_same_state_has_the_same_norms_and_nothing_is_compiled_again(program):
    traces = program.num_traces
    state, values = program.initial(3), trial(dropout=0.3)
    assert program.gradient_norms(state, values) == program.gradient_norms(state, values)
    assert program.num_traces == traces == 2
