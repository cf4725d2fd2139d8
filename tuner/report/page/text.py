"""Text and numbers on their way into the page: whatever they hold, they stay text and numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from tuner.report import words

_DIGITS = 5
_LONGEST_TICK = 22
# What could end a script element, or a line of JavaScript, inside a JSON text.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_MARKUP = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


def embedded(value: Any) -> str:
    """A value as JSON for `<script type="application/json">`.

    Raises ValueError for NaN and infinities, which JSON lacks: see `number`.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode()


def clean(text: str) -> str:
    """Text whose lines hold no control characters and nothing that turns the direction round."""
    return "\n".join(words.printable(line.replace("\t", "    ")) for line in text.splitlines())


def label(text: str) -> str:
    """Text for plotly, which reads some tags (links, too) and entities in titles and labels."""
    return words.printable(text).translate(_MARKUP)


def tick(text: str) -> str:
    """The same for the place beside an axis: no longer than it can be read there."""
    short = text if len(text) <= _LONGEST_TICK else text[: _LONGEST_TICK - 1] + "…"
    return label(short)


def number(value: float | None, digits: int = _DIGITS) -> float | int | None:
    """A number in so many digits, which is what an eye can tell apart; None for NaN and ±inf."""
    if value is None or isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def numbers(values: Iterable[float | None]) -> list[float | int | None]:
    """Several of them."""
    return [number(value) for value in values]
