"""What a score costs: parameters, multiply-adds, epochs, steps and seconds to reach it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from tuner.experiment.trial import canonical
from tuner.report.comparing.sides import Entry

_TIED = 1e-12  # scores that differ by less, relative to their size, are equal
# Steps are counted per training image: their ratio needs no knowledge of the data.
COSTS = ("parameters", "macs", "epochs", "steps", "seconds")

Front = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Configuration:
    """One configuration under all its seeds.

    `scores` and `curve`, the mean of the best scores so far over the seeds after each epoch, rise
    as they get better whatever the direction; `seconds` are the mean seconds up to each epoch.
    """

    entries: tuple[Entry, ...]
    scores: tuple[float, ...]
    curve: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def score(self) -> float:
        """The mean over the seeds."""
        return math.fsum(self.scores) / len(self.scores)


@dataclass(frozen=True)
class Reached:
    """How many of `n` trials reach a score, and the medians over those that do."""

    count: int
    n: int
    epochs: float | None
    seconds: float | None


def sign_of(direction: str) -> float:
    """What makes a larger score the better one."""
    return 1.0 if direction == "max" else -1.0


def configurations(entries: Iterable[Entry], direction: str) -> list[Configuration]:
    """Trials that differ in nothing but their seed, together."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(canonical(dict(entry.row.configuration)), []).append(entry)
    return [_configuration(group, sign_of(direction)) for group in found.values()]


def common_level(sides: Sequence[Sequence[Configuration]]) -> float | None:
    """The best score that every side with trials reaches: the least of their best."""
    best = [max(c.score for c in side) for side in sides if side]
    return min(best) if best else None


def reached(entries: Sequence[Entry], level: float, direction: str) -> Reached:
    """Epochs and seconds until each trial's best score so far is at the level."""
    epochs, seconds = [], []
    for entry in entries:
        curve, times = _best_so_far(entry, sign_of(direction))
        place = next((i for i, value in enumerate(curve) if _is_at(value, level)), None)
        if place is not None:
            epochs.append(place + 1)
            seconds.append(times[place])
    if not epochs:
        return Reached(0, len(entries), None, None)
    return Reached(len(epochs), len(entries), median(epochs), median(seconds))


def fronts(side: Sequence[Configuration]) -> dict[str, Front]:
    """Of each cost, the front of what a side reaches for it: both rise from point to point."""
    return {name: pareto(_points(side, name)) for name in COSTS}


def pareto(points: Iterable[tuple[float, float]]) -> Front:
    """Of (cost, score) those that no other beats in one without losing in the other."""
    best: dict[float, float] = {}
    for cost, score in points:
        if score > best.get(cost, -math.inf):
            best[cost] = score
    front: list[tuple[float, float]] = []
    for cost in sorted(best):
        if not front or best[cost] > front[-1][1]:
            front.append((cost, best[cost]))
    return tuple(front)


def cost_at(front: Front, level: float) -> float | None:
    """The cost of a score on a front, geometric between its points; None if it is never reached.

    Below the front's first point its cost is what it takes: nothing cheaper was tried.
    """
    if not front or not _is_at(front[-1][1], level):
        return None
    scores = [score for _, score in front]
    place = min(bisect.bisect_left(scores, level), len(front) - 1)
    if place == 0:
        return front[0][0]
    (low, below), (high, above) = front[place - 1 : place + 1]
    share = min(1.0, (level - below) / (above - below))
    if low <= 0:
        return low + share * (high - low)
    return float(low * (high / low) ** share)


def ratios(
    costs: Mapping[str, float | None], baseline: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Each cost as a multiple of the baseline's; None where either is unknown."""
    return {name: _ratio(costs[name], baseline[name]) for name in COSTS}


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _points(side: Sequence[Configuration], cost: str) -> Iterable[tuple[float, float]]:
    for configuration in side:
        row = configuration.entries[0].row
        if cost in ("parameters", "macs"):
            size = row.parameters if cost == "parameters" else row.macs
            if size is not None:
                yield size, configuration.score
        elif cost == "seconds":
            yield from zip(configuration.seconds, configuration.curve, strict=True)
        else:
            batch = row.value("training.batch_size") if cost == "steps" else 1
            if isinstance(batch, int) and batch > 0:
                for epoch, score in enumerate(configuration.curve, start=1):
                    yield epoch / batch, score


def _configuration(entries: Sequence[Entry], sign: float) -> Configuration:
    curves = [_best_so_far(entry, sign) for entry in entries]
    longest = max(len(curve) for curve, _ in curves)
    complete = [(curve, times) for curve, times in curves if curve]
    return Configuration(
        tuple(entries),
        tuple(sign * entry.score for entry in entries),
        _mean([curve for curve, _ in complete], longest),
        _mean([times for _, times in complete], longest),
    )


def _mean(series: Sequence[Sequence[float]], length: int) -> tuple[float, ...]:
    """Mean at each place; what ended early stays at its last value."""
    if len(series) == 1:
        return tuple(series[0])
    padded = [[*values, *[values[-1]] * (length - len(values))] for values in series]
    return tuple(math.fsum(values) / len(values) for values in zip(*padded, strict=True))


def _best_so_far(entry: Entry, sign: float) -> tuple[list[float], list[float]]:
    values = (-math.inf if math.isnan(value) else sign * value for value, _ in entry.curve)
    return list(accumulate(values, max)), list(accumulate(s for _, s in entry.curve))


def _is_at(value: float, level: float) -> bool:
    return value >= level - _TIED * abs(level)
