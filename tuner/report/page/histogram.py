"""Two pictures that are small enough to stand among numbers: all scores, and the best curve."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from tuner.report import words
from tuner.report.page.source import Source

_FEWEST = 4
_MOST_BINS = 40


@dataclass(frozen=True)
class Histogram:
    """Heights of equally wide bins as shares of the tallest; `best` is the bin of the best score.

    `middle` is the place of the median, counted in bins from the left.
    """

    shares: tuple[float, ...]
    best: int
    middle: float
    low: str
    median: str
    high: str
    n: int


def histogram_of(source: Source) -> Histogram | None:
    """The spread of all ranked scores; None where too few differ."""
    scores = sorted(_finite(row.score for row in source.ranked))
    if len(scores) < _FEWEST or not scores[-1] > scores[0]:
        return None
    count = min(_MOST_BINS, max(8, round(2 * math.sqrt(len(scores)))))
    low, width = scores[0], (scores[-1] - scores[0]) / count
    counts = [0] * count
    for score in scores:
        counts[min(count - 1, int((score - low) / width))] += 1
    median = statistics.median(scores)
    return Histogram(
        tuple(round(number / max(counts), 3) for number in counts),
        count - 1 if source.is_max else 0,
        round((median - low) / width, 3),
        words.score_text(scores[0]),
        words.score_text(median),
        words.score_text(scores[-1]),
        len(scores),
    )


@dataclass(frozen=True)
class Sparkline:
    """The winner's curve of the objective: places from 0 to 1, up is better."""

    points: tuple[tuple[float, float], ...]
    num_epochs: int


def sparkline_of(source: Source) -> Sparkline | None:
    """How the best trial came to its score; None where there is no line to draw."""
    best = source.best
    epochs = source.epochs.get(best.number, ()) if best else ()
    values = [epoch.metrics.get(source.record.metric, math.nan) for epoch in epochs]
    known = [(i, value) for i, value in enumerate(values) if math.isfinite(value)]
    if len(known) < 2:
        return None
    low, high = min(value for _, value in known), max(value for _, value in known)
    span = (high - low) or 1.0
    last = len(values) - 1
    points = [(i / last, (value - low) / span) for i, value in known]
    upwards = [(x, y if source.is_max else 1 - y) for x, y in points]
    return Sparkline(tuple((round(x, 4), round(y, 4)) for x, y in upwards), len(values))


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
