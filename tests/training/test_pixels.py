"""The network of a checkpoint takes pixels as the data have them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner.data.config import DataConfig
from tuner.data.images import load_images
from tuner.training.steps import to_arrays
from tuner.training.trial import prepare, program_class, restored_model

MODEL = {"family": "mlp", "hidden_units": 4, "num_layers": 1, "activation": "relu"}
MODEL |= {"batch_normalization": False, "dropout": 0.0}
BACKEND = keras.backend.backend()


@pytest.mark.parametrize(("normalize", "highest"), [(True, 1.0), (False, 1.0), (False, 16.0)])
def test_it_predicts_what_was_validated(tmp_path, normalize, highest):
    from tuner.experiment.schema import TrainingConfig

    rng, path = np.random.default_rng(0), tmp_path / "mine.npz"
    x, y = rng.random((60, 4, 4)) * highest, np.arange(60) % 3
    x[y == 1] /= 2
    np.savez(path, x_train=x, y_train=y)
    config = DataConfig(dataset=str(path), validation=30, normalize=normalize)
    data = load_images(config, None)
    images = program_class(BACKEND).place(data, ("crop", "cutout"))
    training = TrainingConfig(epochs=1, batch_size=10).model_dump()
    trial = prepare(
        MODEL, training, structure="", switches=(), seed=0, precision="float32", images=images
    )
    program = program_class(BACKEND)(trial.blueprint, images)
    state, _ = program.train_epoch(program.initial(0), trial.hyperparameters, 0)
    expected = program.evaluate(state, trial.hyperparameters)["loss"]
    model = restored_model(MODEL, to_arrays(state), images.notes())
    assert images.notes()["pixels"] == [highest, 255 / highest]
    assert any(layer.name == "normalize" for layer in model.layers) == normalize
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    outputs = model.predict(data.x_validation / np.float32(255 / highest), verbose=0)
    assert float(loss(data.y_validation, outputs)) == pytest.approx(expected, rel=1e-4)
    # The person's own pixels are within half a step of 255 of those that were trained on.
    far = np.abs(x[:, None] - data.x_validation[None, ..., 0] * (highest / 255)).sum(axis=(2, 3))
    outputs = model.predict(x[far.argmin(axis=0), ..., None], verbose=0)
    assert float(loss(data.y_validation, outputs)) == pytest.approx(expected, rel=0.05)
