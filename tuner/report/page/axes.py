"""Hyperparameters as figures see them: where values lie along an axis, and what mattered."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tuner.report import format
from tuner.report.importance import Effect, Importance, importance
from tuner.report.open_values import CHOICE
from tuner.report.page.drawing import Layout, round_steps, ticked
from tuner.report.page.html import numbers, tick
from tuner.report.page.source import PageSource
from tuner.report.table import is_number

Kind = Literal["category", "linear", "log", "reverse_log"]

ABSENT: Any = object()
"""The value of a trial whose branch does not have the hyperparameter."""

_BAND = 0.72  # of the room of a category, over which its trials are spread
_FEW = 4  # values of an unknown origin that are taken for a choice, though none came twice
_MAX_CATEGORIES = 10  # more different numbers than this are a continuum
_TICKED = 6  # different numbers that each have a tick
_WIDE = 50.0  # numbers that span such a factor are spaced by their logarithm


@dataclass(frozen=True)
class ValueAxis:
    """One hyperparameter's axis.

    Positions are places of `labels` for categories, else the number on its scale (its logarithm,
    or that of what it lacks to 1). `points` are the different values in rising order of an axis
    that keeps their distances.
    """

    name: str
    title: str
    kind: Kind
    labels: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0
    points: tuple[float, ...] = ()
    places: Mapping[Any, int] = field(default_factory=dict, repr=False)

    @property
    def is_category(self) -> bool:
        """Whether values are places rather than distances."""
        return self.kind == "category"

    @property
    def has_order(self) -> bool:
        """Whether a line along it means something: along the names of optimizers it does not."""
        return not self.is_category or all(key[0] == "number" for key in self.places)

    def position(self, value: Any) -> float | None:
        """Where a value lies; None where it is absent or does not belong."""
        if value is ABSENT:
            return None
        if self.is_category:
            return self.places.get(_identity(value))
        return _scaled(value, self.kind) if _is_finite(value) else None

    @cached_property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Positions and their texts, about five and never crowded."""
        if self.is_category:
            return tuple((float(place), text) for place, text in enumerate(self.labels))
        values = self.points if 0 < len(self.points) <= _TICKED else _round_values(self)
        places = [(_scaled(value, self.kind), format.value_text(value)) for value in values]
        return tuple((place, text) for place, text in places if place is not None)

    @property
    def varies(self) -> bool:
        """Whether there is more than one place on it."""
        return len(self.labels) > 1 or len(self.points) > 1

    @property
    def spread(self) -> float:
        """Over which height or width trials of one value may lie side by side; 0 for a range."""
        if self.is_category:
            return _BAND
        if len(self.points) > _TICKED:
            return 0.0
        places = [place for place, _ in self.ticks]
        return _BAND / 2 * min((b - a for a, b in itertools.pairwise(places)), default=0.0)

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the axis with some air."""
        if self.is_category:
            return -0.5, len(self.labels) - 0.5
        air = max((self.high - self.low) * 0.06, self.spread) or 0.5
        return self.low - air, self.high + air

    def layout(self) -> Layout:
        """The axis as plotly takes it, but for its title."""
        ticks = ((place, tick(text)) for place, text in self.ticks)
        return ticked(ticks, range=numbers(self.span))


def axes_of(source: PageSource) -> list[ValueAxis]:
    """An axis for every hyperparameter that has more than one value among all trials."""
    record = source.record
    short = format.short_names(record.value_names)
    columns = ((n, [row.values.get(n, ABSENT) for row in source.rows]) for n in record.value_names)
    kinds = {name: spread.kind for name, spread in source.spreads.items()}
    axes = (value_axis(n, short[n], values, kinds.get(n)) for n, values in columns)
    return [axis for axis in axes if axis.varies]


def value_axis(name: str, title: str, values: Iterable[Any], spread: str | None) -> ValueAxis:
    """The axis that suits some values; `spread` is how the experiment wrote them, if it is known.

    A few different values are categories, in the order of their numbers; so are values of mixed
    types. Ranges, many numbers, and choices that span a wide factor keep their distances, on a
    logarithmic scale where that was asked for or where they span such a factor.
    """
    present = [value for value in values if value is not ABSENT]
    # Booleans are no numbers here: as a category, `true` is not 1.
    numeric = bool(present) and all(_is_finite(value) for value in present)
    distinct = {_identity(value): value for value in present}
    if not numeric or len(distinct) < 2:
        return _categories(name, title, distinct)
    ordered = sorted(set(distinct.values()))
    if spread in (None, CHOICE) and _is_choice(ordered, len(present), spread):
        return _categories(name, title, distinct)
    kind = _kind(ordered, spread)
    places = [place for value in ordered if (place := _scaled(value, kind)) is not None]
    return ValueAxis(name, title, kind, (), min(places), max(places), tuple(ordered))


def _is_choice(ordered: Sequence[float], count: int, spread: str | None) -> bool:
    """Whether numbers read best side by side: some few that do not span decades.

    Of a person's own program nobody knows how a value was drawn: where hardly one comes twice, it
    was from a range.
    """
    from_range = spread is None and len(ordered) > _FEW and 2 * len(ordered) > count
    return len(ordered) <= _MAX_CATEGORIES and not _is_wide(ordered) and not from_range


def _categories(name: str, title: str, distinct: Mapping[Any, Any]) -> ValueAxis:
    ordered = sorted(distinct.items(), key=lambda item: _order(item[1]))  # stable: as tried
    texts = [format.value_text(value) for _, value in ordered]
    same = Counter(texts)
    labels = tuple(
        json.dumps(text, ensure_ascii=False) if isinstance(value, str) and same[text] > 1 else text
        for text, (_, value) in zip(texts, ordered, strict=True)
    )
    places = {key: place for place, (key, _) in enumerate(ordered)}
    return ValueAxis(name, title, "category", labels, places=places)


def _kind(ordered: Sequence[float], spread: str | None) -> Kind:
    low, high = ordered[0], ordered[-1]
    if spread == "reverse_log":
        return "reverse_log" if high < 1 else "linear"
    if low > 0 and (spread == "log" or (_is_wide(ordered) and spread != "linear")):
        return "log"
    return "linear"


def _is_wide(ordered: Sequence[float]) -> bool:
    """Whether numbers are all above zero and span a wide factor, as learning rates do."""
    return len(ordered) > 2 and ordered[0] > 0 and ordered[-1] / ordered[0] >= _WIDE


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
    values = [factor * 10.0**decade for decade in decades for factor in factors]
    if axis.kind == "reverse_log":
        values = [1 - (1 / value) for value in values]
    inside = [v for v in values if axis.low <= (_scaled(v, axis.kind) or 0.0) <= axis.high]
    return inside if len(inside) > 1 else [axis.points[0], axis.points[-1]]


def _order(value: Any) -> tuple[int, float]:
    """Numbers by size, then everything else as it came."""
    return (0, value) if _is_finite(value) else (1, 0.0)


def _is_finite(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


def _identity(value: Any) -> Any:
    """What can be hashed and tells 1 from true and from "1"; 1 and 1.0 are the same."""
    if _is_finite(value):
        return ("number", float(value))
    return (type(value).__name__, format.value_text(value))


# ---------------------------------------------------------------------- importance


def importance_of(source: PageSource, axes: Sequence[ValueAxis]) -> Importance:
    """Importance of what the axes show, as far as the trials allow it."""
    return importance(source.ranked, [axis.name for axis in axes], source.record.objective)


def effect_title(source: PageSource, effect: Effect) -> str:
    """The hyperparameter, or the two, for people."""
    short = format.short_names(source.record.value_names)
    return " × ".join(format.printable(short[name]) for name in effect.names)


def by_importance(axes: Sequence[ValueAxis], importance: Importance) -> list[ValueAxis]:
    """The axes, those that weigh most first."""
    order = {effect.names[0]: place for place, effect in enumerate(importance.mains)}
    return sorted(axes, key=lambda axis: order.get(axis.name, len(order)))
