"""What the networks of an experiment cost on its images, without building them here."""

from __future__ import annotations

from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError
from tuner.experiment.trial import Configuration, Trial
from tuner.models import Cost, family_of


def cost_of(configuration: Configuration, info: DatasetInfo) -> Cost:
    """Parameters, multiply-adds and activations of a configuration's network on these images.

    Raises:
        InputError: it cannot take them.
    """
    model = configuration.model
    family = family_of(model["family"])
    cost: Cost = family.cost(family.config(**model), info.image_shape, info.num_classes)
    return cost


class TrialCosts:
    """The cost of a trial's network, worked out once per structure."""

    def __init__(self, info: DatasetInfo) -> None:
        self._info = info
        self._known: dict[str, Cost | None] = {}

    def __call__(self, trial: Trial) -> Cost | None:
        """None for a network that cannot be: its worker will say why."""
        key = trial.structure.key
        if key not in self._known:
            try:
                self._known[key] = cost_of(trial.configuration, self._info)
            except InputError:
                self._known[key] = None
        return self._known[key]
