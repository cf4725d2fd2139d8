"""A trial: one closed configuration with one seed, and the keys that identify it.

What the keys need of schemas and families is imported when a key is computed: the ledger and its
views use the states alone, and must answer at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.data.config import DataConfig

# Part of every key. Raise it when the same trial would come out differently than before.
OUTCOME_VERSION = 2

# Of data: trials that are older do not name them, and are no different for it.
_LATER = ("image_size", "normalize")
# Of models: likewise for structures, whose measured times are known by their keys.
_LATER_OF_MODEL = {"dropout_mode": "upscale_in_train"}

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


class TrialState(StrEnum):
    """Where a trial stands; STOPPED is by a rule, DIVERGED by NaN or infinity."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True)
class Configuration:
    """One point of the search space, closed: every field has a value.

    `model` and `training` are plain JSON values with the defaults filled in; `values` holds what
    was left open, by dotted name. `switches` are the runtime fields of the model (rates) that its
    branch of the space ever turns on: they shape the graph, but not the outcome. `data` has what
    is searched of that section.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    values: dict[str, Any]
    switches: frozenset[str] = frozenset()
    data: dict[str, Any] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Every value that is used, by dotted name; what the optimizer does not use is absent, and
        what a network of the person's own does not ask for.
        """
        from tuner.experiment.schema import OBSERVING, used_training_fields
        from tuner.models import is_own

        used = used_training_fields(self.training["optimizer"]) - OBSERVING
        own = is_own(self.model["family"])
        asked = {n: v for n, v in self.model.items() if v is not None or not own}
        model = {f"model.{name}": value for name, value in asked.items()}
        training = {f"training.{n}": value for n, value in self.training.items() if n in used}
        return model | training | {f"data.{name}": value for name, value in self.data.items()}


def sections_of(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `Configuration.flat` as the sections of a file."""
    sections: dict[str, Any] = {"model": {}, "training": {}}
    for name, value in flat.items():
        section, _, field = name.partition(".")
        sections.setdefault(section, {})[field] = value
    return sections


@dataclass(frozen=True)
class Structure:
    """What shapes the compiled program; trials that are equal in it share one.

    In `model` a runtime rate stands as True or False: the layer is there or it is not.
    """

    model: dict[str, Any]
    batch_size: int | str
    optimizer: str
    backend: str
    precision: str
    augment: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that are the same in every process."""
        return _digest(vars(self) | {"augment": list(self.augment)})[:16]

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Trial:
    """A closed configuration with everything else that decides its outcome.

    `data` is closed, too. `searched_augment` is all that any trial of its experiment does to
    images, if that is searched: its program can do all of it.
    """

    configuration: Configuration
    data: DataConfig
    backend: str
    precision: str
    replicate: int
    seed: int
    data_fingerprint: str = ""
    num_train_images: int = 0  # that it is trained on; 0 where nobody has looked at the data
    searched_augment: tuple[str, ...] | None = None

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that decides the outcome.

        Fields that only observe are left out, and those at their default, so that a field which
        is added later with a default keeps old keys valid. What was open and what was fixed makes
        no difference.
        """
        from tuner.experiment.schema import OBSERVING, TrainingConfig, used_training_fields
        from tuner.models import family_of

        configuration = self.configuration
        family: Any = family_of(configuration.model["family"])
        used = used_training_fields(configuration.training["optimizer"]) - OBSERVING
        training = {n: value for n, value in configuration.training.items() if n in used}
        content = {
            "version": OUTCOME_VERSION,
            "family": configuration.model["family"],
            "model": _changed(configuration.model, _defaults(family.config)),
            "training": _changed(training, _defaults(TrainingConfig)),
            "data": self._data(),
            "backend": self.backend,
            "precision": self.precision,
            "seed": self.seed,
        }
        if family.fingerprint:
            content["code"] = family.fingerprint
        # Such a batch was left out once: the same values train otherwise today.
        if self.has_partial_batch:
            content["last_batch"] = "partial"
        return _digest(content)

    @property
    def has_partial_batch(self) -> bool:
        """Whether the last batch of an epoch is smaller than the others."""
        size = self.configuration.training["batch_size"]
        return isinstance(size, int) and self.num_train_images % size != 0

    @property
    def context(self) -> dict[str, Any]:
        """What else decides the outcome, by dotted name: data, backend, precision, own code.

        Trials whose contexts differ were not trained or validated on the same terms.
        """
        from tuner.data.config import DataConfig
        from tuner.models import family_of

        written = self.data.model_dump(mode="json")
        later = _changed({n: v for n, v in written.items() if n in _LATER}, _defaults(DataConfig))
        data = {n: v for n, v in written.items() if n not in _LATER} | later
        data["fingerprint"] = self.data_fingerprint
        searched = self.configuration.data
        context = {f"data.{name}": value for name, value in data.items() if name not in searched}
        context |= {"backend": self.backend, "precision": self.precision}
        if code := family_of(self.configuration.model["family"]).fingerprint:
            context["code"] = code
        return context

    @cached_property
    def structure(self) -> Structure:
        """The part of the configuration that shapes the graph."""
        from tuner.models import family_of, runtime_fields

        model, training = self.configuration.model, self.configuration.training
        switches = runtime_fields(family_of(model["family"]).config)
        rates = {name: name in self.configuration.switches for name in switches}
        named = {n: v for n, v in model.items() if v != _LATER_OF_MODEL.get(n, ...)}
        return Structure(
            model=named | rates,
            batch_size=training["batch_size"],
            optimizer=training["optimizer"],
            backend=self.backend,
            precision=self.precision,
            augment=self._augment_of_program(),
        )

    def _augment_of_program(self) -> tuple[str, ...]:
        """What the compiled program does to images; `?` where it is told for each trial."""
        if self.searched_augment is None:
            return tuple(self.data.augment)
        return tuple(f"{name}?" for name in self.searched_augment)

    def _data(self) -> dict[str, Any]:
        """The data section without its defaults; a file is known by its content, not its path."""
        from tuner.data import is_path

        data = self.data.model_dump(mode="json")
        changed = _changed(data, _defaults(type(self.data)) | {"dataset": None})
        if is_path(data["dataset"]):
            del changed["dataset"]
        return changed | {"fingerprint": self.data_fingerprint}


def canonical(value: Any) -> str:
    """JSON that is the same for equal values: keys sorted, floats in their shortest form."""
    return _ENCODER.encode(value)


def _digest(content: Any) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


@cache
def _defaults(config: Any) -> dict[str, Any]:
    """Default of each field that has one, as plain JSON values."""
    defaults = {}
    for name, info in config.model_fields.items():
        if not info.is_required():
            defaults[name] = json.loads(json.dumps(info.get_default(call_default_factory=True)))
    return defaults


def _changed(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Values that differ from their default; a field without default is always kept."""
    return {
        name: value
        for name, value in values.items()
        if name != "family" and not (name in defaults and _equal(value, defaults[name]))
    }


def _equal(value: Any, default: Any) -> bool:
    """As the field sees it: 1 is 1.0, but not true."""
    return isinstance(value, bool) == isinstance(default, bool) and bool(value == default)
