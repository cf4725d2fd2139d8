"""One compiled program serves every trial of a structure, whatever the family, and it learns."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.test_family_contract import TINY
from tests.training.tiny import BACKEND, TRAINING, make_data, make_program, place
from tuner.models import FAMILIES, runtime_fields
from tuner.training.trial import hyperparameters

CASES = {name: values[0] for name, values in TINY.items()}
CASES["densenet"] = {"depth": 7, "growth_rate": 4, "dropout": 0.1, "memory_efficient": True}
# Other tests of programs train a lenet and an mlp.
del CASES["lenet"], CASES["mlp"]
if BACKEND == "jax":  # the rest is made of the same layers
    CASES = {name: CASES[name] for name in ("resnet", "densenet")}

# That each value takes effect is shown in test_program.py.
CHANGES = {"l2": 1e-4, "beta_1": 0.8, "label_smoothing": 0.1, "learning_rate": 1e-2}
# So that half precision is met by every family, too.
PRECISION = "mixed_bfloat16" if BACKEND == "jax" else "float32"


@pytest.fixture(scope="module")
def images():
    return place(make_data(num_train=32, num_validation=8), ("crop", "flip"))


@pytest.mark.parametrize("name", CASES)
def test_it_learns_and_no_runtime_value_is_traced_again(name, images):
    config = FAMILIES[name].config
    rates = runtime_fields(config)
    model = config(**{**CASES[name], **dict.fromkeys(rates, 0.1)}).model_dump()
    program = make_program(images, model, switches=rates, precision=PRECISION)
    traces = program.num_traces

    def train(model, epochs=1, **training):
        values = hyperparameters(model, {**TRAINING, "epochs": epochs, **training}, 0)
        state, losses = program.initial(0), []
        for epoch in range(epochs):
            state, metrics = program.train_epoch(state, values, epoch)
            losses.append(metrics["loss"])
        assert np.isfinite(program.evaluate(state, values)["loss"])
        return np.asarray(state.weights), losses

    usual, _ = train(model)
    for rate in rates:
        assert not np.array_equal(train({**model, rate: 0.6})[0], usual), rate
    _, losses = train(model, epochs=12, **CHANGES)
    assert min(losses[1:]) < (0.9 if PRECISION == "float32" else 1.0) * losses[0]
    assert program.num_traces == traces
