"""What a person's own `build(hp)` leaves open, as data that needs no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Conditions = tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True)
class Declared:
    """One hyperparameter.

    `kind` is bool, int, float or str. `node` is its domain as an experiment file writes it:
    `{choice: [...]}`, `{min: a, max: b, ...}` or the one value that it has. `structural` says that
    its value shapes the network, not only how it is compiled. It is used only where, for each
    (name, values) of `conditions`, that other hyperparameter has one of the values.
    """

    name: str
    kind: str
    default: Any
    node: Any
    structural: bool
    conditions: Conditions = ()

    def is_used(self, values: Mapping[str, Any]) -> bool:
        """Whether the conditions hold; a name without a value is no obstacle."""
        return all(values.get(n, allowed[0]) in allowed for n, allowed in self.conditions)


@dataclass(frozen=True)
class Declaration:
    """All that is known of a `build` function without running it again.

    `optimizer` is that of `compile()`, None where the model is not compiled; `fingerprint` is the
    SHA-256 of the file at `path` that defines the function; `notes` are what a person should know
    before it trains.
    """

    hyperparameters: tuple[Declared, ...]
    optimizer: str | None
    path: str
    fingerprint: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` makes it again."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Declaration:
        """What `to_json` gave, lists for tuples."""
        hyperparameters = tuple(
            Declared(**{**one, "conditions": _conditions(one["conditions"])})
            for one in data["hyperparameters"]
        )
        others = {**data, "hyperparameters": hyperparameters, "notes": tuple(data["notes"])}
        return cls(**others)

    def branches(self, written: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What to add to an experiment that wrote the names in `written`.

        Each branch maps names to domains. A hyperparameter on which others depend is split into
        its values, so that no branch holds one that is not used. `written` has the values that are
        fixed, and no entry for those that the experiment opens itself under `OPEN`.
        """
        parents = {name for one in self.hyperparameters for name, _ in one.conditions}
        found: list[dict[str, Any]] = [{}]
        for one in self.hyperparameters:
            found = [b for branch in found for b in _extended(one, branch, written, parents)]
        return found


OPEN = object()
"""Stands for the value of a name that the experiment leaves open in its own way."""


def _extended(
    one: Declared, branch: dict[str, Any], written: Mapping[str, Any], parents: set[str]
) -> list[dict[str, Any]]:
    fixed = {n: v for n, v in {**branch, **written}.items() if v is not OPEN and not _is_open(v)}
    if one.name in written or not one.is_used(fixed):
        return [branch]
    if one.name in parents and _is_open(one.node):
        return [branch | {one.name: value} for value in values_of(one.node)]
    return [branch | {one.name: one.node}]


def values_of(node: Any) -> list[Any]:
    """The values of a domain on which others may depend; a range must be one of integers."""
    if not _is_open(node):
        return [node]
    if "choice" in node:
        return list(node["choice"])
    return list(range(node["min"], node["max"] + 1, node.get("step", 1)))


def _is_open(node: Any) -> bool:
    return isinstance(node, dict)


def _conditions(data: Any) -> Conditions:
    return tuple((name, tuple(values)) for name, values in data)
