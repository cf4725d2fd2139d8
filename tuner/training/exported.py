"""A trained model as a `.keras` file that is read back before anybody relies on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.errors import TunerError
from tuner.training.standard import foreign_modules, in_standard_layers

_TOLERANCE = 1e-5  # of the largest output, where that is above 1
_NUM_IMAGES = 8


@dataclass(frozen=True)
class ModelFile:
    """What was written: which modules must be imported to load it, and how well it agrees.

    `kept_because` says why layers of tuner were kept where others were wanted; `difference` is the
    largest one of any output on random images, between the checkpoint and the file.
    """

    needs: tuple[str, ...]
    difference: float
    kept_because: str
    parameters: int


def write_model(model: Any, path: Path, *, standard: bool, probabilities: bool) -> ModelFile:
    """Write a model of pixels, in layers of Keras alone if `standard` and that is exact.

    The file is loaded again, and must predict what the model predicts on random images.

    Raises:
        TunerError: Keras cannot save the model, or not load it again.
    """
    if probabilities:
        softmax = keras.layers.Softmax(name="probabilities", dtype="float32")
        model = keras.Model(model.inputs[0], softmax(model.outputs[0]), name=model.name)
    if not standard or not foreign_modules(model):
        return _written(model, model, path, "")
    try:
        return _written(in_standard_layers(model), model, path, "")
    except Exception as error:  # whatever a layer of someone else's says to symbolic tensors
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return _written(model, model, path, reason[0])


def _written(form: Any, model: Any, path: Path, kept_because: str) -> ModelFile:
    """Write `form`, and compare what can be loaded with `model`."""
    try:
        form.save(path)
        loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what comes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TunerError(
            f"Keras cannot save this network and load it again: {reason}\n"
            "    mend:     @keras.saving.register_keras_serializable() and get_config "
            "for layers of your own; no Lambda"
        ) from error
    images = _random_images(model)
    expected, given = _outputs(model, images), _outputs(loaded, images)
    difference = float(np.max(np.abs(expected - given)))
    largest = max(1.0, float(np.max(np.abs(expected))))
    if not difference <= _TOLERANCE * largest:
        raise TunerError(
            f"the file's outputs differ by {difference:.2g} from those of the checkpoint"
        )
    needs = tuple(foreign_modules(form))
    return ModelFile(needs, difference, kept_because, model.count_params())


def _random_images(model: Any) -> NDArray[np.uint8]:
    shape = (_NUM_IMAGES, *model.input_shape[1:])
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def _outputs(model: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    if keras.backend.backend() == "jax":  # which compiles every operation that is called alone
        return np.asarray(model.predict_on_batch(images), np.float32)
    outputs = keras.ops.convert_to_numpy(model(images, training=False))
    return np.asarray(outputs, np.float32)
