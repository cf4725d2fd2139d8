"""From a closed configuration to its program, or to the Keras model of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tuner.errors import InputError, Problem
from tuner.experiment.schema import COMPILED
from tuner.experiment.trial import canonical
from tuner.models import family_of, is_own, runtime_fields
from tuner.models.family import Family, FamilyConfig, ImageShape
from tuner.models.own import used_values
from tuner.models.own_build import (
    Built,
    check_shapes,
    digest_of,
    gives_probabilities,
    load_build,
    rates_by_place,
    run_build,
    run_uninitialized,
)
from tuner.models.own_compile import read_compiled
from tuner.training.network import Network
from tuner.training.program import (
    Blueprint,
    DeviceImages,
    Hyperparameters,
    Program,
    precision_scope,
)


def program_class(backend: str) -> type[Program]:
    """The program of a backend; imports the framework."""
    if backend == "jax":
        from tuner.training.jax import JaxProgram

        return JaxProgram
    from tuner.training.tensorflow import TensorFlowProgram

    return TensorFlowProgram


def shape_config(
    family: Family[Any], model: Mapping[str, Any], switches: Iterable[str]
) -> FamilyConfig:
    """The configuration that a network is built from: a runtime rate is on (any value) or 0."""
    on = {name: 0.5 if name in set(switches) else 0.0 for name in runtime_fields(family.config)}
    config: FamilyConfig = family.config(**{**model, **on})
    return config


def blueprint(
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    *,
    switches: Iterable[str],
    precision: str,
    images: DeviceImages,
) -> Blueprint:
    """What the program of a trial of one of our families is built for."""
    family = family_of(model["family"])
    config = shape_config(family, model, switches)
    return Blueprint(
        build=lambda: family.build(config, images.image_shape, images.num_classes),
        optimizer=training["optimizer"],
        batch_size=_batch_size(training, images),
        precision=precision,
    )


def hyperparameters(
    model: Mapping[str, Any], training: Mapping[str, Any], seed: int
) -> Hyperparameters:
    """The runtime values of a trial of one of our families."""
    names = runtime_fields(family_of(model["family"]).config)
    return Hyperparameters(training, {name: model[name] for name in names}, seed)


@dataclass(frozen=True)
class Prepared:
    """What a worker needs of a trial; trials with equal `key` share one program."""

    key: Hashable
    blueprint: Blueprint
    hyperparameters: Hyperparameters


def prepare(
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    *,
    structure: Hashable,
    switches: Iterable[str],
    seed: int,
    precision: str,
    images: DeviceImages,
) -> Prepared:
    """What the program of a trial is built for, and what it is run with.

    Raises:
        InputError: a network of the person's own that cannot be had.
    """
    if is_own(model["family"]):
        return _prepare_own(model, training, seed, precision, images)
    plan = blueprint(model, training, switches=switches, precision=precision, images=images)
    return Prepared(structure, plan, hyperparameters(model, training, seed))


def _batch_size(training: Mapping[str, Any], images: DeviceImages) -> int:
    size = training["batch_size"]
    return images.num_train if size == "full" else int(size)


def _prepare_own(
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    precision: str,
    images: DeviceImages,
) -> Prepared:
    """Built for every trial, which is cheap, to see whether a program already there fits it."""
    with precision_scope(precision):
        build, built = _run_own(model, images.image_shape)
        check_shapes(built.model, images.image_shape, images.num_classes)
    compiled, optimizer = read_compiled(built.model), training["optimizer"]
    if optimizer == COMPILED:
        if compiled is None:
            what = "the model of this trial is not compiled, where others of it are"
            mend = "set training.optimizer"
            raise InputError(Problem(what, "model.family", received=model["family"], mend=mend))
        optimizer, training = compiled.optimizer, {**training, **compiled.values}
    plan = Blueprint(
        build=build,
        optimizer=optimizer,
        batch_size=_batch_size(training, images),
        precision=precision,
        probabilities=gives_probabilities(built.model, compiled),
    )
    shape = digest_of(built.model) or canonical(dict(model))
    key = (shape, optimizer, plan.batch_size, precision, plan.probabilities)
    return Prepared(key, plan, Hyperparameters(training, rates_by_place(built.rates), seed))


def _run_own(model: Mapping[str, Any], shape: ImageShape) -> tuple[Callable[[], Any], Built]:
    """What builds a network of the person's own, and what came out of it without weights."""
    build, values = load_build(model["family"]), used_values(model)
    built = run_uninitialized(build, values, shape)
    return lambda: run_build(build, values, shape).model, built


def is_probabilistic(model: Mapping[str, Any], image_shape: ImageShape) -> bool:
    """Whether the network of a closed `model:` section gives probabilities.

    Those of our families give logits; a person's own says it by its last activation or its loss.
    """
    if not is_own(model["family"]):
        return False
    _, built = _run_own(model, image_shape)
    return gives_probabilities(built.model, read_compiled(built.model))


def restored_model(
    model: Mapping[str, Any], arrays: Mapping[str, Any], notes: Mapping[str, Any]
) -> Any:
    """The network of a closed `model:` section with the weights of a checkpoint.

    It takes pixels, `(batch, height, width, channels)` as the data have them, which it normalizes
    itself where it was trained so, and gives what the network gives: logits, or probabilities if a
    network of one's own does.
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
        build, built = _run_own(model, shape)
        return build, rates_by_place(built.rates)
    family = family_of(model["family"])
    config = family.config(**model)
    rates_by_name = {name: float(model[name]) for name in runtime_fields(family.config)}
    return lambda: family.build(config, shape, num_classes), rates_by_name


def _from_pixels(network: Any, notes: Mapping[str, Any]) -> Any:
    # Its own compile() has had its day; an optimizer without state could not be saved with it.
    network.optimizer, network.compiled = None, False
    inputs = keras.Input(tuple(notes["image_shape"]), name="pixels")
    if not any(notes["mean"]) and all(std == 1 for std in notes["std"]):
        return keras.Model(inputs, network(inputs), name=network.name)
    variance = np.square(notes["std"]).tolist()
    normalize = keras.layers.Normalization(mean=notes["mean"], variance=variance, name="normalize")
    return keras.Model(inputs, network(normalize(inputs)), name=network.name)
