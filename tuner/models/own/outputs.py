"""What the outputs of a person's own network are: seen from outputs, not from a layer's name.

Imported when a model is built, because it imports Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.errors import InputError, Problem
from tuner.models.family import ImageShape
from tuner.models.own.compile import CompileArguments
from tuner.models.own.undrawn import draw_weights

# Some below zero; rows that sum to 1; between 0 and 1 with another sum; none below zero.
Kind = Literal["logits", "probabilities", "scores", "positive"]

_NUM_DRAWS = 4  # of weights: outputs of a linear layer may be positive by chance
_SCALES = 4.0 ** np.arange(8)  # of the images: two sigmoids sum to 1 where little comes in
_TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 5e-2}  # of a sum of probabilities
_HINTS = {
    "logits": "some are negative",
    "positive": "some are above 1, and they do not sum to 1",
}


@dataclass(frozen=True)
class OutputReading:
    """How training takes the outputs, and what whoever uses the network gets.

    With `as_probabilities` the loss is that of their shares: p / Σp.
    """

    as_probabilities: bool
    gives: Literal["logits", "probabilities", "scores"]
    note: str = ""


def read_outputs(kind: Kind, compiled: CompileArguments | None) -> OutputReading:
    """Outputs of a kind, as the compiled loss takes them; without one, as they are.

    Raises:
        InputError: the loss takes for probabilities what are none.
    """
    if compiled is None:
        note = ""
        if kind == "scores":
            note = "outputs between 0 and 1 that do not sum to 1 are taken for logits: "
            note += "is an activation left at the end?"
        return OutputReading(kind == "probabilities", _given(kind, as_logits=True), note)
    if compiled.from_logits:
        note = ""
        if kind in ("probabilities", "scores"):
            told = "a softmax at the end" if kind == "probabilities" else "outputs between 0 and 1"
            note = f"{told}, and a loss with from_logits=True: trained as written, as Keras does"
        return OutputReading(False, _given(kind, as_logits=True), note)
    if kind in _HINTS:
        what = "the outputs are no probabilities, which the compiled loss takes them for"
        mend = 'activation="softmax" in the last layer, or from_logits=True in the loss'
        expected = "outputs from 0 to 1 that sum to 1"
        raise InputError(Problem(what, "model.family", _HINTS[kind], expected, mend))
    note = ""
    if kind == "scores":
        note = "outputs do not sum to 1: the loss divides them by their sum, as Keras does"
    return OutputReading(True, _given(kind, as_logits=False), note)


def _given(kind: Kind, *, as_logits: bool) -> Literal["logits", "probabilities", "scores"]:
    if kind == "probabilities":
        return "probabilities"
    return "logits" if as_logits else "scores"


def kind_of_outputs(model: Any, image_shape: ImageShape) -> Kind:
    """Of an undrawn model: by Keras' own last layer, or by running the network."""
    known = _by_last_layer(model)
    if known is not None:
        return known
    kind: Kind = "logits"
    for seed in range(_NUM_DRAWS):
        draw_weights(model, seed)
        kind = _kind(_outputs(model, _images(image_shape, seed)), model)
        if kind in ("logits", "probabilities"):
            return kind
    return kind


def _by_last_layer(model: Any) -> Kind | None:
    """What needs no look: the two endings that nearly all networks have, without running them."""
    last = model.layers[-1] if isinstance(model, keras.Sequential) else None
    if hasattr(model, "operations") and hasattr(model.outputs[0], "_keras_history"):
        last = model.outputs[0]._keras_history.operation
    activation = getattr(last, "activation", None)
    if type(last) is keras.layers.Dense and activation is keras.activations.linear:
        return "logits"
    if type(last) in (keras.layers.Dense, keras.layers.Activation):
        return "probabilities" if activation is keras.activations.softmax else None
    return None


def _images(image_shape: ImageShape, seed: int) -> NDArray[np.float32]:
    images = np.random.default_rng(seed).standard_normal((len(_SCALES), *image_shape))
    return (images * _SCALES[:, None, None, None]).astype(np.float32)


def _outputs(model: Any, images: NDArray[np.float32]) -> NDArray[np.float64]:
    if keras.backend.backend() == "jax":  # which compiles every operation that is called alone
        outputs = model.predict_on_batch(images)
    else:
        outputs = keras.ops.convert_to_numpy(model(images, training=False))
    return np.asarray(outputs, np.float64)


def _kind(outputs: NDArray[np.float64], model: Any) -> Kind:
    rows = outputs[np.isfinite(outputs).all(axis=-1)]
    tolerance = _TOLERANCES.get(str(model.compute_dtype), 1e-4)
    if not len(rows) or rows.min() < 0:
        return "logits"
    if np.abs(rows.sum(axis=-1) - 1).max() <= tolerance:
        return "probabilities"
    return "scores" if rows.max() <= 1 + tolerance else "positive"
