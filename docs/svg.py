"""Small SVG figures for pages of the documentation: panels of lines with intervals, and heat maps.

A few kilobytes each, without scripts or fonts of their own, the same for the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 34, 46
ROW = 17  # of the legend
COLORS = ("#1f6fb4", "#d1495b", "#2e8b57", "#8a5fbf", "#b8860b", "#555555")

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Point:
    """A value and the ends of its interval, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Points of one name; `color` is a place in COLORS, `style` what joins them."""

    name: str
    points: Sequence[Point]
    color: int = 0
    style: str = "solid"  # solid, dashed, or none: points alone


@dataclass(frozen=True)
class Axis:
    """An axis; with `names` a category stands at each whole number."""

    title: str
    is_log: bool = False
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """One diagram."""

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]


def figure(panels: Sequence[Panel], alt: str) -> str:
    """Panels side by side, with one legend of all their lines."""
    lines = {
        line.name: line for panel in panels for line in panel.lines if line.name and line.points
    }
    entries = list(_legend(list(lines.values()), WIDTH * len(panels)))
    height = HEIGHT + (ROW * (1 + max((row for row, _ in entries), default=-1)))
    parts = [text for _, text in entries]
    for place, panel in enumerate(panels):
        parts.append(f'<g transform="translate({WIDTH * place},0)">{"".join(_panel(panel))}</g>')
    return _document(WIDTH * len(panels), height, alt, parts)


def heat_map(
    title: str, sources: Sequence[str], targets: Sequence[str], cells: Sequence[Sequence[float]]
) -> str:
    """Sources from top to bottom, targets from left to right; NaN stays empty.

    Cells are above 0 and at most 1; the smallest is the lightest.
    """
    size, left, top = 34, 110, 40
    width, height = left + size * len(targets) + 50, top + size * len(sources) + 44
    least = min(value for values in cells for value in values if not math.isnan(value))
    parts = [_text(width / 2, 20, title, "middle", 13)]
    for row, (name, values) in enumerate(zip(sources, cells, strict=True)):
        y = top + size * row
        parts.append(_text(left - 6, y + size / 2 + 4, name, "end"))
        for column, value in enumerate(values):
            if not math.isnan(value):
                share = (value - least) / (1 - least or 1)
                color = _shade(share)
                box = f'x="{left + size * column}" y="{y}" width="{size - 2}" height="{size - 2}"'
                parts.append(f'<rect {box} fill="{color}"/>')
                ink = "#fff" if share > 0.6 else "#222"
                text = "1" if value > 0.995 else f"{value:.2f}"[1:]
                x = left + size * column + size / 2 - 1
                parts.append(_text(x, y + size / 2 + 3, text, "middle", 10, ink))
    for column, name in enumerate(targets):
        x, y = left + size * column + size / 2, top + size * len(sources) + 12
        parts.append(
            f'<text x="{x}" y="{y}" transform="rotate(25 {x} {y})" font-size="10">'
            f"{escape(name)}</text>"
        )
    return _document(width, height, title, parts)


def _shade(value: float) -> str:
    light, dark = (233, 240, 248), (20, 70, 130)
    mixed = (round(a + (b - a) * value) for a, b in zip(light, dark, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _document(width: float, height: float, alt: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="#222" role="img">'
        f'<title>{escape(alt)}</title><rect width="100%" height="100%" fill="#fff"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


# ---------------------------------------------------------------------- a panel


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    ends = [v for p in points for v in (p.y, p.low, p.high) if v is not None and math.isfinite(v)]
    x = _scale(panel.x, [p.x for p in points], LEFT, WIDTH - RIGHT)
    y = _scale(panel.y, ends, HEIGHT - BOTTOM, TOP)
    yield _text(WIDTH / 2, 18, panel.title, "middle", 13)
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, panel.x.title, "middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text transform="translate(14,{middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.y.title)}</text>"
    )
    for value, text in _ticks(panel.y, ends):
        yield _rule(LEFT, y(value), WIDTH - RIGHT, y(value), "#e4e4e4")
        yield _text(LEFT - 6, y(value) + 4, text, "end", 11)
    for value, text in _ticks(panel.x, [p.x for p in points]):
        yield _rule(x(value), HEIGHT - BOTTOM, x(value), HEIGHT - BOTTOM + 4, "#777")
        yield _text(x(value), HEIGHT - BOTTOM + 17, text, "middle", 11)
    yield _rule(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "#777")
    for line in panel.lines:
        yield from _line(line, x, y)


def _line(line: Line, x: Scale, y: Scale) -> Iterator[str]:
    color = COLORS[line.color]
    shown = [point for point in line.points if math.isfinite(point.y)]
    if line.style != "none":
        places = " ".join(f"{x(p.x):.1f},{y(p.y):.1f}" for p in shown)
        dash = ' stroke-dasharray="5 3"' if line.style == "dashed" else ""
        yield (
            f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="1.8"{dash}/>'
        )
    for p in shown:
        if p.low is not None and p.high is not None:
            yield _rule(x(p.x), y(p.low), x(p.x), y(p.high), color, 1.3)
        yield f'<circle cx="{x(p.x):.1f}" cy="{y(p.y):.1f}" r="3" fill="{color}"/>'


def _legend(lines: Sequence[Line], width: float) -> Iterator[tuple[int, str]]:
    """Row and text of each name, as many in a row as there is room for."""
    row, at = 0, 20.0
    for line in lines if len(lines) > 1 else ():
        room = 44 + 6.6 * len(line.name)
        if at > 20 and at + room > width:
            row, at = row + 1, 20.0
        y = HEIGHT + ROW * row + 8
        dash = ' stroke-dasharray="5 3"' if line.style == "dashed" else ""
        mark = (
            f'<circle cx="{at + 11}" cy="{y}" r="3.5" fill="{COLORS[line.color]}"/>'
            if line.style == "none"
            else f'<line x1="{at}" y1="{y}" x2="{at + 22}" y2="{y}" '
            f'stroke="{COLORS[line.color]}" stroke-width="2"{dash}/>'
        )
        yield row, mark + _text(at + 28, y + 4, line.name, "start")
        at += room


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    """From a value to its place; with some air at both ends."""
    low, high = _ends(axis, values)

    def place(value: float) -> float:
        share = (_position(axis, value) - low) / (high - low)
        return start + min(1.05, max(-0.02, share)) * (end - start)

    return place


def _ends(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    if axis.names:
        return -0.5, len(axis.names) - 0.5
    places = [_position(axis, value) for value in values]
    low, high = min(places), max(places)
    air = 0.05 * (high - low) or 0.5
    return low - air, high + air


def _position(axis: Axis, value: float) -> float:
    return math.log10(value) if axis.is_log else value


def _ticks(axis: Axis, values: Sequence[float]) -> list[tuple[float, str]]:
    if axis.names:
        return list(enumerate(axis.names))
    low, high = _ends(axis, values)
    if axis.is_log:
        decades = range(math.floor(low), math.ceil(high) + 1)
        factors = (1, 2, 5) if high - low < 1.8 else (1,)
        step = max(1, round((high - low) / 7))
        ticks = [f * 10.0**d for d in decades[::step] for f in factors]
        return [(t, _number(t)) for t in ticks if low <= math.log10(t) <= high]
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * f for f in (1, 2, 5, 10) if unit * f >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [(step * i, _number(step * i)) for i in range(first, last + 1)]


def _number(value: float) -> str:
    if value and abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or abs(value) >= 1e6:
            return f"{value / size:g}{letter}"
    return f"{round(value, 6):g}"


def _rule(x1: float, y1: float, x2: float, y2: float, color: str, width: float = 1) -> str:
    places = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {places} stroke="{color}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str, size: int = 12, color: str = "#222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{color}">{escape(text)}</text>'
    )
