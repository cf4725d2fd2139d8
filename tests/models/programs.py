"""Programs that ask for values as a `build(hp)` does, without a network to build."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tuner.models.own.conditions import UsageRules, UsedNames
from tuner.models.own.family import Declaration, Declared

Ask = Callable[..., Any]
Program = Callable[[Ask], None]


class CannotBeBuilt(Exception):
    """What a layer says."""


def kinds(ask: Ask) -> None:
    """The guide to visualization of keras.io: two kinds, loops of layers in each."""
    if ask("kind", "mlp", "cnn") == "mlp":
        for n in range(ask("mlp_layers", 1, 2, 3)):
            ask(f"units_{n}", 32, 64)
    else:
        for n in range(ask("cnn_layers", 1, 2, 3)):
            ask(f"filters_{n}", 32, 64)
    ask("dropout", False, True)


def blocks_of_layers(ask: Ask) -> None:
    for n in range(ask("blocks", 1, 2)):
        for m in range(ask(f"layers_{n}", 1, 2, 3)):
            ask(f"units_{n}_{m}", 4, 8)


def shared_names(ask: Ask) -> None:
    """Two kinds of three have layers, and call them alike."""
    kind = ask("kind", "wide", "deep", "none")
    if kind != "none":
        for n in range(ask("wide_layers", 1, 2) if kind == "wide" else ask("deep_layers", 2, 3, 4)):
            ask(f"units_{n}", 4, 8)


def both(ask: Ask) -> None:
    """A pair of values that no single change of the defaults shows."""
    kind, pooled = ask("kind", "a", "b", "c"), ask("pooled", False, True)
    if kind == "b" and pooled:
        ask("size", 2, 3)


def either(ask: Ask) -> None:
    first, second = ask("first", False, True), ask("second", False, True)
    if first or second:
        ask("size", 2, 3)


def not_both(ask: Ask) -> None:
    first, second = ask("first", 1, 2), ask("second", 1, 2)
    if first == 1 or second == 1:
        ask("size", 2, 3)


def together(ask: Ask) -> None:
    """Neither value alone decides, and no box of values holds it."""
    if ask("left", 0, 1, 2) + ask("right", 0, 1, 2) >= 3:
        ask("size", 2, 3)


def long_range(ask: Ask) -> None:
    for n in range(ask("layers", *range(1, 51))):
        ask(f"units_{n}", 4)
    if ask("size", *range(1, 501)) > 317:
        ask("pool", 2, 3)


def too_deep(ask: Ask) -> None:
    """An error hides that `head` would be asked for as well."""
    for n in range(ask("blocks", 1, 2, 3, 4)):
        ask(f"filters_{n}", 4, 8)
        if n == 3:
            raise CannotBeBuilt
    ask("head", 1, 2)


def late_question(ask: Ask) -> None:
    """`size` turns up before the name on which it depends elsewhere."""
    kind = ask("kind", "a", "b")
    if kind == "a":
        ask("size", 2, 3)
    if ask("again", False, True) and kind == "b":
        ask("size", 2, 3)


PROGRAMS: dict[str, Program] = {
    program.__name__: program
    for program in (
        *(kinds, blocks_of_layers, shared_names, both),
        *(either, not_both, together, late_question),
    )
}


def declared(program: Program) -> Declaration:
    """What a probe would say of it."""
    domains: dict[str, Sequence[Any]] = {}

    def run(values: Mapping[str, Any]) -> UsedNames:
        asked: dict[str, None] = {}

        def ask(name: str, *points: Any) -> Any:
            domains.setdefault(name, points)
            asked[name] = None
            return values.get(name, points[0])

        try:
            program(ask)
        except CannotBeBuilt:
            return UsedNames(tuple(asked), is_whole=False)
        return UsedNames(tuple(asked))

    rules = UsageRules(run, domains.__getitem__, lambda name: domains[name][0], lambda name: True)
    rules.learn()
    hyperparameters = tuple(
        Declared(
            name=name,
            kind=type(domains[name][0]).__name__,
            default=domains[name][0],
            node={"choice": list(domains[name])} if len(domains[name]) > 1 else domains[name][0],
            structural=True,
            conditions=rules.conditions(name),
        )
        for name in rules.names()
    )
    return Declaration(hyperparameters, None, "", "f" * 64)


def networks(program: Program) -> Iterator[dict[str, Any]]:
    """All that it can ask for: every way through it, each once."""
    ways: list[dict[str, Any]] = [{}]
    while ways:
        values = ways.pop()
        asked: dict[str, Any] = {}

        def ask(name: str, *points: Any, asked: Any = asked, values: Any = values) -> Any:
            if name not in asked:
                asked[name] = values.get(name, points[0])
                if name not in values:
                    ways.extend({**asked, name: point} for point in points[1:])
            return asked[name]

        program(ask)
        yield asked
