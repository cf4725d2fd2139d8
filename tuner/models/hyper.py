"""Our families as `keras_tuner.HyperModel`s, for ordinary keras-tuner programs.

    hypermodel = tuner.models.hyper_model(
        "densenet", (32, 32, 3), 100, depth={"choice": [40, 100]}, bottleneck=True,
        dropout={"min": 0.0, "max": 0.5}, learning_rate={"min": 1e-4, "max": 1e-1, "scale": "log"},
    )
    keras_tuner.RandomSearch(hypermodel, objective="val_accuracy", max_trials=10)

(imported when it is asked for, because it imports keras-tuner)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import keras
import keras_tuner
from pydantic import ValidationError

from tuner.errors import InputError, Problem, nearest
from tuner.models.families import family_of
from tuner.models.family import Family, ImageShape
from tuner.models.own.family import is_own

# hyperparameters → a Keras optimizer
MakeOptimizer = Callable[[Any], Any]


class FamilyHyperModel(keras_tuner.HyperModel):  # type: ignore[misc]
    """Builds and compiles the networks of a family; see `hyper_model`."""

    def __init__(
        self,
        family: Family[Any],
        image_shape: ImageShape,
        num_classes: int,
        values: Mapping[str, Any],
        optimizer: MakeOptimizer,
    ) -> None:
        super().__init__(name=family.name)
        self._family = family
        self._image_shape = image_shape
        self._num_classes = num_classes
        self._values = dict(values)
        self._optimizer = optimizer

    def build(self, hp: Any) -> Any:
        """A compiled model of logits.

        Raises:
            pydantic.ValidationError: values that do not go together.
        """
        fields = self._family.config.model_fields
        closed = {
            name: _closed(hp, name, value, fields[name].annotation)
            for name, value in self._values.items()
        }
        config = self._family.config(**closed)
        model = self._family.build(config, self._image_shape, self._num_classes)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(self._optimizer(hp), loss, metrics=["accuracy"])
        return model


def hyper_model(
    family: str,
    image_shape: ImageShape,
    num_classes: int,
    *,
    learning_rate: Any = None,
    optimizer: MakeOptimizer | None = None,
    **values: Any,
) -> FamilyHyperModel:
    """A family whose fields are fixed or open as in an experiment file.

    Args:
        family: `resnet`, `densenet`, ...
        image_shape: (height, width, channels).
        num_classes: outputs.
        learning_rate: of Adam; fixed or open. Default: 0.001.
        optimizer: makes the optimizer from the hyperparameters, instead.
        values: fields of the family: one value, `{"choice": [...]}`, or
            `{"min": a, "max": b, "step": s, "scale": "log"}`, where step and scale are
            keras-tuner's own.

    Raises:
        InputError: a family, a field or a value of one that there is not.
    """
    if is_own(family):
        what, mend = "this is a function of your own", "give it to the keras_tuner.Tuner as it is"
        raise InputError(Problem(what, "family", family, "a family of tuner's", mend))
    if optimizer is not None and learning_rate is not None:
        what = "optimizer makes its own learning rate"
        raise InputError(Problem(what, "learning_rate", str(learning_rate), mend="leave one out"))
    known = family_of(family)
    problems = [problem for name in values for problem in _problems(known, name, values)]
    rate = 1e-3 if learning_rate is None else learning_rate
    problems += _form_problems("learning_rate", rate)
    if problems:
        raise InputError(problems)
    make = optimizer or (
        lambda hp: keras.optimizers.Adam(_closed(hp, "learning_rate", rate, float))
    )
    return FamilyHyperModel(known, image_shape, num_classes, values, make)


def _closed(hp: Any, name: str, value: Any, field: Any) -> Any:
    """The value that keras-tuner gives an open one; `field` is what the family holds it as."""
    if not isinstance(value, Mapping):
        return value
    if "choice" in value:
        return _chosen(hp, name, list(value["choice"]))
    low, high, step = value["min"], value["max"], value.get("step")
    is_number = field is float or float in get_args(field)
    is_whole = isinstance(low, int) and isinstance(high, int) and not is_number
    kind = hp.Int if is_whole else hp.Float
    return kind(name, low, high, step=step, sampling=value.get("scale", "linear"))


def _chosen(hp: Any, name: str, options: list[Any]) -> Any:
    """keras-tuner chooses among scalars of one kind; others stand as JSON."""
    kinds = {type(option) for option in options}
    if kinds == {int, float}:
        return hp.Choice(name, [float(option) for option in options])
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        return hp.Choice(name, options)
    by_text = {json.dumps(option): option for option in options}
    return by_text[hp.Choice(name, list(by_text))]


# ---------------------------------------------------------------------- what is wrong


def _problems(family: Family[Any], name: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    if name not in family.config.model_fields or name == "family":
        yield _unknown(name, family)
        return
    if problems := _form_problems(name, values[name]):
        yield from problems
        return
    others = {other: value for other, value in values.items() if other != name}
    fixed = {other: value for other, value in others.items() if not isinstance(value, Mapping)}
    for candidate in _candidates(values[name]):
        try:
            family.config(**fixed, **{name: candidate})
        except ValidationError as error:
            # Where another value is open, a rule about both may hold for some of its values.
            said = [
                one["msg"]
                for one in error.errors()
                if one["loc"][:1] == (name,) and (one["type"] != "value_error" or fixed == others)
            ]
            if said:
                yield Problem(said[0], name, received=repr(candidate))


def _form_problems(name: str, value: Any) -> list[Problem]:
    """What is wrong with how an open value is written."""
    if not isinstance(value, Mapping):
        return []
    expected = '{"choice": [...]} or {"min": a, "max": b, "step": s, "scale": "log"}'
    is_range = {"min", "max"} <= value.keys() <= {"min", "max", "step", "scale"}
    if not is_range and not (value.keys() == {"choice"} and value["choice"]):
        mend = "list the points in a choice" if "count" in value else ""
        return [Problem("no open value is written so", name, repr(value), expected, mend)]
    try:
        _closed(keras_tuner.HyperParameters(), name, value, float)
    except (TypeError, ValueError) as error:
        return [Problem(str(error), name, repr(value), expected)]
    return []


def _candidates(value: Any) -> list[Any]:
    """One value, all options, or both ends."""
    if not isinstance(value, Mapping):
        return [value]
    return list(value["choice"]) if "choice" in value else [value["min"], value["max"]]


def _unknown(name: str, family: Family[Any]) -> Problem:
    known = [field for field in family.config.model_fields if field != "family"]
    near = nearest(name, known)
    mend = f"{near}?" if near else ""
    return Problem(f"{family.name} has no {name}", "", name, ", ".join(known), mend)
