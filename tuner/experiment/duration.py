"""Durations as people write them, in YAML and on the command line: 2h, 90m, 30s, 1h30m, 12d."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

from tuner.errors import InputError, Problem

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = r"([0-9]{1,15}(?:\.[0-9]{1,20})?)([dhms])"

# Bounded digits keep every sum finite and exact.
PATTERN = r"^([0-9]{1,15}(\.[0-9]{1,20})?[dhms])+$"
"""The grammar, for validation and the JSON Schema: numbers, each with its unit."""


def parse_duration(text: str) -> float:
    """Seconds.

    Raises:
        ValueError: it is not of that form; a number without a unit is not.
    """
    if re.fullmatch(PATTERN, text) is None or text.endswith("\n"):
        raise ValueError(f"{text!r} is not a time; write 2h, 90m or 30s.")
    # Exact until the end, so that what `duration_text` writes comes back as the same float.
    return float(sum(Fraction(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text)))


def duration_text(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as just these seconds: 5400 is 1h30m."""
    whole, _, decimals = f"{Decimal(repr(seconds)):f}".partition(".")
    fraction = f".{decimals}" if decimals.strip("0") else ""
    rest, parts = int(whole), []
    for unit, size in _SECONDS.items():
        count, rest = divmod(rest, size)
        part = f"{count}{fraction if unit == 's' else ''}"
        if part != "0":
            parts.append(part + unit)
    return "".join(parts) or "0s"


def seconds_of(duration: str | float | None, name: str) -> float | None:
    """Seconds of a duration that a Python program gives as text, or in seconds; None for none.

    Raises:
        InputError: it is neither.
    """
    if duration is None:
        return None
    if isinstance(duration, str):
        try:
            return parse_duration(duration)
        except ValueError:
            pass
    elif not isinstance(duration, bool) and math.isfinite(duration) and duration >= 0:
        return float(duration)
    raise InputError(Problem("is not a time", name, repr(duration), '"2h", "90m", or seconds'))
