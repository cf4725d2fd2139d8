"""Where the values of a hyperparameter lie along an axis, and what is written beside it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tuner.report import words
from tuner.report.page.source import CHOICE, Source
from tuner.report.page.text import number, tick

Kind = Literal["category", "linear", "log", "reverse_log"]

ABSENT: Any = object()
"""The value of a trial whose branch does not have the hyperparameter."""

_MAX_CATEGORIES = 10  # more different numbers than this are a continuum
_WIDE = 50.0  # numbers that span such a factor are spaced by their logarithm
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class ValueAxis:
    """One hyperparameter's axis.

    Positions are places of `labels` for categories, else the number on its scale (its logarithm,
    or that of what it lacks to 1). `numbers` are the different values in rising order where all
    are numbers, `points` the same of an axis that keeps their distances.
    """

    name: str
    title: str
    kind: Kind
    labels: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0
    points: tuple[float, ...] = ()
    numbers: tuple[float, ...] = ()
    places: Mapping[Any, int] = field(default_factory=dict, repr=False)

    @property
    def is_category(self) -> bool:
        """Whether values are places rather than distances."""
        return self.kind == "category"

    def position(self, value: Any) -> float | None:
        """Where a value lies; None where it is absent or does not belong."""
        if value is ABSENT:
            return None
        if self.is_category:
            return self.places.get(_identity(value))
        return _scaled(value, self.kind) if _is_number(value) else None

    @cached_property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions and their texts, about five and never crowded."""
        if self.is_category:
            return tuple((float(place), text) for place, text in enumerate(self.labels))
        values = self.points if 0 < len(self.points) <= 6 else _round_values(self)
        found = [(_scaled(value, self.kind), words.value_text(value)) for value in values]
        return tuple((place, text) for place, text in found if place is not None)

    @property
    def varies(self) -> bool:
        """Whether there is more than one place on it."""
        return len(self.labels) > 1 or len(self.points) > 1

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the axis with some air."""
        if self.is_category:
            return -0.5, len(self.labels) - 0.5
        air = (self.high - self.low) * 0.06 or 0.5
        return self.low - air, self.high + air

    def layout(self) -> dict[str, Any]:
        """The axis as plotly takes it, but for its title."""
        return {
            "tickmode": "array",
            "tickvals": [number(place) for place, _ in self.ticks],
            "ticktext": [tick(text) for _, text in self.ticks],
            "range": [number(end) for end in self.span],
            "zeroline": False,
        }


def axes_of(source: Source) -> list[ValueAxis]:
    """An axis for every hyperparameter that has more than one value among all trials."""
    record = source.record
    short = words.short_names(record.value_names)
    found = []
    for name in record.value_names:
        values = [row.value(name, ABSENT) for row in source.rows]
        axis = value_axis(name, short[name], values, source.spreads.get(name))
        if axis.varies:
            found.append(axis)
    return found


def value_axis(name: str, title: str, values: Iterable[Any], spread: str | None) -> ValueAxis:
    """The axis that suits some values; `spread` is how the experiment wrote them, if it is known.

    A few different values are categories, in the order of their numbers; so are values of mixed
    types. Ranges and many numbers keep their distances, on a logarithmic scale where that was
    asked for or where they span a wide factor.
    """
    present = [value for value in values if value is not ABSENT]
    # Booleans are no numbers here: as a category, `true` is not 1.
    numeric = bool(present) and all(_is_number(value) for value in present)
    distinct = {_identity(value): value for value in present}
    few = len(distinct) <= _MAX_CATEGORIES
    if not numeric or (few and spread in (None, CHOICE)) or len(distinct) < 2:
        numbers = tuple(sorted(set(distinct.values()))) if numeric else ()
        return _categories(name, title, distinct, numbers)
    ordered = sorted(set(distinct.values()))
    kind = _kind(ordered, spread)
    places = [place for value in ordered if (place := _scaled(value, kind)) is not None]
    found = tuple(ordered)
    return ValueAxis(name, title, kind, (), min(places), max(places), found, found)


def _categories(
    name: str, title: str, distinct: Mapping[Any, Any], numbers: tuple[float, ...]
) -> ValueAxis:
    ordered = sorted(distinct.items(), key=lambda item: _order(item[1]))  # stable: as tried
    texts = [words.value_text(value) for _, value in ordered]
    same = Counter(texts)
    labels = tuple(
        json.dumps(text, ensure_ascii=False) if isinstance(value, str) and same[text] > 1 else text
        for text, (_, value) in zip(texts, ordered, strict=True)
    )
    places = {key: place for place, (key, _) in enumerate(ordered)}
    return ValueAxis(name, title, "category", labels, numbers=numbers, places=places)


def _kind(ordered: Sequence[float], spread: str | None) -> Kind:
    low, high = ordered[0], ordered[-1]
    if spread == "reverse_log":
        return "reverse_log" if high < 1 else "linear"
    wide = low > 0 and high / low >= _WIDE
    if low > 0 and (spread == "log" or (wide and spread != "linear")):
        return "log"
    return "linear"


def _scaled(value: float, kind: Kind) -> float | None:
    if kind == "log":
        return math.log10(value) if value > 0 else None
    if kind == "reverse_log":
        return -math.log10(1 - value) if value < 1 else None
    return float(value)


def _round_values(axis: ValueAxis) -> list[float]:
    if axis.kind == "linear":
        return round_steps(axis.low, axis.high)
    decades = range(math.floor(axis.low), math.ceil(axis.high) + 1)
    factors = (1,) if axis.high - axis.low > 2 else (1, 3) if axis.high - axis.low > 0.6 else ()
    found = [factor * 10.0**decade for decade in decades for factor in factors]
    if axis.kind == "reverse_log":
        found = [1 - (1 / value) for value in found]
    inside = [v for v in found if axis.low <= (_scaled(v, axis.kind) or 0.0) <= axis.high]
    return inside if len(inside) > 1 else [axis.points[0], axis.points[-1]]


def round_steps(low: float, high: float) -> list[float]:
    """About five round numbers between two different ones."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in _STEPS if size * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _order(value: Any) -> tuple[int, float]:
    """Numbers by size, then everything else as it came."""
    return (0, value) if _is_number(value) else (1, 0.0)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _identity(value: Any) -> Any:
    """What can be hashed and tells 1 from true and from "1"; 1 and 1.0 are the same."""
    if _is_number(value):
        return ("number", float(value))
    return (type(value).__name__, words.value_text(value))
