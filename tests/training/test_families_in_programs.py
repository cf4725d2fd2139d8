"""One compiled program serves every trial of a structure, whatever the family."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.test_family_contract import TINY
from tests.training.test_program import BACKEND, TRAINING, make_data
from tuner.models import FAMILIES, runtime_fields
from tuner.training.trial import blueprint, hyperparameters, program_class

CASES = [*((name, values[0]) for name, values in TINY.items())]
CASES += [("densenet", {"depth": 7, "growth_rate": 4, "dropout": 0.1, "memory_efficient": True})]

CHANGES = {
    "l2": 1e-2,
    "beta_1": 0.5,
    "beta_2": 0.9,
    "epsilon": 1e-2,
    "label_smoothing": 0.2,
    "learning_rate": 1e-2,
    "schedule": "cosine",
}


@pytest.fixture(scope="module")
def images():
    return program_class(BACKEND).place(make_data(num_train=32, num_validation=8), ("crop", "flip"))


@pytest.mark.parametrize(("name", "values"), CASES)
def test_no_runtime_value_is_traced_again(name, values, images):
    config = FAMILIES[name].config
    rates = runtime_fields(config)
    model = config(**{**values, **dict.fromkeys(rates, 0.1)}).model_dump()
    plan = blueprint(model, TRAINING, switches=rates, precision="float32", images=images)
    program = program_class(BACKEND)(plan, images)
    traces = program.num_traces

    def trained(model, **training):
        told = hyperparameters(model, {**TRAINING, "epochs": 1, **training}, 0)
        state, metrics = program.train_epoch(program.initial(0), told, 0)
        assert np.isfinite(metrics["loss"])
        assert np.isfinite(program.evaluate(state, told)["loss"])
        return np.asarray(state.weights)

    usual = trained(model)
    for rate in rates:
        assert not np.array_equal(trained({**model, rate: 0.6}), usual), rate
    for field, value in CHANGES.items():
        assert not np.array_equal(trained(model, **{field: value}), usual), field
    assert program.num_traces == traces
