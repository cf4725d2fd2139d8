"""The Keras model of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tuner.models import family_of, is_own, runtime_fields
from tuner.models.family import ImageShape
from tuner.models.own import used_values
from tuner.models.own_build import load_build, rates_by_place, run_build, run_uninitialized
from tuner.training.network import Network


def restored_model(
    model: Mapping[str, Any], arrays: Mapping[str, Any], notes: Mapping[str, Any]
) -> Any:
    """The network of a closed `model:` section with the weights of a checkpoint.

    It takes pixels, `(batch, height, width, channels)` in 0..255, which it normalizes itself, and
    gives what the network gives: logits, or probabilities if a network of one's own does.
    """
    shape, num_classes = tuple(notes["image_shape"]), notes["num_classes"]
    build, rates = _build_and_rates(model, shape, num_classes)
    network = Network(build, augmentation=None)
    moving = [arrays[f"moving.{n}"] for n in range(len(network.moving))]
    return _from_pixels(network.assign(arrays["weights"], moving, rates), notes)


def _build_and_rates(
    model: Mapping[str, Any], shape: ImageShape, num_classes: int
) -> tuple[Callable[[], Any], Mapping[str, float]]:
    """As `prepare` does for a trial that is to be trained."""
    if is_own(model["family"]):
        build, values = load_build(model["family"]), used_values(model)
        rates = run_uninitialized(build, values, shape).rates
        return lambda: run_build(build, values, shape).model, rates_by_place(rates)
    family = family_of(model["family"])
    config = family.config(**model)
    rates_by_name = {name: float(model[name]) for name in runtime_fields(family.config)}
    return lambda: family.build(config, shape, num_classes), rates_by_name


def _from_pixels(network: Any, notes: Mapping[str, Any]) -> Any:
    # Its own compile() has had its day; an optimizer without state could not be saved with it.
    network.optimizer, network.compiled = None, False
    inputs = keras.Input(tuple(notes["image_shape"]), name="pixels")
    variance = np.square(notes["std"]).tolist()
    normalize = keras.layers.Normalization(mean=notes["mean"], variance=variance, name="normalize")
    return keras.Model(inputs, network(normalize(inputs)), name=network.name)
