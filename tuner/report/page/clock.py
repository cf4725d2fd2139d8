"""Times of the ledger as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tuner.ledger.records import TrialRow
from tuner.report.page.source import Source


@dataclass(frozen=True)
class Stretch:
    """A trial from its last start to its end, in seconds since 1970."""

    row: TrialRow
    start: float
    end: float


def moment(text: str | None) -> float | None:
    """Seconds since 1970 of a time in ISO 8601; None where it is missing or unreadable."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def stretches(source: Source) -> list[Stretch]:
    """Every trial that has begun and ended, in the order in which they ended."""
    found = []
    for row in source.rows:
        start, end = moment(row.started_at), moment(row.finished_at)
        if start is not None and end is not None and end >= start:
            found.append(Stretch(row, start, end))
    return sorted(found, key=lambda stretch: (stretch.end, stretch.row.number))


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit in which a span of time reads well, and its length."""
    for name, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return name, length
    return "seconds", 1.0
