"""Our families as `keras_tuner.HyperModel`s, for ordinary keras-tuner programs.

    hypermodel = tuner.models.hyper_model(
        "densenet", (32, 32, 3), 100, depth={"choice": [40, 100]}, bottleneck=True,
        dropout={"min": 0.0, "max": 0.5}, learning_rate={"min": 1e-4, "max": 1e-1, "scale": "log"},
    )
    keras_tuner.RandomSearch(hypermodel, objective="val_accuracy", max_trials=10)

(imported when it is asked for, because it imports keras-tuner)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner

from tuner.errors import InputError, Problem, nearest
from tuner.models.families import family_of
from tuner.models.family import Family, ImageShape

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
        closed = {name: _closed(hp, name, value) for name, value in self._values.items()}
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
    learning_rate: Any = 1e-3,
    optimizer: MakeOptimizer | None = None,
    **values: Any,
) -> FamilyHyperModel:
    """A family whose fields are fixed or open as in an experiment file.

    Args:
        family: `resnet`, `densenet`, ...
        image_shape: (height, width, channels).
        num_classes: outputs.
        learning_rate: of Adam; fixed or open. `reverse_log` is keras-tuner's own.
        optimizer: makes the optimizer from the hyperparameters, instead.
        values: fields of the family: one value, `{"choice": [...]}`, or
            `{"min": a, "max": b, "step": s, "scale": "log"}`.

    Raises:
        InputError: a family or a field that there is not.
    """
    known = family_of(family)
    for name in values:
        if name not in known.config.model_fields or name == "family":
            raise InputError(_unknown(name, known))
    make = optimizer or (
        lambda hp: keras.optimizers.Adam(_closed(hp, "learning_rate", learning_rate))
    )
    return FamilyHyperModel(known, image_shape, num_classes, values, make)


def _closed(hp: Any, name: str, value: Any) -> Any:
    """The value that keras-tuner gives an open one."""
    if not isinstance(value, Mapping):
        return value
    if "choice" in value:
        return _chosen(hp, name, list(value["choice"]))
    low, high, step = value["min"], value["max"], value.get("step")
    kind = hp.Int if isinstance(low, int) and isinstance(high, int) else hp.Float
    return kind(name, low, high, step=step, sampling=value.get("scale", "linear"))


def _chosen(hp: Any, name: str, options: list[Any]) -> Any:
    """keras-tuner chooses among scalars of one kind; others by their index."""
    kinds = {type(option) for option in options}
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        return hp.Choice(name, options)
    return options[hp.Choice(name, list(range(len(options))), ordered=False)]


def _unknown(name: str, family: Family[Any]) -> Problem:
    known = [field for field in family.config.model_fields if field != "family"]
    near = nearest(name, known)
    mend = f"{near}?" if near else ""
    return Problem(f"{family.name} has no {name}", "", name, ", ".join(known), mend)
