"""A person's own network in our programs: its outputs, its losses, its optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models import own_nets
from tests.training.test_program import BACKEND, TRAINING, make_data
from tuner.errors import InputError
from tuner.models.own_build import run_build
from tuner.training.trial import prepare, program_class

NETS = "tests.models.own_nets"
COMPILED = {"family": f"{NETS}:compiled", "learning_rate": 0.0625, "nesterov": False}


@pytest.fixture(scope="module")
def images():
    return program_class(BACKEND).place(make_data(), ())


def prepared(images, model, precision="float32", **training):
    return prepare(
        model,
        {**TRAINING, **training},
        structure="",
        switches=(),
        seed=0,
        precision=precision,
        images=images,
    )


def trained(images, trial, epochs=1):
    program = program_class(BACKEND)(trial.blueprint, images)
    state = program.initial(0)
    for epoch in range(epochs):
        state, metrics = program.train_epoch(state, trial.hyperparameters, epoch)
    return program, state, metrics


def test_values_that_shape_nothing_share_a_program(images):
    model = {"family": f"{NETS}:logits", "num_layers": 1, "dropout": 0.1}
    one, other = (prepared(images, {**model, "dropout": rate}) for rate in (0.1, 0.4))
    assert one.key == other.key
    assert one.hyperparameters.rates != other.hyperparameters.rates
    assert prepared(images, {**model, "num_layers": 2}).key != one.key
    program = program_class(BACKEND)(one.blueprint, images)
    before = program.num_traces
    losses = [
        program.train_epoch(program.initial(0), trial.hyperparameters, 0)[1]["loss"]
        for trial in (one, other)
    ]
    assert losses[0] != losses[1]
    assert program.num_traces == before


def test_its_own_optimizer_and_its_values_are_used(images):
    trial = prepared(images, COMPILED, optimizer="compiled")
    assert trial.blueprint.optimizer == "sgd"
    assert trial.hyperparameters.training["momentum"] == 0.5
    assert trial.hyperparameters.training["learning_rate"] == pytest.approx(0.0625)


def test_an_optimizer_of_the_experiment_takes_its_place(images):
    trial = prepared(images, COMPILED, optimizer="adam")
    assert trial.blueprint.optimizer == "adam"
    assert trial.hyperparameters.training["learning_rate"] == TRAINING["learning_rate"]


def test_an_epoch_is_what_keras_does(images):
    """Probabilities, the network's own penalty, momentum: the weights agree after every step."""
    trial = prepared(images, COMPILED, optimizer="compiled")
    program, state, metrics = trained(images, trial)
    first = program.model(program.initial(0), trial.hyperparameters).get_weights()
    reference = run_build(own_nets.compiled, {"learning_rate": 0.0625}, own_nets.IMAGE).model
    reference.set_weights(first)
    order = program.plan_epoch(trial.hyperparameters, 0).order
    labels = np.array(images.y_train)
    normalize = program.network.augmentation.batch
    for indices in order:
        batch = normalize(
            images.x_train, keras.ops.convert_to_tensor(indices), None, training=False
        )
        reference.train_on_batch(np.array(batch), labels[indices])
    for ours, theirs in zip(
        program.model(state, trial.hyperparameters).get_weights(),
        reference.get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert np.isfinite(metrics["loss"])


def test_it_learns(images):
    trial = prepared(images, COMPILED, optimizer="compiled")
    _, _, first = trained(images, trial)
    _, _, last = trained(images, trial, epochs=4)
    assert last["loss"] < first["loss"]


def test_a_subclassed_model_trains(images):
    trial = prepared(images, {"family": f"{NETS}:subclassed", "units": 3})
    _, _, metrics = trained(images, trial)
    assert np.isfinite(metrics["loss"])


def test_half_precision_reaches_it(images):
    trial = prepared(images, COMPILED, "mixed_bfloat16", optimizer="compiled")
    program, _, metrics = trained(images, trial)
    assert program.network.model.layers[-1].compute_dtype == "bfloat16"
    assert np.isfinite(metrics["loss"])


def test_pretrained_weights_are_where_it_begins(images):
    trial = prepared(images, {"family": f"{NETS}:pretrained"})
    program = program_class(BACKEND)(trial.blueprint, images)
    assert np.count_nonzero(np.array(program.initial(0).weights) == 7) == 3 * 3 * 3 * 4 + 4


def test_a_trial_that_does_not_compile_where_others_do_is_refused(images):
    with pytest.raises(InputError, match="not compiled"):
        prepared(images, {"family": f"{NETS}:logits"}, optimizer="compiled")


def test_other_classes_are_refused(images):
    with pytest.raises(InputError, match="wrong number of outputs"):
        prepared(images, {"family": f"{NETS}:several_classes"})
