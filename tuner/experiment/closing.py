"""The experiment that is one trial of another: the same file with every value closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.experiment.experiment import Experiment, parse_experiment
from tuner.experiment.scalars import write_document

_LONGEST_NAME = 80


def closed(experiment: Experiment, flat: Mapping[str, Any], *, seed: int, suffix: str) -> str:
    """YAML of an experiment with one trial: the dotted values `flat` under `seed`.

    It is named after the experiment and `suffix`.
    """
    sections: dict[str, dict[str, Any]] = {"model": {}, "training": {}}
    for name, value in flat.items():
        section, _, field = name.partition(".")
        # Of a network of one's own, null is a hyperparameter that this configuration has not.
        if value is not None or section != "model":
            sections[section][field] = value
    search = {"method": "grid", "seed": seed}
    name = experiment.name[: _LONGEST_NAME - len(suffix)] + suffix
    return write_document(experiment.document | sections | {"name": name, "search": search})


def key_of(text: str, fingerprint: str) -> str:
    """The key of the one trial of a closed experiment; `fingerprint` is of its data.

    Raises:
        InputError: the experiment is no longer one: a network of the person's own is not found.
    """
    experiment = parse_experiment(text, "closed.yaml")
    configuration = next(iter(experiment.space))
    return experiment.trial(configuration, 0, fingerprint).key
