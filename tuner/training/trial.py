"""From a closed configuration to what a program is built for and what it is run with."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import InputError, Problem
from tuner.experiment.schema import COMPILED
from tuner.experiment.trial import canonical
from tuner.models import family_of, is_own, runtime_fields
from tuner.models.family import Family, FamilyConfig
from tuner.models.own import used_values
from tuner.models.own_build import (
    check_shapes,
    digest_of,
    gives_probabilities,
    load_build,
    rates_by_place,
    run_build,
    run_uninitialized,
)
from tuner.models.own_compiled import read_compiled
from tuner.training.precision import precision_scope
from tuner.training.program import Blueprint, DeviceImages, Hyperparameters, Program


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
    values = used_values(model)
    build = load_build(model["family"])
    with precision_scope(precision):
        built = run_uninitialized(build, values, images.image_shape)
        check_shapes(built.model, images.image_shape, images.num_classes)
    compiled, optimizer = read_compiled(built.model), training["optimizer"]
    if optimizer == COMPILED:
        if compiled is None:
            raise InputError(_not_compiled(model["family"]))
        optimizer, training = compiled.optimizer, {**training, **compiled.values}
    plan = Blueprint(
        build=lambda: run_build(build, values, images.image_shape).model,
        optimizer=optimizer,
        batch_size=_batch_size(training, images),
        precision=precision,
        probabilities=gives_probabilities(built.model, compiled),
    )
    shape = digest_of(built.model) or canonical(dict(model))
    key = (shape, optimizer, plan.batch_size, precision, plan.probabilities)
    return Prepared(key, plan, Hyperparameters(training, rates_by_place(built.rates), seed))


def _not_compiled(family: str) -> Problem:
    what = "the model of this trial is not compiled, where others of it are"
    return Problem(what, "model.family", received=family, mend="set training.optimizer")
