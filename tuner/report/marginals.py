"""What mattered: the mean score at each value of each hyperparameter."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.ledger.queries import by_number, field_of, value_of
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.tabular.groups import Group, group_of

__all__ = ["Group", "Marginal", "group_of", "marginals"]

_MAX_GROUPS = 8  # a value with more distinct points than this is cut into quarters
_PARTS = 4
_PLAIN = {int, float, str, bool, type(None)}
_ABSENT = object()


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
    ranked = by_number(ranked)
    scores = field_of(ranked, "score")
    found = []
    for name in listed:
        groups = _groups(*_values(ranked, scores, name))
        if len(groups) > 1:
            found.append(Marginal(name, words.printable(short[name]), tuple(groups)))
    return sorted(found, key=lambda marginal: -marginal.effect)


def _values(
    ranked: Sequence[TrialRow], scores: Sequence[float], name: str
) -> tuple[Sequence[Any], Sequence[float]]:
    """Values and scores of the trials that have the hyperparameter."""
    values = value_of(ranked, name, _ABSENT)
    there = [value is not _ABSENT for value in values]
    return list(itertools.compress(values, there)), list(itertools.compress(scores, there))


def _groups(values: Sequence[Any], scores: Sequence[float]) -> list[Group]:
    kinds = set(map(type, values))
    numeric = kinds <= {int, float}
    if numeric and _has_many(values):
        return _quarters(values, scores)
    by_value = _by_value if len(kinds) == 1 and kinds <= _PLAIN else _by_key
    by_label: dict[str, tuple[Any, list[float]]] = {}
    for value, group in by_value(values, scores):
        by_label.setdefault(words.value_text(value), (value, []))[1].extend(group)
    order = sorted(by_label, key=lambda label: by_label[label][0]) if numeric else list(by_label)
    return [group_of(label, by_label[label][1]) for label in order]


def _has_many(values: Sequence[Any]) -> bool:
    """Whether more than `_MAX_GROUPS` values look different; stops at the first too many."""
    labels: set[str] = set()
    for value in dict.fromkeys(values):
        labels.add(words.value_text(value))
        if len(labels) > _MAX_GROUPS:
            return True
    return False


def _by_value(values: Sequence[Any], scores: Sequence[float]) -> Iterable[tuple[Any, list[float]]]:
    """Scores of each value, where all values are of one plain kind."""
    found: dict[Any, list[float]] = defaultdict(list)
    for value, score in zip(values, scores, strict=True):
        found[value].append(score)
    return found.items()


def _by_key(values: Sequence[Any], scores: Sequence[float]) -> Iterable[tuple[Any, list[float]]]:
    """The same for values of any kind: 1, 1.0 and true are three, and lists have no hash."""
    found: dict[Any, tuple[Any, list[float]]] = {}
    for value, score in zip(values, scores, strict=True):
        key = (type(value), value if type(value) in _PLAIN else repr(value))
        found.setdefault(key, (value, []))[1].append(score)
    return found.values()


def _quarters(values: Sequence[Any], scores: Sequence[float]) -> list[Group]:
    """Equally many trials in each of four ranges."""
    order = sorted(range(len(values)), key=values.__getitem__)
    bounds = [round(len(order) * part / _PARTS) for part in range(_PARTS + 1)]
    groups = []
    for start, end in itertools.pairwise(bounds):
        part = order[start:end]
        low, high = (f"{values[place]:.3g}" for place in (part[0], part[-1]))
        groups.append(group_of(f"{low} to {high}", [scores[place] for place in part]))
    return groups
