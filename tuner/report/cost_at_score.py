"""What a score costs: parameters, multiply-adds, epochs, steps and seconds to reach it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from tuner.experiment.objective import Objective
from tuner.ledger.records import TrialRow
from tuner.report.sides import ScoredTrial, by_configuration, mean

_TIED = 1e-12  # scores that differ by less, relative to their size, are equal
# Steps are counted per training image: their ratio needs no knowledge of the data.
SIZES = ("parameters", "macs")
COSTS = (*SIZES, "epochs", "steps", "seconds")

Front = tuple[tuple[float, float], ...]
Costs = Mapping[str, float | None]


@dataclass(frozen=True)
class SeededConfiguration:
    """One configuration under all its seeds.

    `score`, the mean over the seeds, and `curve`, the mean of the best scores so far over the seeds
    after each epoch, are gains: they rise as they get better whatever the direction. `seconds` are
    the mean seconds up to each epoch.
    """

    entries: tuple[ScoredTrial, ...]
    score: float
    curve: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def row(self) -> TrialRow:
        """The first trial, which has what all share."""
        return self.entries[0].row


@dataclass(frozen=True)
class TrialsAtScore:
    """How many of `n` trials reach a score, and the medians over those that do."""

    count: int
    n: int
    epochs: float | None
    seconds: float | None


def configurations(
    entries: Iterable[ScoredTrial], objective: Objective
) -> list[SeededConfiguration]:
    """Trials that differ in nothing but their seed, together."""
    return [_configuration(group, objective) for group in by_configuration(entries)]


def common_level(sides: Sequence[Sequence[SeededConfiguration]]) -> float | None:
    """The best gain that every side with trials reaches: the least of their best."""
    return min((max(c.score for c in side) for side in sides if side), default=None)


def trials_at(entries: Sequence[ScoredTrial], level: float, objective: Objective) -> TrialsAtScore:
    """Epochs and seconds until each trial's best gain so far is at the level."""
    epochs, seconds = [], []
    for entry in entries:
        curve, times = best_so_far(entry, objective)
        place = next((i for i, value in enumerate(curve) if _is_at(value, level)), None)
        if place is not None:
            epochs.append(place + 1)
            seconds.append(times[place])
    medians = (median(epochs), median(seconds)) if epochs else (None, None)
    return TrialsAtScore(len(epochs), len(entries), *medians)


def fronts(side: Sequence[SeededConfiguration]) -> dict[str, Front]:
    """Of each cost, the front of what a side reaches for it: both rise from point to point."""
    return {name: pareto(_points(side, name)) for name in COSTS}


def pareto(points: Iterable[tuple[float, float]]) -> Front:
    """Of (cost, gain) those that no other beats in one without losing in the other."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if score > (front[-1][1] if front else -math.inf):
            front.append((cost, score))
    return tuple(front)


def costs_at(side: Sequence[SeededConfiguration], level: float | None) -> Costs:
    """Each cost of a level; None where it is unknown or never reached."""
    return {
        name: None if level is None else cost_at(front, level)
        for name, front in fronts(side).items()
    }


def cost_at(front: Front, level: float) -> float | None:
    """The cost of a level on a front, geometric between its points; None if it is never reached.

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


def ratios(costs: Costs, baseline: Costs) -> Costs:
    """Each cost as a multiple of the baseline's; None where either is unknown."""
    pairs = {name: (costs.get(name), baseline[name]) for name in COSTS}
    return {
        name: cost / least if cost is not None and least else None
        for name, (cost, least) in pairs.items()
    }


def _points(side: Sequence[SeededConfiguration], cost: str) -> Iterable[tuple[float, float]]:
    for configuration in side:
        if cost in SIZES:
            if (size := getattr(configuration.row, cost)) is not None:
                yield size, configuration.score
        elif cost == "seconds":
            yield from zip(configuration.seconds, configuration.curve, strict=True)
        else:
            batch = configuration.row.value("training.batch_size") if cost == "steps" else 1
            if isinstance(batch, int) and batch > 0:
                for epoch, score in enumerate(configuration.curve, start=1):
                    yield epoch / batch, score


def _configuration(entries: Sequence[ScoredTrial], objective: Objective) -> SeededConfiguration:
    curves = [best_so_far(entry, objective) for entry in entries if entry.curve]
    return SeededConfiguration(
        tuple(entries),
        mean([objective.gain(entry.score) for entry in entries]),
        _means([curve for curve, _ in curves]),
        _means([times for _, times in curves]),
    )


def _means(series: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Mean at each place; what ended early stays at its last value."""
    if len(series) == 1:
        return tuple(series[0])
    longest = max(map(len, series), default=0)
    padded = [[*values, *[values[-1]] * (longest - len(values))] for values in series]
    return tuple(map(mean, zip(*padded, strict=True)))


def best_so_far(entry: ScoredTrial, objective: Objective) -> tuple[list[float], list[float]]:
    """Of each epoch the best gain until then, and the seconds until its end."""
    gains = (-math.inf if math.isnan(value) else objective.gain(value) for value, _ in entry.curve)
    return list(accumulate(gains, max)), list(accumulate(seconds for _, seconds in entry.curve))


def _is_at(value: float, level: float) -> bool:
    return value >= level - _TIED * abs(level)
