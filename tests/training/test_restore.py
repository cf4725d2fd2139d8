"""A restored model predicts what the trial predicted, from pixels."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.training.test_program import BACKEND, CLASSES, SIZE, TRAINING, make_data
from tuner.models import FAMILIES
from tuner.training.restore import restored_model
from tuner.training.snapshot import to_arrays
from tuner.training.trial import prepare, program_class

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
