"""Curves of text: braille charts and one-line sparklines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
# Bit of each dot in a braille cell, by (column, row) from the top left.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars between their least and largest; `·` where not finite."""
    shown = list(values)[-width:]
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return "·" * len(shown)
    low, high = min(finite), max(finite)
    return "".join(_bar(value, low, high) for value in shown)


def chart(
    values: Sequence[float], *, width: int, height: int, low: float, high: float
) -> list[str]:
    """A line through equally spaced values: `height` lines of `width` braille cells.

    `low` and `high` are the ends of the vertical axis, so that two charts can share them. Values
    that are not finite leave a gap.
    """
    cells = [[0] * width for _ in range(height)]
    points = [_point(i, v, len(values), width, height, low, high) for i, v in enumerate(values)]
    previous = None
    for point in points:
        if point is not None:
            for x, y in _line(previous or point, point):
                cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        previous = point
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def panel(
    title: str,
    values: Sequence[float],
    *,
    width: int,
    height: int,
    bounds: tuple[float, float] | None = None,
) -> list[str]:
    """A chart under its title, with the ends of its axis written on the left."""
    low, high = bounds or bounds_of(values)
    labels = [f"{high:.3g}", *[""] * (height - 2), f"{low:.3g}"]
    margin = max(len(label) for label in labels)
    lines = chart(values, width=width - margin - 2, height=height, low=low, high=high)
    body = [
        f"{label:>{margin}} ┤{line}"[:width] if label else f"{'':>{margin}} │{line}"[:width]
        for label, line in zip(labels, lines, strict=True)
    ]
    return [line.ljust(width) for line in [f"{'':>{margin}}  {title}"[:width], *body]]


def bounds_of(*series: Sequence[float]) -> tuple[float, float]:
    """Least and largest finite value of several series, never equal."""
    finite = [value for values in series for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "·"
    if high == low:
        return _BARS[3]
    return _BARS[round((value - low) / (high - low) * (len(_BARS) - 1))]


def _point(
    index: int, value: float, count: int, width: int, height: int, low: float, high: float
) -> tuple[int, int] | None:
    if not math.isfinite(value):
        return None
    x = round(index / max(1, count - 1) * (2 * width - 1))
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return x, round((1 - share) * (4 * height - 1))


def _line(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (
            round(start[0] + (end[0] - start[0]) * step / steps),
            round(start[1] + (end[1] - start[1]) * step / steps),
        )
        for step in range(steps + 1)
    ]
