"""What networks cost on the images of an experiment, which `parameters <= 1e6` and others ask.

No framework is needed: families of tuner's own count from their configuration, a person's own
network is built by symbols in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError, Problem
from tuner.experiment.constraints import SIZES, Constraint
from tuner.experiment.schema import COMPILED, OPTIMIZER_SLOTS
from tuner.experiment.trial import Configuration, canonical
from tuner.models import Cost, family_of, is_own, runtime_fields
from tuner.models.own.family import own_family

_ON = 0.5  # any rate that is not 0


def cost_of(configuration: Configuration, info: DatasetInfo) -> Cost:
    """Parameters, multiply-adds and activations of a configuration's network on these images.

    Of the network as it is compiled, with the layers of a rate that its branch ever turns on.

    Raises:
        InputError: it cannot take them.
    """
    model = configuration.model
    family = family_of(model["family"])
    if not is_own(model["family"]):
        model = model | {n: _ON for n in configuration.switches if not model[n]}
    cost: Cost = family.cost(family.config(**model), info.image_shape, info.num_classes)
    return cost


def memory_of(cost: Cost, configuration: Configuration, batch_size: int, precision: str) -> int:
    """Bytes of weights, gradients, optimizer slots and one batch of activations together."""
    bytes_each = 4 if precision == "float32" else 2
    slots = OPTIMIZER_SLOTS[optimizer_of(configuration)]
    return cost.parameters * 4 * (2 + slots) + cost.activations * batch_size * bytes_each


def optimizer_of(configuration: Configuration) -> str:
    """The optimizer, also where a person's own function chooses it."""
    optimizer = str(configuration.training["optimizer"])
    if optimizer != COMPILED:
        return optimizer
    return own_family(configuration.model["family"]).declaration.optimizer or "adam"


def network_key(model: Mapping[str, Any]) -> str:
    """What tells a network from others: the values of its model that shape it."""
    runtime = runtime_fields(family_of(model["family"]).config)
    return canonical({n: v for n, v in model.items() if n not in runtime and v is not None})


class Sizes:
    """The sizes of networks, each of which is counted once.

    `num_train_images` are what a batch of all images holds.
    """

    def __init__(self, info: DatasetInfo, precision: str, num_train_images: int) -> None:
        self._info = info
        self._precision = precision
        self._num_train_images = num_train_images
        self._costs: dict[tuple[str, frozenset[str]], Cost | InputError] = {}

    def cost(self, configuration: Configuration) -> Cost:
        """Of a configuration's network.

        Raises:
            InputError: it cannot be built.
        """
        key = network_key(configuration.model), configuration.switches
        if key not in self._costs:
            try:
                self._costs[key] = cost_of(configuration, self._info)
            except InputError as error:
                self._costs[key] = error
        cost = self._costs[key]
        if isinstance(cost, InputError):
            raise cost
        return cost

    def of(self, configuration: Configuration) -> dict[str, float]:
        """By the names that constraints use.

        Raises:
            InputError: it cannot be built.
        """
        cost, size = self.cost(configuration), configuration.training["batch_size"]
        batch_size = self._num_train_images if size == "full" else int(size)
        memory = memory_of(cost, configuration, batch_size, self._precision)
        sizes = (cost.parameters, cost.macs, memory)
        return dict(zip(SIZES, map(float, sizes), strict=True))

    @staticmethod
    def broken(
        configuration: Configuration,
        constraints: tuple[Constraint, ...],
        sizes: Mapping[str, float],
    ) -> Constraint | None:
        """The first of these constraints that a configuration with such a network breaks."""
        values = {**configuration.flat(), **configuration.values, **sizes}
        about = (c for c in constraints if values.keys() >= set(c.dotted))
        return next((c for c in about if not c(values)), None)

    def check_countable(
        self, configuration: Configuration, constraints: tuple[Constraint, ...]
    ) -> None:
        """Multiply-adds of layers that a person has written are not known.

        Raises:
            InputError: a constraint asks for them.
        """
        uncounted = self.cost(configuration).uncounted
        asking = [c.text for c in constraints if "size.macs" in c.sizes] if uncounted else []
        if asking:
            what = f"macs cannot be counted for {configuration.model['family']}"
            received = f"layers with weights of their own: {', '.join(uncounted)}"
            mend = "compare parameters or memory_bytes, which every network has"
            raise InputError(Problem(what, "search.constraints", received, mend=mend))
