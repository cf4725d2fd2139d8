"""What a person's `compile()` asks for: optimizer and loss, as training here understands them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import InputError, Problem

# Keras' names of what an optimizer reads while it runs; `training:` has the same.
_VALUES = {
    "adam": ("learning_rate", "beta_1", "beta_2", "epsilon"),
    "adamw": ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"),
    "sgd": ("learning_rate", "momentum", "nesterov"),
}
# Says nothing about the training itself.
_HARMLESS = frozenset({"name"})
_CROSS_ENTROPIES = ("sparse_categorical_crossentropy", "categorical_crossentropy")


@dataclass(frozen=True)
class CompileArguments:
    """Optimizer, its values by the names of `training:`, and what the loss takes outputs for."""

    optimizer: str
    values: Mapping[str, Any]
    from_logits: bool
    notes: tuple[str, ...] = ()


def read_compiled(model: Any) -> CompileArguments | None:
    """What `compile()` was given; None for a model that is not compiled.

    Raises:
        InputError: an optimizer, a loss or an option of theirs that is not available here.
    """
    if not getattr(model, "compiled", False):
        return None
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    kind = type(optimizer).__name__.lower()
    if kind not in _VALUES:
        mend = "or leave out compile() and set training.optimizer"
        raise _refused("the optimizer", type(optimizer).__name__, "Adam, AdamW or SGD", mend)
    arguments = model.get_compile_config() or {}
    metrics = arguments.get("metrics") or []
    known = {"accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy"}
    others = [str(m) for m in metrics if not (isinstance(m, str) and m in known)]
    notes = [f"metrics of compile() are not recorded: {len(others)} of them"] if others else []
    return CompileArguments(kind, _values(kind, optimizer), _from_logits(model.loss), tuple(notes))


def _values(kind: str, optimizer: Any) -> dict[str, Any]:
    config, plain = optimizer.get_config(), type(optimizer)().get_config()
    if isinstance(config["learning_rate"], Mapping):
        received = str(config["learning_rate"].get("class_name", "a schedule"))
        mend = "a number in compile(), and training.schedule"
        raise _refused("a schedule as the learning rate", received, "a number", mend)
    for name, value in config.items():
        used = name in _VALUES[kind] or name in _HARMLESS
        if not used and value != plain.get(name):
            raise _refused(f"{name} of the optimizer", repr(value), repr(plain.get(name)), "")
    return {name: config[name] for name in _VALUES[kind]}


def _from_logits(loss: Any) -> bool:
    """Whether the outputs are logits to this loss; it must be a cross-entropy."""
    if isinstance(loss, str):
        name, config = loss, {}
    elif hasattr(loss, "get_config"):
        name, config = _snake(type(loss).__name__), loss.get_config()
    else:
        name, config = getattr(loss, "__name__", type(loss).__name__), {}
    if name not in _CROSS_ENTROPIES:
        expected = " or ".join(_CROSS_ENTROPIES)
        raise _refused("the loss", str(name), expected, "classes are told apart by cross-entropy")
    if config.get("label_smoothing"):
        received = repr(config["label_smoothing"])
        raise _refused("label_smoothing of the loss", received, "0", "training.label_smoothing")
    return bool(config.get("from_logits", False))


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _refused(what: str, received: str, expected: str, mend: str) -> InputError:
    text = f"compile(): {what} is not available here"
    return InputError(Problem(text, "model.family", received, expected, mend))
