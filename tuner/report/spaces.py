"""From what the open values of an experiment were drawn, read from its text alone.

No family is looked up for it, so that a person's own code is not run to export results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.errors import InputError
from tuner.experiment.yaml import compose


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


def spreads_in(text: str) -> dict[str, Spread]:
    """By dotted name; nothing where the text is missing or no experiment."""
    found: dict[str, Spread] = {}
    try:
        tree = compose(text, "experiment.yaml")[0].value
    except InputError:
        return found
    if not isinstance(tree, Mapping):
        return found
    for section in ("model", "training"):
        _note(tree.get(section), section, found)
    return found


def _note(node: Any, name: str, found: dict[str, Spread]) -> None:
    if not isinstance(node, Mapping):
        return
    if isinstance(options := node.get("choice"), list):
        plain = [option for option in options if not isinstance(option, Mapping)]
        if plain:
            found.setdefault(name, Spread()).options += plain
        for option in options:
            _note(option, name, found)
    elif "min" in node and "max" in node:
        extent = Extent(node["min"], node["max"], str(node.get("scale", "linear")))
        found.setdefault(name, Spread()).ranges.append(extent)
    else:
        for key, value in node.items():
            _note(value, f"{name}.{key}", found)
