"""From a closed configuration to a program (networks of one's own, too), and to its model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models import own_nets
from tests.training.tiny import BACKEND, CLASSES, SIZE, TRAINING, make_data
from tuner.errors import InputError
from tuner.models import FAMILIES
from tuner.models.own.build import run_build
from tuner.training.steps import to_arrays
from tuner.training.trial import prepare, program_class, restored_model

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


@pytest.fixture(scope="module")
def compiled_trial(images):
    return prepared(images, COMPILED, optimizer="compiled")


@pytest.fixture(scope="module")
def compiled_program(images, compiled_trial):
    return program_class(BACKEND)(compiled_trial.blueprint, images)


def trained(program, trial, epochs=1):
    state = program.initial(0)
    for epoch in range(epochs):
        state, metrics = program.train_epoch(state, trial.hyperparameters, epoch)
    return state, metrics


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


@pytest.mark.parametrize("kind", ["keras", "function", "class"])
def test_values_of_a_constraint_share_no_program(images, kind):
    model = {"family": f"{NETS}:constrained", "kind": kind}
    one, other = (prepared(images, {**model, "most": most}) for most in (0.5, 1.0))
    assert one.key != other.key


def test_its_own_optimizer_and_its_values_are_used(compiled_trial):
    trial = compiled_trial
    assert trial.blueprint.optimizer == "sgd"
    assert trial.hyperparameters.training["momentum"] == 0.5
    assert trial.hyperparameters.training["learning_rate"] == pytest.approx(0.0625)


def test_an_optimizer_of_the_experiment_takes_its_place(images):
    trial = prepared(images, COMPILED, optimizer="adam")
    assert trial.blueprint.optimizer == "adam"
    assert trial.hyperparameters.training["learning_rate"] == TRAINING["learning_rate"]


def test_what_compile_cannot_have_is_no_obstacle_to_an_optimizer_of_the_experiment(images):
    model = {"family": "tests.models.own_fits:optimizers", "optimizer": "lion"}
    trial = prepared(images, model, optimizer="adam")
    assert trial.blueprint.optimizer == "adam"
    assert trial.blueprint.probabilities
    with pytest.raises(InputError, match="the optimizer is not available"):
        prepared(images, model, optimizer="compiled")


def test_networks_that_begin_with_other_weights_share_no_program(images):
    model = {"family": "tests.models.own_fits:pretrained"}
    keys = {prepared(images, {**model, "pretrained": value}).key for value in (False, True)}
    assert len(keys) == 2


def test_an_epoch_is_what_keras_does(images, compiled_trial, compiled_program):
    """Probabilities, the network's own penalty, momentum: the weights agree after every step."""
    trial, program = compiled_trial, compiled_program
    state, metrics = trained(program, trial)
    first = program.model(program.initial(0), trial.hyperparameters).get_weights()
    reference = run_build(own_nets.compiled, {"learning_rate": 0.0625}, own_nets.IMAGE).model
    reference.set_weights(first)
    order = program.plan_epoch(trial.hyperparameters, 0).order
    batches = np.split(order, range(16, len(order), 16))
    labels = np.array(images.y_train)
    normalize = program.network.augmentation.batch
    for indices in batches:
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


def test_it_learns(compiled_trial, compiled_program):
    _, first = trained(compiled_program, compiled_trial)
    _, last = trained(compiled_program, compiled_trial, epochs=4)
    assert last["loss"] < first["loss"]


def test_a_subclassed_model_trains(images):
    trial = prepared(images, {"family": f"{NETS}:subclassed", "units": 3})
    _, metrics = trained(program_class(BACKEND)(trial.blueprint, images), trial)
    assert np.isfinite(metrics["loss"])


def test_every_form_of_a_head_learns_the_same(images):
    """Half built, softmax as an operation or in a model of its own, the session cleared."""
    losses = {}
    for head in ("logits", "nested", "operation", "subclass", "cleared"):
        trial = prepared(images, {"family": f"{NETS}:heads", "head": head})
        assert trial.blueprint.probabilities == (head not in ("logits", "cleared"))
        program = program_class(BACKEND)(trial.blueprint, images)
        assert program.initial(0).weights.shape == (12 * CLASSES + CLASSES,)
        state, _ = trained(program, trial, epochs=2)
        losses[head] = program.evaluate(state, trial.hyperparameters)["loss"]
    assert losses == pytest.approx(dict.fromkeys(losses, losses["logits"]), rel=1e-5)


def test_a_precision_that_build_sets_is_that_of_the_experiment_or_refused(images):
    model = {"family": f"{NETS}:policy"}
    assert prepared(images, model, "mixed_bfloat16").blueprint.precision == "mixed_bfloat16"
    with pytest.raises(InputError, match="another precision"):
        prepared(images, model)
    assert keras.config.dtype_policy().name == "float32"


def test_half_precision_reaches_it(images):
    trial = prepared(images, COMPILED, "mixed_bfloat16", optimizer="compiled")
    program = program_class(BACKEND)(trial.blueprint, images)
    _, metrics = trained(program, trial)
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


RESNET = {"depth": 8, "dropout": 0.2, "stochastic_depth": 0.6}
MODELS = {
    "resnet": FAMILIES["resnet"].config(**RESNET).model_dump(),
    "own": {"family": "tests.models.own_nets:logits", "num_layers": 2, "dropout": 0.3},
    "probabilities": {"family": "tests.models.own_nets:compiled", "learning_rate": 0.05},
}


@pytest.mark.parametrize("name", MODELS)
def test_it_predicts_what_was_validated(name, tmp_path):
    data = make_data()
    images = program_class(BACKEND).place(data, ("crop", "flip"))
    trial = prepare(
        MODELS[name],
        TRAINING,
        structure="",
        switches=("dropout", "stochastic_depth"),
        seed=0,
        precision="float32",
        images=images,
    )
    program = program_class(BACKEND)(trial.blueprint, images)
    state, _ = program.train_epoch(program.initial(0), trial.hyperparameters, 0)
    expected = program.evaluate(state, trial.hyperparameters)["loss"]
    notes = {
        "image_shape": [SIZE, SIZE, 3],
        "num_classes": CLASSES,
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
    }
    model = restored_model(MODELS[name], to_arrays(state), notes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=name != "probabilities")
    assert _loss(model, loss, data) == pytest.approx(expected, rel=1e-4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert _loss(again, loss, data) == pytest.approx(expected, rel=1e-4)


def _loss(model, loss, data):
    outputs = model.predict(data.x_validation.astype(np.float32), verbose=0)
    return float(loss(data.y_validation, outputs))
