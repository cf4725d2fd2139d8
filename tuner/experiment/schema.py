"""The sections of an experiment file but for `model:` and `data:`, which belong to their rooms.

Fields, ranges and descriptions are written once, here: validation, messages and the JSON Schema
are made from them.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tuner.experiment.duration import PATTERN, parse_duration

STRUCTURAL = frozenset({"batch_size", "optimizer"})
"""Training fields that shape the graph; all others are runtime values of a compiled program."""

OBSERVING = frozenset({"watch"})
"""Training fields that change nothing about a trial but what is kept of it."""

COMPILED = "compiled"
"""The optimizer of a model that a person's own `build(hp)` compiles."""

OPTIMIZER_FIELDS: dict[str, frozenset[str]] = {
    "adam": frozenset({"learning_rate", "beta_1", "beta_2", "epsilon"}),
    "adamw": frozenset({"learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"}),
    "sgd": frozenset({"learning_rate", "momentum", "nesterov"}),
    "rmsprop": frozenset({"learning_rate", "rho", "momentum", "centered", "epsilon"}),
    "nadam": frozenset({"learning_rate", "beta_1", "beta_2", "epsilon"}),
    "adagrad": frozenset({"learning_rate", "initial_accumulator_value", "epsilon"}),
    COMPILED: frozenset(),
}
"""Training fields that belong to one optimizer or another."""

OPTIMIZER_SLOTS = {"sgd": 1, "adam": 2, "adamw": 2, "rmsprop": 3, "nadam": 2, "adagrad": 1}
"""Numbers that an optimizer keeps beside each weight."""

_METHOD_OPTIONS = {"configurations": "list", "min_epochs": "hyperband", "reduction": "hyperband"}

_CLOSED = ConfigDict(frozen=True, extra="forbid")


class Head(BaseModel):
    """The values at the top of an experiment."""

    model_config = _CLOSED

    name: str = Field(
        description="Name of the experiment and of its folder under results/. "
        "Default: the file's name without its ending.",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,79}$",
        json_schema_extra={"words": "letters, digits, . _ - ; at most 80, no . or - in front"},
    )
    description: str = Field("", description="What the experiment asks, in a sentence.")
    backend: Literal["tensorflow", "jax"] = Field(
        "tensorflow", description="Framework that trains."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="Keras dtype policy of the network."
    )


class Step(BaseModel):
    """Learning rate times `factor` at each fraction in `at` of the training behind the warm-up."""

    model_config = _CLOSED

    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        min_length=1, description="Fractions of the training behind the warm-up, as [0.5, 0.75]."
    )
    factor: float = Field(gt=0, lt=1, description="What the learning rate is multiplied by.")


class StepSchedule(BaseModel):
    """A schedule in steps: `{step: {at: [0.5, 0.75], factor: 0.1}}`."""

    model_config = _CLOSED

    step: Step


ClassWeights = Annotated[
    dict[str, Annotated[float, Field(ge=0)]],
    Field(json_schema_extra={"propertyNames": {"not": {"enum": ["choice", "min", "max"]}}}),
]
"""Weights by the name or the number of the class."""


class TrainingConfig(BaseModel):
    """How one trial is trained. Every value may be left open."""

    model_config = _CLOSED

    epochs: int = Field(40, ge=1, description="Passes over the training images.")
    batch_size: Annotated[int, Field(ge=1)] | Literal["full"] = Field(
        64, description="Images per step; full: all training images at once."
    )
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "nadam", "adagrad", "compiled"] = Field(
        "adam",
        description="Update rule; compiled: that of a build(hp) of your own, with its values.",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Highest learning rate of the schedule.")
    beta_1: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Decay of the first moment (adam, adamw, nadam); 1 - beta is a rate.",
    )
    beta_2: float = Field(
        0.999, ge=0, lt=1, description="Decay of the second moment (adam, adamw, nadam)."
    )
    epsilon: float = Field(
        1e-7,
        gt=0,
        description="Added to the root of the second moment (adam, adamw, nadam), or inside the "
        "root (rmsprop, adagrad).",
    )
    momentum: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Momentum of sgd and rmsprop; of rmsprop 0 unless it is written.",
    )
    nesterov: bool = Field(False, description="Nesterov momentum (sgd).")
    weight_decay: float = Field(
        0.004, ge=0, description="Decoupled decay of adamw; l2 is the penalty in the loss."
    )
    rho: float = Field(
        0.9, ge=0, lt=1, description="Decay of the mean of squared gradients (rmsprop)."
    )
    centered: bool = Field(
        False, description="Divide by the gradient's variance and not by its square (rmsprop)."
    )
    initial_accumulator_value: float = Field(
        0.1, ge=0, description="What the sum of squared gradients begins with (adagrad)."
    )
    l2: float = Field(
        0.0, ge=0, description="λ of λ·Σw² over convolution and dense kernels, added to the loss."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target that is spread over all classes."
    )
    class_weight: Literal["balanced"] | ClassWeights | None = Field(
        None,
        description="Weight of each class in the loss, by its name or number: "
        "{0: 1, 1: 5}, 1 where a class is not named; balanced: n / (K * count) of n training "
        "images in K classes. Reported losses are without it.",
        json_schema_extra={"words": "balanced, weights by class as {0: 1, 1: 5}, or null"},
    )
    shuffle: bool = Field(
        True,
        description="A new order of the training images in every epoch; false: in the order in "
        "which they are stored.",
    )
    schedule: Literal["constant", "cosine", "one_cycle"] | StepSchedule = Field(
        "constant", description="Course of the learning rate over the training."
    )
    warmup_epochs: float = Field(
        0.0, ge=0, description="Epochs in which the learning rate first rises linearly."
    )
    watch: tuple[Literal["gradients"], ...] = Field(
        (),
        description="What else is kept of every epoch: gradients (their norm in each layer, on one "
        "fixed batch of training images). It changes no result.",
    )

    @model_validator(mode="after")
    def _usual_momentum(self) -> TrainingConfig:
        """RMSprop is without momentum unless somebody asks for it, as everywhere else."""
        if self.optimizer == "rmsprop" and "momentum" not in self.model_fields_set:
            return self.model_copy(update={"momentum": 0.0})
        return self

    @field_validator("warmup_epochs")
    @classmethod
    def _within_training(cls, value: float, info: ValidationInfo) -> float:
        epochs = info.data.get("epochs", value)
        if value > epochs:
            raise PydanticCustomError(
                "warmup",
                "{value} warm-up epochs do not fit in {epochs} epochs",
                {"value": f"{value:g}", "epochs": epochs, "expected": f"at most {epochs}"},
            )
        return value


class ObjectiveConfig(BaseModel):
    """What is optimized."""

    model_config = _CLOSED

    metric: Literal[
        "loss", "accuracy", "top5_accuracy", "val_loss", "val_accuracy", "val_top5_accuracy"
    ] = Field("val_accuracy", description="Metric of an epoch; the score is its best.")
    direction: Literal["max", "min"] = Field(
        "max", description="max or min. Default: max for accuracies, min for losses."
    )

    @model_validator(mode="before")
    @classmethod
    def _natural_direction(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "direction" in data:
            return data
        loss = str(data.get("metric", "")).endswith("loss")
        return {**data, "direction": "min" if loss else "max"}


class Resources(BaseModel):
    """What one worker gets of the machine that it runs on; no part of what a trial is.

    Where `cpu` is left out a worker's threads follow from how many workers share the cores, and
    with them the last digits of what it trains.
    """

    model_config = _CLOSED

    cpu: int | None = Field(
        None,
        ge=1,
        description="Threads of a worker. Default: its share of the machine's cores. With it a "
        "trial comes out the same, bit for bit, under any number of workers (on CPUs, float32).",
    )
    gpu: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of a GPU that a worker gets, of its memory too: 0.5 puts two workers on "
        "one, 0 trains without. Default: a GPU for each worker, shared out if there are fewer.",
    )


class AshaStop(BaseModel):
    """Asynchronous successive halving: at each rung only the best of those that got there go on.

    Rungs lie at `min_epochs`, times `reduction`, times `reduction` again, ... A trial's best value
    so far is compared. Who stops goes on when it is among the best after all. Source: Li et al.
    2020, algorithm 2.
    """

    model_config = _CLOSED

    rule: Literal["asha"]
    min_epochs: int = Field(1, ge=1, description="Epochs that every trial gets: the first rung.")
    reduction: int = Field(3, ge=2, description="At each rung, one trial in this many goes on.")


class MedianStop(BaseModel):
    """Stops a trial whose best value is worse than the median of the others that got as far.

    Of the others, the mean of their values up to that epoch counts, so that only clear losers
    stop. Source: Golovin et al. 2017 (Google Vizier), section 3.2.
    """

    model_config = _CLOSED

    rule: Literal["median"]
    min_epochs: int = Field(1, ge=1, description="Epochs that every trial gets.")
    min_trials: int = Field(
        5, ge=1, description="Compared only when at least this many trials are there."
    )


class PatienceStop(BaseModel):
    """Stops a trial that has not improved for some epochs, as keras.callbacks.EarlyStopping."""

    model_config = _CLOSED

    rule: Literal["patience"]
    epochs: int = Field(ge=1, description="Epochs without improvement that are borne.")
    min_delta: float = Field(0.0, ge=0, description="Smaller changes are no improvement.")


class ThresholdStop(BaseModel):
    """Stops a trial that has not reached a value of the objective in time."""

    model_config = _CLOSED

    rule: Literal["threshold"]
    value: float = Field(
        description="What the objective must have reached: at least, or at most if it is minimized."
    )
    epochs: int = Field(1, ge=1, description="Epochs that it has for it.")


class DivergenceStop(BaseModel):
    """Stops a trial whose training loss has grown far above its first epoch's."""

    model_config = _CLOSED

    rule: Literal["divergence"]
    factor: float = Field(2.0, gt=1, description="Times the first epoch's training loss.")


Stop = AshaStop | MedianStop | PatienceStop | ThresholdStop | DivergenceStop
"""The options of any stopping rule."""

_RULES = ", ".join(get_args(s.model_fields["rule"].annotation)[0] for s in get_args(Stop))
_RULE_WORDS = "a rule with its options, as {rule: asha, min_epochs: 2}"

StopConfig = Annotated[
    Stop,
    Field(discriminator="rule", json_schema_extra={"words": f"{_RULE_WORDS}; rules: {_RULES}"}),
]


class NoGainEnough(BaseModel):
    """Ends the search when so many trials in a row have brought no better one."""

    model_config = _CLOSED

    rule: Literal["no_gain"]
    trials: int = Field(ge=1, description="Trials without a better one that are borne.")
    min_delta: float = Field(0.0, ge=0, description="Smaller changes are no gain.")


class SettledEnough(BaseModel):
    """Ends the search when more seeds decide nothing: the winner is settled, or cannot be."""

    model_config = _CLOSED

    rule: Literal["settled"]


Enough = NoGainEnough | SettledEnough
"""The options of what ends a search."""

_ENOUGH_WORDS = "a rule with its options, as {rule: no_gain, trials: 20}; rules: no_gain, settled"
_FEWEST_SEEDS = 6  # of which a comparison decides anything
_SETTLED_METHODS = ("grid", "random", "sobol", "list")


def _text(value: Any) -> Any:
    """A budget without unit is a common slip; it deserves the message about units."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class SearchConfig(BaseModel):
    """How the open values are closed, trial by trial."""

    model_config = _CLOSED

    method: Literal["grid", "random", "sobol", "list", "bayesian", "tpe", "hyperband"] = Field(
        "grid", description="Which configuration comes next."
    )
    max_trials: int | None = Field(
        None,
        ge=1,
        validate_default=True,
        description="Most configurations that are tried; required by all but grid and list.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the search and of its trials.")
    replicates: int = Field(
        1, ge=1, description="Every configuration is trained under this many seeds."
    )
    constraints: tuple[str, ...] = Field(
        (),
        description="What a configuration must satisfy, as depth * growth_rate <= 1200, or "
        "parameters <= 1e6 (also macs, memory_bytes).",
    )
    racing: bool = Field(
        False,
        description="No more replicates of configurations that are clearly losing.",
    )
    configurations: (
        tuple[dict[str, Any], ...]
        | dict[str, tuple[Any, ...]]
        | Annotated[str, Field(min_length=1)]
        | None
    ) = Field(
        None,
        description="Of list: [{depth: 20, learning_rate: 0.1}, ...]; {depth: [20, 32], "
        "learning_rate: [0.1, 0.05]}, of which a configuration takes one value each; or a .csv or "
        ".yaml file of them.",
        json_schema_extra={"words": "a list of mappings, a mapping of lists, or a file's path"},
    )
    start: tuple[dict[str, Any], ...] = Field(
        (),
        description="Configurations that are tried first, as [{depth: 20, learning_rate: 0.1}]; "
        "of the search space, and counted within max_trials.",
        json_schema_extra={"words": "a list of mappings, as [{depth: 20, learning_rate: 0.1}]"},
    )
    min_epochs: int | None = Field(
        None, ge=1, description="Of hyperband: the least epochs that a trial gets. Default: 1."
    )
    reduction: int | None = Field(
        None,
        ge=2,
        description="Of hyperband: at each rung, one trial in this many goes on. Default: 3.",
    )
    stop: StopConfig | Annotated[tuple[StopConfig, ...], Field(min_length=1)] | None = Field(
        None,
        description="Rule that ends losing trials early, with its options: "
        "{rule: asha, min_epochs: 2}; or a list of rules: a trial ends as soon as one of them "
        "says so.",
        json_schema_extra={"words": f"{_RULE_WORDS}, or a list of such; rules: {_RULES}"},
    )
    enough: Annotated[Enough, Field(discriminator="rule")] | None = Field(
        None,
        description="What ends the search before its last trial: {rule: no_gain, trials: 20}, or "
        "{rule: settled}, with replicates.",
        json_schema_extra={"words": _ENOUGH_WORDS},
    )
    max_epochs: int | None = Field(
        None,
        ge=1,
        description="No new trial starts after this many epochs, counted over all trials.",
    )
    budget: Annotated[str, Field(pattern=PATTERN), BeforeValidator(_text)] | None = Field(
        None,
        description="No new trial starts after it: 4h, 1h30m, 90m.",
        json_schema_extra={"words": "numbers with units, as 90m, 4h or 1h30m"},
    )

    @field_validator("max_trials")
    @classmethod
    def _bounded(cls, value: int | None, info: ValidationInfo) -> int | None:
        method = info.data.get("method", "grid")
        if value is None and method not in ("grid", "list"):
            raise PydanticCustomError(
                "max_trials",
                "is missing: {method} needs to know how many configurations to try",
                {"method": method, "expected": "an integer, at least 1", "mend": "max_trials: 20"},
            )
        return value

    @model_validator(mode="after")
    def _only_what_has_effect(self) -> SearchConfig:
        """An option of another method is a mistake, not decoration."""
        for name, owner in _METHOD_OPTIONS.items():
            if getattr(self, name) is not None and self.method != owner:
                what = "{name} has no effect: the method is {method}"
                raise PydanticCustomError(
                    "unused_option",
                    what,
                    {
                        "name": name,
                        "method": self.method,
                        "mend": f"leave it out, or method: {owner}",
                    },
                )
        if self.racing and self.method == "hyperband":
            raise PydanticCustomError(
                "racing",
                "racing does not go with hyperband, which compares all replicates at each rung",
                {"mend": "racing: false, or method: random with stop: {rule: asha}"},
            )
        if self.method == "hyperband" and any(isinstance(s, AshaStop) for s in self.stops):
            raise PydanticCustomError(
                "stop",
                "stop: asha does not go with hyperband, which halves by itself",
                {"mend": "leave asha out, or method: random"},
            )
        if self.enough is not None and self.method == "hyperband":
            raise PydanticCustomError(
                "enough",
                "enough does not go with hyperband, which plans its own epochs: whoever waits at a "
                "rung would never be decided",
                {"mend": "enough: null, or method: random with stop: {rule: asha}"},
            )
        if sum(isinstance(stop, AshaStop) for stop in self.stops) > 1:
            raise PydanticCustomError(
                "stop",
                "stop: asha is there twice, and one would take up again what the other has stopped",
                {"mend": "leave one of them out"},
            )
        if isinstance(self.enough, NoGainEnough) and self.enough.trials < self.replicates:
            raise PydanticCustomError(
                "enough",
                "enough: no_gain with {trials} trials ends the search before a configuration has "
                "its {replicates} seeds",
                {
                    "trials": self.enough.trials,
                    "replicates": self.replicates,
                    "expected": "trials: at least replicates",
                    "mend": f"enough: {{rule: no_gain, trials: {4 * self.replicates}}}",
                },
            )
        if isinstance(self.enough, SettledEnough):
            self._check_settled()
        if self.method == "list" and self.configurations is None:
            raise PydanticCustomError(
                "configurations",
                "configurations are missing: list needs them",
                {"mend": "configurations: [{training.learning_rate: 0.1}, ...]"},
            )
        return self

    def _check_settled(self) -> None:
        """Seeds are compared, of configurations that are known."""
        if self.method not in _SETTLED_METHODS or self.racing:
            other, mend = str(self.method), {"expected": ", ".join(_SETTLED_METHODS)}
            if self.racing:
                other, mend = "racing", {"mend": "racing: false"}
            raise PydanticCustomError(
                "enough",
                "enough: settled does not go with {other}, under which configurations do not have "
                "the same seeds at the same time",
                {"other": other, "mend": "enough: null", **mend},
            )
        if self.replicates <= _FEWEST_SEEDS:
            raise PydanticCustomError(
                "enough",
                "enough: settled needs more replicates: {replicates} leave nothing to end, since "
                "fewer than six seeds decide nothing",
                {
                    "replicates": self.replicates,
                    "expected": f"more than {_FEWEST_SEEDS}",
                    "mend": "replicates: 12",
                },
            )

    @property
    def stops(self) -> tuple[Stop, ...]:
        """The options of each stopping rule."""
        if self.stop is None:
            return ()
        return self.stop if isinstance(self.stop, tuple) else (self.stop,)

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else parse_duration(self.budget)


@cache
def used_training_fields(optimizer: str) -> frozenset[str]:
    """Names of the training fields that have an effect with this optimizer."""
    others = frozenset[str]().union(*OPTIMIZER_FIELDS.values())
    return frozenset(TrainingConfig.model_fields) - (others - OPTIMIZER_FIELDS[optimizer])
