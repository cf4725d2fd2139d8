"""The sections of an experiment file but for `model:` and `data:`, which belong to their rooms.

Fields, ranges and descriptions are written once, here: validation, messages and the JSON Schema
are made from them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, Literal

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

STRUCTURAL = frozenset({"batch_size", "optimizer"})
"""Training fields that shape the graph; all others are runtime values of a compiled program."""

COMPILED = "compiled"
"""The optimizer of a model that a person's own `build(hp)` compiles."""

OPTIMIZER_FIELDS: dict[str, frozenset[str]] = {
    "adam": frozenset({"learning_rate", "beta_1", "beta_2", "epsilon"}),
    "adamw": frozenset({"learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"}),
    "sgd": frozenset({"learning_rate", "momentum", "nesterov"}),
    COMPILED: frozenset(),
}
"""Training fields that belong to one optimizer or another."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


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
    """Learning rate times `factor` at each fraction of the training in `at`."""

    model_config = _CLOSED

    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        min_length=1, description="Fractions of the training, as [0.5, 0.75]."
    )
    factor: float = Field(gt=0, lt=1, description="What the learning rate is multiplied by.")


class StepSchedule(BaseModel):
    """A schedule in steps: `{step: {at: [0.5, 0.75], factor: 0.1}}`."""

    model_config = _CLOSED

    step: Step


class TrainingConfig(BaseModel):
    """How one trial is trained. Every value may be left open."""

    model_config = _CLOSED

    epochs: int = Field(40, ge=1, description="Passes over the training images.")
    batch_size: Annotated[int, Field(ge=1)] | Literal["full"] = Field(
        64, description="Images per step; full: all training images at once."
    )
    optimizer: Literal["adam", "adamw", "sgd", "compiled"] = Field(
        "adam",
        description="Update rule; compiled: that of a build(hp) of your own, with its values.",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Highest learning rate of the schedule.")
    beta_1: float = Field(
        0.9, ge=0, lt=1, description="Decay of the first moment (adam, adamw); 1 - beta is a rate."
    )
    beta_2: float = Field(
        0.999, ge=0, lt=1, description="Decay of the second moment (adam, adamw)."
    )
    epsilon: float = Field(
        1e-7, gt=0, description="Added to the root of the second moment (adam, adamw)."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    nesterov: bool = Field(False, description="Nesterov momentum (sgd).")
    weight_decay: float = Field(
        0.004, ge=0, description="Decoupled decay of adamw; l2 is the penalty in the loss."
    )
    l2: float = Field(
        0.0, ge=0, description="λ of λ·Σw² over convolution and dense kernels, added to the loss."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target that is spread over all classes."
    )
    schedule: Literal["constant", "cosine", "one_cycle"] | StepSchedule = Field(
        "constant", description="Course of the learning rate over the training."
    )
    warmup_epochs: float = Field(
        0.0, ge=0, description="Epochs in which the learning rate first rises linearly."
    )

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


class Objective(BaseModel):
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


class StopConfig(BaseModel):
    """When a trial ends before its last epoch; each rule has options of its own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    rule: Literal["asha", "median", "patience", "threshold", "divergence"] = Field(
        description="Name of the rule."
    )


def _text(value: Any) -> Any:
    """A budget without unit is a common slip; it deserves the message about units."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class SearchConfig(BaseModel):
    """How the open values are closed, trial by trial."""

    model_config = _CLOSED

    method: Literal["grid", "random", "sobol", "list", "bayesian", "hyperband"] = Field(
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
        (), description="What a configuration must satisfy, as depth * growth_rate <= 1200."
    )
    stop: StopConfig | None = Field(None, description="Rule that ends losing trials early.")
    budget: Annotated[str, BeforeValidator(_text)] | None = Field(
        None,
        pattern=r"^[0-9]+(\.[0-9]+)?(s|m|h|d)$",
        description="No new trial starts after it: 4h, 90m.",
        json_schema_extra={"words": "a number with a unit, as 90m or 4h"},
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

    @property
    def budget_seconds(self) -> float | None:
        """The budget in seconds."""
        if self.budget is None:
            return None
        number, unit = re.fullmatch(r"(.+)([smhd])", self.budget).groups()  # type: ignore[union-attr]
        return float(number) * _UNITS[unit]


@cache
def used_training_fields(optimizer: str) -> frozenset[str]:
    """Names of the training fields that have an effect with this optimizer."""
    others = frozenset[str]().union(*OPTIMIZER_FIELDS.values())
    return frozenset(TrainingConfig.model_fields) - (others - OPTIMIZER_FIELDS[optimizer])
