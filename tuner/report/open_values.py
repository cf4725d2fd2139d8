"""From what the open values of an experiment's text were drawn, without looking up any family.

So that a person's own code is not run to show or export results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.errors import InputError
from tuner.experiment.yaml import compose

CHOICE = "choice"


@dataclass(frozen=True)
class Extent:
    """`{min: …, max: …, scale: …}` as it was written."""

    minimum: float
    maximum: float
    scale: str = "linear"


@dataclass
class Spread:
    """All that is written for one name, in whichever branches."""

    ranges: list[Extent] = field(default_factory=list)
    options: list[Any] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """`choice`, or the scale of a range."""
        return CHOICE if self.options else self.ranges[-1].scale


def experiment_tree(text: str) -> dict[str, Any]:
    """An experiment's text as a tree; empty where it is missing or no experiment."""
    try:
        tree = compose(text, "experiment.yaml")[0].value if text else None
    except InputError:
        return {}
    return tree if isinstance(tree, dict) else {}


def spreads_of(tree: Mapping[str, Any]) -> dict[str, Spread]:
    """From what each open value of an experiment was drawn, by its dotted name."""
    spreads: dict[str, Spread] = {}
    for section in ("model", "training"):
        _collect(tree.get(section), section, spreads)
    return spreads


def _collect(node: Any, name: str, spreads: dict[str, Spread]) -> None:
    if not isinstance(node, Mapping):
        return
    if isinstance(options := node.get("choice"), list):
        if plain := [option for option in options if not isinstance(option, Mapping)]:
            spreads.setdefault(name, Spread()).options += plain
        for option in options:
            _collect(option, name, spreads)
    elif "min" in node and "max" in node:
        extent = Extent(node["min"], node["max"], str(node.get("scale", "linear")))
        spreads.setdefault(name, Spread()).ranges.append(extent)
    else:
        for key, child in node.items():
            _collect(child, f"{name}.{key}", spreads)
