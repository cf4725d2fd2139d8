"""Which trial of one side belongs to which of the other: by seed, by settings, or not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.experiment.trial import canonical
from tuner.report import words
from tuner.report.comparing.reach import configurations
from tuner.report.comparing.sides import Entry, Side

_ABSENT = object()


@dataclass(frozen=True)
class Pairing:
    """Scores of two sides as a test takes them.

    `how` says in words what was paired; `unit` is what is counted. `without_partner` counts trials
    of either side that have none and take no part.
    """

    how: str
    unit: str
    is_paired: bool
    one: tuple[float, ...]
    other: tuple[float, ...]
    without_partner: int = 0


def pairing(one: Side, other: Side, names: Sequence[str]) -> Pairing:
    """Pairs by all searched values that both sides have and by seed, where the sides have them.

    `names` are the values that may be paired by. Where a side has several trials for one partner
    (settings that only it has), their mean stands for them. Pairs need two partners at least, and
    half of each side's trials among them; else the sides are compared as they are, each
    configuration by its mean over seeds.
    """
    shared = [name for name in names if _is_shared(name, one, other)]
    seeds = [{entry.row.seed for entry in side.entries} for side in (one, other)]
    by_seed = bool(seeds[0] & seeds[1])
    if shared or (by_seed and _is_one_configuration(one) and _is_one_configuration(other)):
        found = _paired(one, other, shared, by_seed)
        if found is not None:
            return found
    return _unpaired(one, other)


def _paired(one: Side, other: Side, shared: Sequence[str], by_seed: bool) -> Pairing | None:
    first, second = (_by_key(side, shared, by_seed) for side in (one, other))
    common = [key for key in first if key in second]
    counts = [sum(len(scores[key]) for key in common) for scores in (first, second)]
    sizes = [len(one.entries), len(other.entries)]
    covered = all(2 * count >= size for count, size in zip(counts, sizes, strict=True))
    if len(common) < 2 or not covered:
        return None
    several = any(count > len(common) for count in counts)
    seeds = by_seed and len({entry.row.seed for entry in one.entries + other.entries}) > 1
    unit = "pair" if shared else "seed"
    return Pairing(
        _words(shared, seeds, several),
        unit,
        True,
        tuple(_mean(first[key]) for key in common),
        tuple(_mean(second[key]) for key in common),
        sum(sizes) - sum(counts),
    )


def _words(shared: Sequence[str], seeds: bool, several: bool) -> str:
    short = words.short_names(shared)
    parts = [words.printable(short[name]) for name in shared] + ["seed"] * seeds
    means = "; means over each side's other settings" if several else ""
    return f"paired by {words.joined(parts)}{means}"


def _unpaired(one: Side, other: Side) -> Pairing:
    first, second = _units(one), _units(other)
    if len(first) + len(second) == len(one.entries) + len(other.entries):
        return Pairing("unpaired", "trial", False, first, second)
    how = "unpaired, each configuration by its mean over seeds"
    return Pairing(how, "configuration", False, first, second)


def _units(side: Side) -> tuple[float, ...]:
    """Each configuration's mean; the trials themselves where there is one configuration only."""
    found = configurations(side.entries, "max")
    if len(found) == 1:
        return found[0].scores
    return tuple(configuration.score for configuration in found)


def _is_shared(name: str, one: Side, other: Side) -> bool:
    """Whether every trial has it, and it is not just what sets the sides apart."""
    first, second = ({_key(entry, name) for entry in side.entries} for side in (one, other))
    if "" in first | second:
        return False
    return len(first) > 1 or len(second) > 1


def _is_one_configuration(side: Side) -> bool:
    first = side.entries[0].row.configuration if side.entries else {}
    return all(entry.row.configuration == first for entry in side.entries)


def _by_key(side: Side, shared: Sequence[str], by_seed: bool) -> dict[tuple[str, ...], list[float]]:
    found: dict[tuple[str, ...], list[float]] = {}
    for entry in side.entries:
        seed = str(entry.row.seed) if by_seed else ""
        key = (*(_key(entry, name) for name in shared), seed)
        found.setdefault(key, []).append(entry.score)
    return found


def _key(entry: Entry, name: str) -> str:
    value = entry.row.value(name, _ABSENT)
    if value is _ABSENT:
        return ""
    is_whole = isinstance(value, float) and value.is_integer()
    return canonical(int(value) if is_whole else value)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
