"""The sides of a comparison: whole experiments, or groups of trials that share a value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import InputError, Problem, nearest
from tuner.experiment.trial import TrialState, canonical
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.record import RunRecord

MOST_SIDES = 20
_ABSENT = object()

# Of each epoch: the objective's metric and the seconds that it took.
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Source:
    """One experiment as it enters a comparison: its record and its trials' curves by number."""

    record: RunRecord
    curves: Mapping[int, Curve]


@dataclass(frozen=True)
class Entry:
    """A trial with a score that is a finite number."""

    experiment: str
    row: TrialRow
    score: float
    curve: Curve


@dataclass(frozen=True)
class Side:
    """What is compared: its trials with a score, and how many others it has, by reason."""

    name: str
    entries: tuple[Entry, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Sides:
    """All of them, and the trials that are on none, by reason."""

    sides: tuple[Side, ...]
    left_out: Mapping[str, int]


def read_source(folder: RunFolder, record: RunRecord) -> Source:
    """A record with its curves.

    Raises:
        InputError: the ledger is damaged.
    """
    curves: dict[int, list[tuple[float, float]]] = {}
    with Ledger.open_read_only(folder.ledger) as ledger:
        for epoch in ledger.epochs():
            value = epoch.metrics.get(record.metric, math.nan)
            curves.setdefault(epoch.number, []).append((value, epoch.seconds))
    return Source(record, {number: tuple(curve) for number, curve in curves.items()})


def check_objectives(records: Sequence[RunRecord]) -> None:
    """Scores of different meaning are not compared.

    Raises:
        InputError: two experiments differ in metric or direction; it names both.
    """
    first = records[0]
    for record in records[1:]:
        if (record.metric, record.direction) != (first.metric, first.direction):
            raise InputError(
                Problem(
                    "their scores mean different things",
                    where=f"{_named(first)} and {_named(record)}",
                    received=f"{_objective(first)} in {_named(first)}, "
                    f"{_objective(record)} in {_named(record)}",
                    expected="one objective",
                    mend="continue one of them with the other's objective; scores are "
                    "computed again from the recorded epochs",
                )
            )


def whole_experiments(sources: Sequence[Source]) -> Sides:
    """One side per experiment.

    Raises:
        InputError: there is only one, or one is given twice.
    """
    names = [source.record.name for source in sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        what = "this experiment is given twice"
        raise InputError(Problem(what, received=words.printable(twice[0])))
    if len(sources) < 2:
        raise InputError(
            Problem(
                "one experiment alone has nothing to be compared with",
                received=_named(sources[0].record),
                expected="two or more names, or --by with a searched value",
                mend=_by_hint(sources[0].record.value_names),
            )
        )
    return Sides(
        tuple(
            _side(
                words.printable(source.record.name),
                list(_entries([source])),
                [_reason(row) for row in source.record.ranking.unranked],
                _unfinished([source.record]),
            )
            for source in sources
        ),
        {},
    )


def groups(sources: Sequence[Source], name: str) -> Sides:
    """One side per value of a hyperparameter, over the trials of all experiments together.

    `name` is a full one. A trial that several experiments share counts once. Raises:
        InputError: it has one value only, or more than twenty.
    """
    left_out = _unfinished([source.record for source in sources])
    values: dict[str, Any] = {}
    entries: dict[str, list[Entry]] = {}
    reasons: dict[str, list[str]] = {}
    for entry in _entries(sources):
        value = entry.row.value(name, _ABSENT)
        if value is _ABSENT:
            left_out[f"without {name}"] = left_out.get(f"without {name}", 0) + 1
        else:
            values.setdefault(canonical(value), value)
            entries.setdefault(canonical(value), []).append(entry)
    for row in (row for source in sources for row in source.record.ranking.unranked):
        value = row.value(name, _ABSENT)
        reasons.setdefault("" if value is _ABSENT else canonical(value), []).append(_reason(row))
    order = list(values)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
        order.sort(key=lambda key: values[key])
    _check_count(name, len(order))
    labels = _labels(values)
    sides = [_side(labels[key], entries[key], reasons.pop(key, []), {}) for key in order]
    for reason, count in Counter(r for rest in reasons.values() for r in rest).items():
        left_out[reason] = left_out.get(reason, 0) + count
    return Sides(tuple(sides), left_out)


def value_name(records: Sequence[RunRecord], by: str) -> str:
    """The full name of a configuration's value from its own or its last part.

    Raises:
        InputError: there is none, or several end so.
    """
    known: dict[str, None] = {}
    for record in records:
        for row in record.rows:
            known.update(dict.fromkeys(row.configuration))
            known.update(dict.fromkeys(row.values))
    if by in known:
        return by
    endings = [name for name in known if name.rpartition(".")[2] == by]
    if len(endings) == 1:
        return endings[0]
    short = [*known, *(name.rpartition(".")[2] for name in known)]
    guess = None if endings else nearest(by, short)
    searched = dict.fromkeys(name for record in records for name in record.value_names)
    raise InputError(
        Problem(
            "several values end so" if endings else "there is no such value",
            where="--by",
            received=words.printable(by),
            expected=words.printable(", ".join(endings or searched)),
            mend=f"did you mean {words.printable(guess)}?" if guess else "",
        )
    )


def _side(
    name: str, entries: Sequence[Entry], reasons: Sequence[str], more: Mapping[str, int]
) -> Side:
    left_out = {**Counter(reasons), **more}
    finite = tuple(entry for entry in entries if math.isfinite(entry.score))
    if len(finite) < len(entries):
        left_out["with an infinite score"] = len(entries) - len(finite)
    return Side(name, finite, left_out)


def _entries(sources: Sequence[Source]) -> Iterable[Entry]:
    seen: set[str] = set()
    for source in sources:
        for row in sorted(source.record.ranking.ranked, key=lambda row: row.number):
            if row.key not in seen and row.score is not None:
                seen.add(row.key)
                curve = source.curves.get(row.number, ())
                yield Entry(source.record.name, row, row.score, curve)


def _reason(row: TrialRow) -> str:
    if row.score is None and not row.reason:
        return "without a score"
    return words.state_word(row.state)


def _unfinished(records: Sequence[RunRecord]) -> dict[str, int]:
    found = {
        words.state_word(TrialState.RUNNING): sum(
            record.counts.get(TrialState.RUNNING, 0) for record in records
        ),
        "still to run": sum(record.missing for record in records),
    }
    return {reason: count for reason, count in found.items() if count}


def _check_count(name: str, count: int) -> None:
    if 2 <= count <= MOST_SIDES:
        return
    raise InputError(
        Problem(
            "too many values to compare" if count > 1 else "there are not two values",
            where=f"--by {words.printable(name)}",
            received=f"{words.counted(count, 'value')} among trials with a score",
            expected=f"2 to {MOST_SIDES} values",
        )
    )


def _labels(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as people read them, where that tells them apart."""
    texts = {key: words.value_text(value) for key, value in values.items()}
    return texts if len({*texts.values()}) == len(texts) else {key: key for key in values}


def _by_hint(names: Sequence[str]) -> str:
    return f"--by {words.printable(names[0])}" if names else ""


def _named(record: RunRecord) -> str:
    return words.printable(record.name)


def _objective(record: RunRecord) -> str:
    return f"{words.printable(record.metric)} ({record.direction})"
