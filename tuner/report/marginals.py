"""What mattered: the mean score at each value of each hyperparameter."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.ledger.records import TrialRow
from tuner.report import words

_MAX_GROUPS = 8  # a value with more distinct points than this is cut into quarters
_PARTS = 4


@dataclass(frozen=True)
class Group:
    """Ranked trials that share a value (or a range of values): mean score, spread, number.

    `spread` is the standard deviation over the trials; None for a single one.
    """

    label: str
    mean: float
    spread: float | None
    n: int


@dataclass(frozen=True)
class Marginal:
    """Mean score at each value of one hyperparameter, over everything else."""

    name: str
    title: str
    groups: tuple[Group, ...]

    @property
    def effect(self) -> float:
        """Distance between the best and the worst mean."""
        means = [group.mean for group in self.groups]
        return max(means) - min(means)


def marginals(ranked: Sequence[TrialRow], names: Iterable[str]) -> list[Marginal]:
    """Mean score per value of each hyperparameter that varies, largest effect first.

    A plain mean over whatever was tried: exact for a grid, approximate for a random search.
    """
    listed = list(names)
    short = words.short_names(listed)
    found = []
    for name in listed:
        pairs = [(row.value(name), row.score) for row in ranked if _has(row, name)]
        groups = _groups([(value, score) for value, score in pairs if score is not None])
        if len(groups) > 1:
            found.append(Marginal(name, short[name], tuple(groups)))
    return sorted(found, key=lambda marginal: -marginal.effect)


def group_of(label: str, scores: Sequence[float]) -> Group:
    """Mean and spread of some scores."""
    n = len(scores)
    mean = math.fsum(scores) / n
    if n < 2:
        return Group(label, mean, None, n)
    # Not statistics.stdev: its exact fractions take a second for ten thousand trials.
    squares = math.fsum((score - mean) ** 2 for score in scores)
    return Group(label, mean, math.sqrt(squares / (n - 1)), n)


def _has(row: TrialRow, name: str) -> bool:
    return name in row.values or name in row.configuration


def _groups(pairs: Sequence[tuple[Any, float]]) -> list[Group]:
    by_value: dict[str, list[float]] = defaultdict(list)
    values: dict[str, Any] = {}
    labels: dict[tuple[type, Any], str] = {}  # each distinct value is put into words once
    for value, score in pairs:
        key = (type(value), value if isinstance(value, Hashable) else repr(value))
        if key not in labels:
            labels[key] = words.value_text(value)
            values.setdefault(labels[key], value)
        by_value[labels[key]].append(score)
    numeric = all(_is_number(value) for value in values.values())
    if numeric and len(by_value) > _MAX_GROUPS:
        return _quarters(pairs)
    order = sorted(by_value, key=lambda label: values[label]) if numeric else list(by_value)
    return [group_of(label, by_value[label]) for label in order]


def _quarters(pairs: Sequence[tuple[Any, float]]) -> list[Group]:
    """Equally many trials in each of four ranges."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    bounds = [round(len(ordered) * part / _PARTS) for part in range(_PARTS + 1)]
    groups = []
    for start, end in itertools.pairwise(bounds):
        part = ordered[start:end]
        low, high = (f"{value:.3g}" for value in (part[0][0], part[-1][0]))
        groups.append(group_of(f"{low} to {high}", [score for _, score in part]))
    return groups


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
