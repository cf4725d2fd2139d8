"""What can be asked of a trial: each field's column, how it is read, and bounds on it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from tuner.errors import InputError, Problem, nearest
from tuner.experiment.trial import TrialState, canonical
from tuner.experiment.yaml import read_yaml
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.record import RunRecord
from tuner.report.table import COUNT, SECONDS, Column, is_number


@dataclass(frozen=True)
class Field:
    """A column, and how its value is read from a trial, or from a group of trials.

    One that `is_shown` stands in a table where it tells rows apart; a value that all rows share is
    named below it where `is_news` says so.
    """

    column: Column
    value: Callable[[Any], Any]
    is_shown: bool = True
    is_news: Callable[[Any], bool] = bool

    @property
    def name(self) -> str:
        """The full name."""
        return self.column.name


_ABSENT = object()


def _never(value: Any) -> bool:
    return False


def _always(value: Any) -> bool:
    return True


def trial_fields(record: RunRecord) -> list[Field]:
    """All fields in the order of trials.csv."""
    short = format.short_names(record.value_names)
    seconds = format.seconds_text
    is_replicated = any(row.replicate for row in record.rows)
    return [
        _fact("trial", "trial", attribute="number"),
        Field(
            Column("state", "state", str.lower, numeric=False, rank=2),
            attrgetter("state.value"),
            is_news=lambda state: bool(state != "completed"),
        ),
        _fact("score", "score", format.score_text),
        _fact("epochs", "epochs", rank=2, is_news=_always),
        *(_value_field(name, format.printable(short[name]), record) for name in record.value_names),
        _fact("replicate", "replicate", rank=3, is_shown=is_replicated),
        _fact("seed", "seed", rank=12, is_shown=False),
        *map(_metric_field, record.metric_names),
        _fact("parameters", "params", format.count_text, rank=5, unit=COUNT, is_news=_always),
        _fact("macs", "MACs", format.count_text, rank=7, unit=COUNT, is_news=_always),
        _fact("train_seconds", "train", seconds, rank=4, unit=SECONDS),
        _fact("compile_seconds", "compile", seconds, rank=9, unit=SECONDS, is_shown=False),
        Field(
            Column("reason", "reason", format.first_line, numeric=False, rank=11),
            attrgetter("reason"),
            is_shown=False,
        ),
    ]


def telling_fields(
    known: Sequence[Field], rows: Sequence[Any]
) -> tuple[list[Field], list[tuple[str, str]]]:
    """The fields that tell rows apart, and of the others title and text, where that is news."""
    chosen: list[Field] = []
    same: list[tuple[str, str]] = []
    for field in known:
        if not field.is_shown:
            continue
        if field.name in ("trial", "score", "n") or len(rows) < 2 or _varies(field, rows):
            chosen.append(field)
        elif field.is_news(value := field.value(rows[0])):
            same.append((field.column.title, field.column.text(value)))
    return chosen, same


def field_named(known: Sequence[Field], name: str, option: str) -> Field:
    """The field of a full name, a title or a name's unambiguous last part.

    Raises:
        InputError: there is no such field.
    """
    by_name = {f.column.title: f for f in known} | {f.name: f for f in known}
    if name in by_name:
        return by_name[name]
    guess = nearest(name, by_name)
    raise InputError(
        Problem(
            "there is no such column",
            where=option,
            received=name,
            expected=", ".join(format.printable(field.name) for field in known),
            mend=f"did you mean {guess}?" if guess else "",
        )
    )


def fields_named(known: Sequence[Field], names: Iterable[str], option: str) -> list[Field]:
    """The same for several names, each field once."""
    return list({f.name: f for f in (field_named(known, name, option) for name in names)}.values())


def _fact(
    name: str,
    title: str,
    text: Callable[[Any], str] = str,
    *,
    rank: int = 0,
    unit: str = "",
    attribute: str = "",
    is_shown: bool = True,
    is_news: Callable[[Any], bool] = _never,
) -> Field:
    """A number that every trial has under this name."""
    column = Column(name, title, text, rank=rank, unit=unit)
    return Field(column, attrgetter(attribute or name), is_shown, is_news)


def _value_field(name: str, title: str, record: RunRecord) -> Field:
    """What was searched tells more than what a branch has fixed."""
    every = (row.value(name, _ABSENT) for row in record.rows)
    known = [value for value in every if value is not _ABSENT]
    numeric = {type(value) for value in known} <= {int, float, type(None)}
    is_searched = len(set(map(repr, known))) > 1

    def text(value: Any) -> str:
        is_absent = value is None and None not in known  # in this trial's branch
        return format.NOTHING if is_absent else format.value_text(value)

    column = Column(name, title, text, numeric=numeric, rank=1 if is_searched else 3)
    return Field(column, lambda row: row.value(name), is_news=_always)


def _metric_field(name: str) -> Field:
    """The last epoch's, and called so beside the score; the ones of validation are shown."""
    of_validation = name.startswith("val_")
    rank = 8 if of_validation else 10
    column = Column(name, f"last {format.printable(name)}", format.score_text, rank=rank)
    return Field(column, lambda row: row.metrics.get(name), of_validation, _never)


def _varies(field: Field, rows: Sequence[Any]) -> bool:
    values = map(field.value, rows)
    first = next(values)
    return any(value != first for value in values)


# ---------------------------------------------------------------------- bounds


@dataclass(frozen=True)
class Bound:
    """`name` must be at least (at most, if `is_upper`) `value`; both ends are allowed."""

    name: str
    value: float
    is_upper: bool

    @property
    def option(self) -> str:
        """What a person types for it."""
        return "--max" if self.is_upper else "--min"

    def allows(self, value: Any) -> bool:
        """Whether a value is a number on the right side; nothing and NaN are not."""
        if not is_number(value):
            return False
        return bool(value <= self.value if self.is_upper else value >= self.value)


def bound_of(text: str, *, is_upper: bool) -> Bound:
    """The bound of `NAME=VALUE`.

    Raises:
        InputError: it has no name, or its value is no number.
    """
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if name.strip() and not math.isnan(number):
        return Bound(name.strip(), number, is_upper)
    raise InputError(
        Problem(
            "this is no bound",
            where="--max" if is_upper else "--min",
            received=format.printable(text),
            expected="NAME=NUMBER, as score=0.4 or parameters=1e6",
        )
    )


def narrowed(record: RunRecord, bounds: Sequence[Bound]) -> RunRecord:
    """The record with only those trials whose values lie within all bounds.

    Trials without a number in such a field are outside: what has failed has no score.

    Raises:
        InputError: there is no such field.
    """
    known = trial_fields(record)
    for bound in bounds:
        field = field_named(known, bound.name, bound.option)
        rows = [row for row in record.rows if bound.allows(field.value(row))]
        sign = "≤" if bound.is_upper else "≥"
        text = f"{field.column.title} {sign} {format.value_text(bound.value)}"
        record = _filtered(record, rows, text)
    return record


def _filtered(record: RunRecord, rows: Sequence[TrialRow], by: str) -> RunRecord:
    counts = Counter(row.state for row in rows)
    return dataclasses.replace(
        record,
        rows=tuple(rows),
        counts={state: counts[state] for state in TrialState},
        outside=record.outside + len(record.rows) - len(rows),
        filtered_by=format.joined([*filter(None, [record.filtered_by]), by]),
    )


# ---------------------------------------------------------------------- values of a configuration


@dataclass(frozen=True)
class Setting:
    """A value of the configuration that trials must have; `name` may be its last part."""

    name: str
    value: Any


def setting_of(text: str) -> Setting:
    """The setting of `NAME=VALUE`; VALUE is YAML.

    Raises:
        InputError: it has no name or no value, or the value is no YAML.
    """
    name, _, value = text.partition("=")
    if name.strip() and value.strip():
        return Setting(name.strip(), read_yaml(value, f"--only {format.printable(name)}").value)
    raise InputError(
        Problem(
            "this is no value of a trial",
            where="--only",
            received=format.printable(text),
            expected="NAME=VALUE, as depth=20 or family=resnet",
        )
    )


def only(records: Sequence[RunRecord], settings: Sequence[Setting]) -> list[RunRecord]:
    """The records with only those trials whose configuration has these values.

    Several values of one name are alternatives.

    Raises:
        InputError: no trial has such a value; it names those that there are.
    """
    wanted: dict[str, list[Any]] = {}
    for setting in settings:
        name = value_name(records, setting.name, "--only")
        _check_setting(setting, name, records)
        wanted.setdefault(name, []).append(setting.value)
    found = list(records)
    for name, values in wanted.items():
        short = name.rpartition(".")[2]
        text = f"{format.printable(short)} {' or '.join(map(format.value_text, values))}"
        found = [
            _filtered(record, [r for r in record.rows if _has(r, name, values)], text)
            for record in found
        ]
    return found


def _has(row: TrialRow, name: str, wanted: Iterable[Any]) -> bool:
    value = row.value(name, _ABSENT)
    return value is not _ABSENT and any(_is_equal(value, one) for one in wanted)


def _is_equal(value: Any, wanted: Any) -> bool:
    """Of a fraction as many digits count as tables show."""
    if isinstance(value, float) and is_number(wanted):
        return format.value_text(value) == format.value_text(float(wanted))
    return value_key(value) == value_key(wanted)


def _check_setting(setting: Setting, name: str, records: Sequence[RunRecord]) -> None:
    rows = [row for record in records for row in record.rows]
    if any(_has(row, name, [setting.value]) for row in rows):
        return
    values = (row.value(name, _ABSENT) for row in rows)
    known = {value_key(value): value for value in values if value is not _ABSENT}
    raise InputError(
        Problem(
            "no trial has this value",
            where=f"--only {format.printable(name)}",
            received=format.value_text(setting.value),
            expected=" or ".join(map(format.value_text, known.values())),
        )
    )


def value_key(value: Any) -> str:
    """The same for equal values: 1 is 1.0 but not true."""
    is_whole = isinstance(value, float) and value.is_integer()
    return canonical(int(value) if is_whole else value)


def value_name(records: Sequence[RunRecord], wanted: str, option: str = "--by") -> str:
    """The full name of a configuration's value from its own or its last part.

    Raises:
        InputError: there is none, or several end so.
    """
    rows = [row for record in records for row in record.rows]
    known = dict.fromkeys(name for row in rows for name in {**row.configuration, **row.values})
    if wanted in known:
        return wanted
    endings = [name for name in known if name.rpartition(".")[2] == wanted]
    if len(endings) == 1:
        return endings[0]
    short = [*known, *(name.rpartition(".")[2] for name in known)]
    guess = None if endings else nearest(wanted, short)
    searched = dict.fromkeys(name for record in records for name in record.value_names)
    raise InputError(
        Problem(
            "several values end so" if endings else "there is no such value",
            where=option,
            received=format.printable(wanted),
            expected=format.printable(", ".join(endings or searched)),
            mend=f"did you mean {format.printable(guess)}?" if guess else "",
        )
    )
