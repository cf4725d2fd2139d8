"""From a closed configuration to its program, or to the Keras model of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tuner.code.keras_globals import keras_defaults
from tuner.code.loading import raised
from tuner.code.process import prints_aside
from tuner.errors import InputError, Problem, TunerError
from tuner.experiment.schema import COMPILED
from tuner.experiment.trial import canonical
from tuner.models import family_of, is_own, runtime_fields
from tuner.models.family import Family, FamilyConfig, ImageShape
from tuner.models.own.build import (
    Built,
    digest_of,
    load_build,
    rates_by_place,
    run_undrawn,
)
from tuner.models.own.checks import check_classes
from tuner.models.own.compile import read_compiled
from tuner.models.own.family import used_values
from tuner.models.own.outputs import Kind, OutputReading, kind_of_outputs, read_outputs
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
        built = _run_own(model, images.image_shape)
        check_classes(built.outputs, images.num_classes)
        _check_precision(built, precision)
        shape = digest_of(built.model) or canonical(dict(model))
        outputs = _kind_of(built, images.image_shape, (shape, precision))
    compiled, optimizer = read_compiled(built.model), training["optimizer"]
    if optimizer == COMPILED:
        if compiled is None:
            what = "the model of this trial is not compiled, where others of it are"
            mend = "set training.optimizer"
            raise InputError(Problem(what, "model.family", received=model["family"], mend=mend))
        compiled.check()
        optimizer, training = compiled.optimizer, {**training, **compiled.values}
    plan = Blueprint(
        build=lambda: built.model,
        optimizer=optimizer,
        batch_size=_batch_size(training, images),
        precision=precision,
        probabilities=read_outputs(outputs, compiled).as_probabilities,
    )
    key = (shape, optimizer, plan.batch_size, precision, plan.probabilities)
    return Prepared(key, plan, Hyperparameters(training, rates_by_place(built.rates), seed))


def _run_own(model: Mapping[str, Any], shape: ImageShape) -> Built:
    """A network of the person's own, without weights."""
    return run_undrawn(load_build(model["family"]), used_values(model), shape)


def _check_precision(built: Built, precision: str) -> None:
    if built.precision != precision:
        what = "build sets another precision than the experiment"
        mend = f"precision: {built.precision}, or leave the policy to the experiment"
        raise InputError(Problem(what, "model.family", built.precision, precision, mend))


_KINDS: dict[Hashable, Kind] = {}  # by structure: to see it may need a run of the network


def _kind_of(built: Built, image_shape: ImageShape, structure: Hashable) -> Kind:
    if structure not in _KINDS:
        _KINDS[structure] = kind_of_outputs(built.model, image_shape)
    return _KINDS[structure]


def output_reading(model: Mapping[str, Any], image_shape: ImageShape) -> OutputReading:
    """What the network of a closed `model:` section gives; those of our families give logits."""
    if not is_own(model["family"]):
        return OutputReading(as_probabilities=False, gives="logits")
    with keras_defaults(), prints_aside():
        built = _run_own(model, image_shape)
        return read_outputs(kind_of_outputs(built.model, image_shape), read_compiled(built.model))


def restored_model(
    model: Mapping[str, Any], arrays: Mapping[str, Any], notes: Mapping[str, Any]
) -> Any:
    """The network of a closed `model:` section with the weights of a checkpoint.

    It takes pixels, `(batch, height, width, channels)` as the data have them, which it normalizes
    itself where it was trained so, and gives what the network gives: logits, or probabilities if a
    network of one's own does.

    Raises:
        TunerError: the weights are of another network than the section says, as its code is now.
    """
    shape, num_classes = tuple(notes["image_shape"]), notes["num_classes"]
    try:
        with keras_defaults(), prints_aside():
            build, rates = _build_and_rates(model, shape, num_classes)
            network = Network(build, augmentation=None)
            moving = [arrays[f"moving.{n}"] for n in range(len(network.moving))]
            return _from_pixels(network.assign(arrays["weights"], moving, rates), notes)
    except TunerError:
        raise
    except Exception as error:  # whatever Keras or a person's build says
        raise TunerError(
            f"the checkpoint does not fit the network {model['family']}: {raised(error)}\n"
            "    fix:      restore the code that it was trained with"
        ) from error


def _build_and_rates(
    model: Mapping[str, Any], shape: ImageShape, num_classes: int
) -> tuple[Callable[[], Any], Mapping[str, float]]:
    """As `prepare` does for a trial that is to be trained."""
    if is_own(model["family"]):
        built = _run_own(model, shape)
        return lambda: built.model, rates_by_place(built.rates)
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
