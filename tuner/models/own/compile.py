"""What a person's `compile()` asks for: optimizer and loss, as training here understands them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import InputError, Problem

# Keras' names of what an optimizer reads while it runs; `training:` has the same.
OPTIMIZERS = {
    "adam": ("learning_rate", "beta_1", "beta_2", "epsilon"),
    "adamw": ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"),
    "sgd": ("learning_rate", "momentum", "nesterov"),
    "rmsprop": ("learning_rate", "rho", "momentum", "epsilon", "centered"),
    "nadam": ("learning_rate", "beta_1", "beta_2", "epsilon"),
    "adagrad": ("learning_rate", "initial_accumulator_value", "epsilon"),
}
# Says nothing about the training itself.
_HARMLESS = frozenset({"name"})
_CROSS_ENTROPIES = ("sparse_categorical_crossentropy", "categorical_crossentropy")
_RECORDED = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy")
# Options of a loss that change it, with the values that do not.
_LOSS_OPTIONS: dict[str, tuple[Any, ...]] = {
    "reduction": ("sum_over_batch_size", "mean", "mean_with_sample_weight", "auto", None),
    "ignore_class": (None,),
    "axis": (-1, 1),
}
# How the same training runs, with Keras' defaults; `jit_compile` it decides by itself.
_SPEED = {"run_eagerly": False, "steps_per_execution": 1, "auto_scale_loss": True}


@dataclass(frozen=True)
class CompileArguments:
    """Optimizer, its values by the names of `training:`, and what the loss takes outputs for.

    `refused` is what cannot be had of the optimizer: no obstacle where `training.optimizer` takes
    its place. Its `values` are then all of its configuration.
    """

    optimizer: str
    values: Mapping[str, Any]
    from_logits: bool
    label_smoothing: float = 0.0
    notes: tuple[str, ...] = ()
    refused: tuple[Problem, ...] = ()

    def check(self) -> None:
        """Raises InputError where the optimizer cannot be had as it was compiled."""
        if self.refused:
            raise InputError(self.refused)


def read_compiled(model: Any) -> CompileArguments | None:
    """What `compile()` was given; None for a model that is not compiled.

    Raises:
        InputError: a loss, or an option of it, that is not available here.
    """
    if not getattr(model, "compiled", False):
        return None
    arguments = getattr(getattr(model, "_compile_config", None), "config", {})
    config = _cross_entropy(model.loss)
    _check_weights(arguments.get("loss_weights"))
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    kind = type(optimizer).__name__.lower()
    refused = tuple(_refused_of(kind, optimizer))
    values = dict(optimizer.get_config())
    if not refused:
        values = {name: values[name] for name in OPTIMIZERS[kind]}
    logits, smoothing = config.get("from_logits"), config.get("label_smoothing")
    return CompileArguments(
        optimizer=kind,
        values=values,
        from_logits=bool(logits),
        label_smoothing=float(smoothing or 0.0),
        notes=tuple(_notes(arguments)),
        refused=refused,
    )


def _refused_of(kind: str, optimizer: Any) -> Iterator[Problem]:
    """What of the optimizer is not available here."""
    # Of another's class by the same name nobody knows what it does.
    if kind not in OPTIMIZERS or not type(optimizer).__module__.startswith("keras."):
        mend = "or leave out compile() and set training.optimizer"
        yield _problem("the optimizer", type(optimizer).__name__, ", ".join(OPTIMIZERS), mend)
        return
    config, plain = optimizer.get_config(), type(optimizer)().get_config()
    if isinstance(config["learning_rate"], Mapping):
        received = str(config["learning_rate"].get("class_name", "a schedule"))
        mend = "a number in compile(), or training.optimizer with training.schedule"
        yield _problem("a schedule as the learning rate", received, "a number", mend)
    for name, value in config.items():
        used = name in OPTIMIZERS[kind] or name in _HARMLESS
        if not used and value != plain.get(name):
            expected = repr(plain.get(name))
            yield _problem(f"{name} of the optimizer", repr(value), expected, "leave it out")


def _cross_entropy(loss: Any) -> Mapping[str, Any]:
    """The configuration of the loss of the one output; none where it is given by its name.

    Raises:
        InputError: it is no cross-entropy of classes, or one that is changed.
    """
    if isinstance(loss, Mapping | list | tuple) and len(loss) == 1:
        (loss,) = loss.values() if isinstance(loss, Mapping) else loss
    name, config = _name_and_config(loss)
    if name not in _CROSS_ENTROPIES:
        expected = " or ".join(_CROSS_ENTROPIES)
        mend = "classes are told apart by cross-entropy"
        raise InputError(_problem("the loss", name, expected, mend))
    for option, plain in _LOSS_OPTIONS.items():
        if (value := config.get(option, plain[0])) not in plain:
            what = f"{option} of the loss"
            raise InputError(_problem(what, repr(value), repr(plain[0]), "leave it out"))
    return config


def _name_and_config(loss: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(loss, str) or loss is None:
        return _snake(loss or "none"), {}
    made = loss if hasattr(loss, "__name__") else type(loss)
    name = str(made.__name__)
    if not str(made.__module__).startswith("keras."):
        return f"{name} of {made.__module__}", {}
    return _snake(name), loss.get_config() if hasattr(loss, "get_config") else {}


def _check_weights(weights: Any) -> None:
    """A weight of the one loss scales all gradients."""
    if any(weight not in (None, 1) for weight in _listed(weights)):
        raise InputError(_problem("loss_weights", repr(weights), "none", "leave it out"))


def _notes(arguments: Mapping[str, Any]) -> Iterator[str]:
    metrics = [m for n in ("metrics", "weighted_metrics") for m in _listed(arguments.get(n))]
    others = [metric for metric in metrics if _metric_name(metric) not in _RECORDED]
    if others:
        yield f"metrics of compile() are not recorded: {len(others)} of them"
    fast = [n for n, plain in _SPEED.items() if arguments.get(n, plain) not in (plain, None)]
    if fast:
        yield f"{', '.join(fast)} of compile() changes nothing here"


def _listed(given: Any) -> list[Any]:
    """What Keras takes alone, in lists or by the output's name."""
    if isinstance(given, Mapping):
        given = list(given.values())
    if not isinstance(given, list | tuple):
        return [] if given is None else [given]
    return [item for part in given for item in _listed(part)]


def _metric_name(metric: Any) -> str:
    return metric if isinstance(metric, str) else _snake(type(metric).__name__)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _problem(what: str, received: str, expected: str, mend: str) -> Problem:
    text = f"compile(): {what} is not available here"
    return Problem(text, "model.family", received, expected, mend)
