"""Numbers, times and names as people read them."""

from __future__ import annotations

import json
import math
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import SEVERAL

NOTHING = "–"
_EXPONENT = re.compile(r"e\+?(-?)0*(?=\d)")  # of Python's 1e-05 and 1e+05


def score_text(value: float | None) -> str:
    """A score or metric with four decimals, or four digits where decimals would not do."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else number_text(value, 4)


def beside_text(value: float, score: float) -> str:
    """What stands beside a score, as an end of its interval, in as many decimals as it has."""
    return f"{value:.4f}" if 1e-3 <= abs(score) < 1e4 else score_text(value)


def number_text(value: float, digits: int) -> str:
    """A number as people write it: 0.00055, 5.5e-7; never 5.500e-07."""
    if 1e-5 <= abs(value) < 1e-4:
        return f"{value:.{digits + 4}f}".rstrip("0")
    return _EXPONENT.sub(r"e\1", f"{value:.{digits}g}")


def signed_text(value: float) -> str:
    """A difference of scores, with its sign."""
    return f"+{score_text(value)}" if value > 0 else score_text(value)


def value_text(value: Any) -> str:
    """A hyperparameter's value in up to five digits."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _EXPONENT.sub(r"e\1", f"{value:.5g}")
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):  # as in an experiment: [crop, flip]
        return f"[{', '.join(map(value_text, value))}]"
    return str(value) if isinstance(value, int) else json.dumps(value)


def percent_text(share: float) -> str:
    """A share of one as people write it: `8 %`, and `0.4 %` below one."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 1 or not percent else f"{percent:.1g} %"


def count_text(value: float | None) -> str:
    """A large count with three digits: 272k, 1.74M, 40.6M, 1.2G."""
    if value is None:
        return NOTHING
    return _scaled(value, (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)))


def threads_text(value: int | None) -> str:
    """The threads that trained a trial; several: it went on with another number of them."""
    return NOTHING if value is None else "several" if value == SEVERAL else str(value)


def seconds_text(value: float | None) -> str:
    """A duration with about three digits: 0.42s, 12.3s, 3m 05s, 2h 14m, 3d 04h."""
    if value is None:
        return NOTHING
    if value < 9.995:
        return f"{value:.2f}s"
    if value < 59.95:
        return f"{value:.1f}s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(round(value / 60), 60)
    if hours < 48:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(round(value / 3600), 24)
    return f"{days}d {hours:02d}h"


def clock_text(value: float) -> str:
    """A duration on a display that is redrawn, in whole seconds: 7s, 3m 05s."""
    return f"{value:.0f}s" if value < 59.5 else seconds_text(value)


def bytes_text(value: float | None) -> str:
    """A size in memory or on disk: 512 B, 3.4 MB, 12 GB (powers of 1000)."""
    if value is None:
        return NOTHING
    return _scaled(value, ((" TB", 1e12), (" GB", 1e9), (" MB", 1e6), (" kB", 1e3), (" B", 1.0)))


def _scaled(value: float, units: Sequence[tuple[str, float]]) -> str:
    """Three digits in the largest unit that leaves at least one before the point."""
    unit, size = next((u for u in units if value >= u[1] * 0.9995), units[-1])
    scaled = value / size
    return f"{scaled:.0f}{unit}" if scaled >= 99.95 or size == 1 else f"{scaled:.3g}{unit}"


def bar_text(value: float, largest: float, width: int = 16) -> str:
    """A bar of characters, `width` of them for the largest value; empty where there is none."""
    if not largest or not math.isfinite(value) or value < 0:
        return ""
    full, part = divmod(round(value / largest * width * 8), 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[part - 1] if part else "")


# What every trial has beside its values, in tables.
_FACTS = {"trial", "state", "score", "epochs", "replicate", "seed", "reason", "n", "train"}


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Each dotted name's last part where no other name or fact of a trial is called so.

    Elsewhere the whole name: `training.epochs` are those planned, `epochs` those trained.
    """
    listed = list(names)
    endings = Counter(map(_ending, listed))
    return {
        name: name if endings[ending] > 1 or ending in _FACTS else ending
        for name, ending in ((name, _ending(name)) for name in listed)
    }


def _ending(name: str) -> str:
    """Its last part; a number says nothing without the one before (`class_weight.1`)."""
    before, _, last = name.rpartition(".")
    return f"{before.rpartition('.')[2]}.{last}" if last.isdecimal() else last


def values_text(values: Mapping[str, Any]) -> str:
    """Searched values on one line, names shortened: `learning_rate 0.01, depth 20`."""
    short = short_names(values)
    return ", ".join(
        f"{printable(short[name])} {value_text(value)}" for name, value in values.items()
    )


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first names, and an ellipsis where there are more."""
    shown = [printable(name) for name in names[:most]]
    return ", ".join(shown + ["…"] * (len(names) > most))


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 trial`, `2 trials`; thousands are grouped."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def state_word(state: TrialState) -> str:
    """A state as it stands in tables."""
    return state.value.lower()


def printable(text: str, keep: str = "") -> str:
    """Text from files and frameworks without control characters, so that it stays text.

    Escape sequences, marks that turn the direction of writing and invisible characters go, but
    for those in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in text)


def width(text: str) -> int:
    """Columns of a terminal that a text takes: two for wide characters, none for accents."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def markdown_text(text: str) -> str:
    """Text that stays text in Markdown; an underscore inside a word is harmless there."""
    return re.sub(r"[\\|*`<\[&~$]|\b_|_\b", lambda special: "\\" + special[0], printable(text))


def command_text(command: str, name: str) -> str:
    """A command as a person types it, between marks: `tuner confirm grid`."""
    return f"`tuner {command} {shlex.quote(printable(name))}`"


def first_line(text: str) -> str:
    """A reason's first line, safe to print."""
    lines = text.strip().splitlines()
    return printable(lines[0]) if lines else ""


def joined(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
