"""A trial that goes on from its arrays is the trial that was never interrupted, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.test_program import BACKEND, TRAINING, make_data, make_program
from tuner.errors import TunerError
from tuner.training.snapshot import to_arrays
from tuner.training.trial import blueprint, hyperparameters, program_class

MODEL = {"family": "resnet", "depth": 8, "dropout": 0.2, "stochastic_depth": 0.3}
OPTIMIZERS = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adam": {},
    "adamw": {"weight_decay": 0.01},
}


@pytest.fixture(scope="module")
def images():
    return program_class(BACKEND).place(make_data(), ("crop", "flip", "cutout"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_trial_is_bit_identical(optimizer, images):
    from tuner.models import FAMILIES

    model = FAMILIES["resnet"].config(**MODEL).model_dump()
    training = {**TRAINING, **OPTIMIZERS[optimizer], "optimizer": optimizer, "schedule": "cosine"}
    plan = blueprint(
        model,
        training,
        switches={"dropout", "stochastic_depth"},
        precision="float32",
        images=images,
    )
    values = hyperparameters(model, training, 0)
    first, second = (program_class(BACKEND)(plan, images) for _ in range(2))

    state, expected = first.initial(0), []
    for epoch in range(3):
        state, metrics = first.train_epoch(state, values, epoch)
        expected.append(metrics)
        if epoch == 0:
            arrays = to_arrays(state)
    resumed, found = second.restore(arrays), expected[:1]
    for epoch in range(1, 3):
        resumed, metrics = second.train_epoch(resumed, values, epoch)
        found.append(metrics)

    assert found == expected
    assert first.evaluate(state, values) == second.evaluate(resumed, values)
    for name, array in to_arrays(state).items():
        np.testing.assert_array_equal(to_arrays(resumed)[name], array, err_msg=name)


def test_arrays_are_copies(images):
    program = make_program(images)
    state = program.initial(0)
    arrays = to_arrays(state)
    before = arrays["weights"].copy()
    training = {**TRAINING, "epochs": 1}
    told = hyperparameters({**_full("resnet"), "dropout": 0.1}, training, 0)
    program.train_epoch(state, told, 0)
    np.testing.assert_array_equal(arrays["weights"], before)


def _full(family):
    from tests.training.test_program import full_model

    return full_model(family)


def test_the_checkpoint_of_another_network_is_refused(images):
    arrays = to_arrays(make_program(images, "densenet").initial(0))
    with pytest.raises(TunerError, match="another network"):
        make_program(images).restore(arrays)
