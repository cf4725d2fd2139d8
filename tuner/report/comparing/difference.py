"""What differs between two trials, as tables for people and as values for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tuner.report import words
from tuner.report.comparing.diff import BestEpoch, Change, Diff, Subject
from tuner.report.comparing.sheet import Section, clipped
from tuner.report.tabular.render import finite

_WIDEST = 26  # of a value in a table; --json has it whole
_AS_TEXT: dict[str, Callable[[Any], str]] = {
    "parameters": words.count_text,
    "macs": words.count_text,
    "train_seconds": words.seconds_text,
    "compile_seconds": words.seconds_text,
    "seconds per epoch": words.seconds_text,
}


def sections(found: Diff) -> list[Section]:
    """Configuration, environment, result and curves; what is equal is counted."""
    return [
        Section(_title(found)),
        _part("Configuration", found, found.configuration, "configuration"),
        _part("Environment of the last run", found, found.environment, "environment"),
        _part("Result", found, found.result, "result", is_numeric=True),
        *_curves(found),
    ]


def to_json(found: Diff) -> dict[str, Any]:
    """Plain values with stable keys."""
    document: dict[str, Any] = finite(
        {
            "trials": [_subject(found.one), _subject(found.other)],
            "same_trial": found.is_same_trial,
            "configuration": [_change(change) for change in found.configuration],
            "environment": [_change(change) for change in found.environment],
            "result": [_change(change) for change in found.result],
            "curves": [_curve_json(curve) for curve in found.curves],
            "equal": dict(found.equal),
        }
    )
    return document


def _title(found: Diff) -> str:
    names = f"{found.one.label} and {found.other.label}"
    if found.is_same_trial:
        return f"{names} are the same trial: everything that decides their outcome is equal."
    return f"{names} are different trials."


def _part(
    title: str, found: Diff, changes: tuple[Change, ...], name: str, *, is_numeric: bool = False
) -> Section:
    equal = found.equal[name]
    are = "is" if equal == 1 else "are"
    if not changes:
        nothing = f"{words.counted(equal, 'value')} {are} equal." if equal else "Not recorded."
        return Section(title, notes=(nothing,))
    same = f"{words.counted(equal, 'other value')} {are} equal."
    heads: tuple[str, ...] = ("value", found.one.label, found.other.label)
    rows: tuple[tuple[str, ...], ...] = tuple(_cells(change) for change in changes)
    if is_numeric:
        heads, rows = (
            (*heads, "difference"),
            tuple((*row, _moved(change)) for row, change in zip(rows, changes, strict=True)),
        )
    notes = (same,) if equal else ()
    return Section(title, heads, rows, notes, num_numeric=3 if is_numeric else 0)


def _cells(change: Change) -> tuple[str, str, str]:
    values = zip((change.one, change.other), change.is_there, strict=True)
    first, second = (
        _value(change.name, value) if there else words.NOTHING for value, there in values
    )
    return change.name, first, second


def _value(name: str, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _AS_TEXT and is_number:
        return _AS_TEXT[name](value)
    if isinstance(value, float) and (name == "score" or name.startswith("last ")):
        return words.score_text(value)
    return clipped(words.printable(words.value_text(value)), _WIDEST)


def _moved(change: Change) -> str:
    """The second less the first, and by what factor where that says something."""
    one, other = change.one, change.other
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other)):
        return ""
    if change.name in _AS_TEXT:
        return f"×{other / one:.3g}" if one > 0 else ""
    if isinstance(one, int) and isinstance(other, int):
        return f"{other - one:+d}"
    moved = other - one
    return f"+{words.score_text(moved)}" if moved > 0 else words.score_text(moved)


def _curves(found: Diff) -> list[Section]:
    if not found.curves:
        return []
    rows = tuple((c.metric, _best_text(c.one), _best_text(c.other)) for c in found.curves)
    heads = ("best of", found.one.label, found.other.label)
    return [Section("Curves: best value and the epoch that has it", heads, rows)]


def _best_text(best: tuple[float, int] | None) -> str:
    return words.NOTHING if best is None else f"{words.score_text(best[0])} in {best[1]:>3}"


def _subject(subject: Subject) -> dict[str, Any]:
    row = subject.row
    return {
        "experiment": subject.experiment,
        "trial": row.number,
        "key": row.key,
        "state": row.state.value,
        "score": row.score,
        "objective": dataclasses.asdict(subject.objective),
    }


def _change(change: Change) -> dict[str, Any]:
    """A value that a trial does not have is left out; one that it has may be null."""
    found = {"name": change.name}
    for label, value, there in zip(
        ("one", "other"), (change.one, change.other), change.is_there, strict=True
    ):
        if there:
            found[label] = value
    return found


def _curve_json(curve: BestEpoch) -> dict[str, Any]:
    return {
        "metric": curve.metric,
        **{
            label: {"value": best[0], "epoch": best[1]} if best else None
            for label, best in (("one", curve.one), ("other", curve.other))
        },
    }
