"""From a closed configuration to what a program is built for and what it is run with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuner.models import family_of, runtime_fields
from tuner.models.family import Family, FamilyConfig
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
    """What the program of a trial is built for."""
    family = family_of(model["family"])
    config = shape_config(family, model, switches)
    size = training["batch_size"]
    return Blueprint(
        build=lambda: family.build(config, images.image_shape, images.num_classes),
        optimizer=training["optimizer"],
        batch_size=images.num_train if size == "full" else size,
        precision=precision,
    )


def hyperparameters(
    model: Mapping[str, Any], training: Mapping[str, Any], seed: int
) -> Hyperparameters:
    """The runtime values of a trial."""
    names = runtime_fields(family_of(model["family"]).config)
    return Hyperparameters(training, {name: model[name] for name in names}, seed)
