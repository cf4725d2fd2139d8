"""What `tuner confirm` has left beside an experiment: read with care, for it is only a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.report import words
from tuner.report.page.text import clean

CONFIRMED = Path("confirm") / "confirmation.json"
"""The document's place in the folder of the experiment that was searched."""

_DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
_LONGEST = 1_000_000  # characters; a real one has some thousands
_MOST_LEADERS = 100
_MOST_SENTENCES = 10


@dataclass(frozen=True)
class Leader:
    """A configuration on the test set. `test` holds its seeds' figures, `low` and `high` the 95 %
    interval of their mean; `verdict` is against the search's best, and empty for that itself.
    """

    values: Mapping[str, Any]
    searched: float
    searched_n: int
    test: tuple[tuple[str, float], ...]
    mean: float | None
    low: float | None
    high: float | None
    difference: float | None
    verdict: str


@dataclass(frozen=True)
class Confirmed:
    """All leaders, in the order of the search, and what it means in sentences."""

    metric: str
    searched_metric: str
    leaders: tuple[Leader, ...]
    sentences: tuple[str, ...]


def read_confirmed(path: Path, name: str) -> Confirmed | None:
    """The document of an experiment of this name; None where it is missing, damaged or foreign."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if len(text) <= _LONGEST else None
        if not isinstance(document, dict) or document["experiment"] != name:
            return None
        return _confirmed(document)
    except _DAMAGE:
        return None


def _confirmed(document: Mapping[str, Any]) -> Confirmed | None:
    leaders = tuple(_leader(found) for found in document["leaders"][:_MOST_LEADERS])
    if not any(leader.test for leader in leaders):
        return None
    return Confirmed(
        clean(str(document["metric"])),
        clean(str(document["searched_metric"])),
        leaders,
        tuple(clean(str(said)) for said in document["sentences"][:_MOST_SENTENCES]),
    )


def _leader(found: Mapping[str, Any]) -> Leader:
    test = tuple((clean(str(seed)), _finite(score)) for seed, score in found["test"].items())
    ends = found["test_interval"]
    low, high = (None, None) if ends is None else (_finite(ends[0]), _finite(ends[1]))
    difference = found["difference"]
    return Leader(
        {str(name): value for name, value in found["values"].items()},
        _finite(found["searched_score"]),
        int(found["searched_n"]),
        test,
        _finite(found["test_mean"]) if test else None,
        low,
        high,
        None if difference is None else _finite(difference["mean"]),
        "" if difference is None else clean(str(difference["verdict"])),
    )


def _finite(value: Any) -> float:
    """Raises ValueError for what is no finite number."""
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is no number")
    return float(value)


def names_of(found: Confirmed) -> list[str]:
    """What tells the leaders apart: their places, and the values in which they differ."""
    every = dict.fromkeys(name for leader in found.leaders for name in leader.values)
    short = words.short_names(every)
    differing = [n for n in every if len({_text(leader, n) for leader in found.leaders}) > 1]
    named = []
    for place, leader in enumerate(found.leaders, start=1):
        parts = [_part(short[n], _text(leader, n)) for n in differing if n in leader.values]
        named.append(clean(f"{place}: {', '.join(parts)}" if parts else str(place)))
    return named


def _part(name: str, text: str) -> str:
    return text if name == "family" else f"{name} {text}"


def _text(leader: Leader, name: str) -> str:
    return words.value_text(leader.values[name]) if name in leader.values else words.NOTHING
