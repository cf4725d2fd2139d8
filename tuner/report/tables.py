"""The table of trials: which columns, which rows, in which order, and what it leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import InputError, Problem, nearest
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.ranking import Ranking
from tuner.report.record import RunRecord


@dataclass(frozen=True)
class Column:
    """One column: its full name, its title for people, and how to read and write a cell.

    When a table is too wide, columns with a high `rank` go first.
    """

    name: str
    title: str
    value: Callable[[TrialRow], Any]
    text: Callable[[Any], str]
    numeric: bool = True
    rank: int = 0


@dataclass(frozen=True)
class TableOptions:
    """What a person asked for. `top` 0 means all; a leading - in `sort` turns the order round."""

    top: int = 0
    sort: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Chosen trials under chosen columns.

    `same` names columns whose value never varies and that were left out for it. `ranking` is the
    whole experiment's; `hidden` counts ranked trials that `top` cut off.
    """

    record: RunRecord
    columns: tuple[Column, ...]
    rows: tuple[TrialRow, ...]
    same: tuple[tuple[str, str], ...]
    ranking: Ranking
    hidden: int
    sorted_by: str = ""

    @property
    def best(self) -> TrialRow | None:
        """The first of the ranking."""
        return self.ranking.ranked[0] if self.ranking.ranked else None


def human_table(record: RunRecord, options: TableOptions) -> Table:
    """Ranked trials for the eye: columns that never vary are named once instead."""
    ranking = record.ranking
    known = columns_of(record)
    same: list[tuple[str, str]] = []
    if options.columns:
        chosen = _chosen(known, options.columns)
    else:
        chosen, same = _varying(known, ranking.ranked, record)
    rows, hidden = _selected(ranking.ranked, known, options, record.direction)
    return Table(
        record, tuple(chosen), rows, tuple(same), ranking, hidden, (options.sort or "").lstrip("-")
    )


def full_table(record: RunRecord, options: TableOptions) -> Table:
    """Every trial and every column for programs; failed and unfinished trials come last."""
    ranking = record.ranking
    known = columns_of(record)
    chosen = _chosen(known, options.columns) if options.columns else known
    everything = (*ranking.ranked, *ranking.unranked, *ranking.unfinished)
    rows, hidden = _selected(everything, known, options, record.direction)
    return Table(record, tuple(chosen), rows, (), ranking, hidden)


def columns_of(record: RunRecord) -> list[Column]:
    """All columns in the order of trials.csv."""
    short = words.short_names(record.value_names)
    scored = words.score_text
    return [
        Column("trial", "trial", lambda row: row.number, str),
        Column("state", "state", lambda row: row.state.value, str.lower, numeric=False, rank=2),
        Column("score", "score", lambda row: row.score, scored),
        Column("epochs", "epochs", lambda row: row.epochs, str, rank=6),
        *(_value_column(name, short[name], record.rows) for name in record.value_names),
        Column("replicate", "replicate", lambda row: row.replicate, str, rank=3),
        Column("seed", "seed", lambda row: row.seed, str, rank=12),
        *(_metric_column(name) for name in record.metric_names),
        Column("parameters", "params", lambda row: row.parameters, words.count_text, rank=5),
        Column("macs", "MACs", lambda row: row.macs, words.count_text, rank=7),
        Column("train_seconds", "train", lambda row: row.train_seconds, words.seconds_text, rank=4),
        Column(
            "compile_seconds",
            "compile",
            lambda row: row.compile_seconds,
            words.seconds_text,
            rank=9,
        ),
        Column("reason", "reason", lambda row: row.reason, words.first_line, False, rank=11),
    ]


def _value_column(name: str, title: str, rows: Sequence[TrialRow]) -> Column:
    kinds = {type(row.value(name)) for row in rows}
    numeric = kinds <= {int, float, type(None)}
    return Column(name, title, lambda row: row.value(name), words.value_text, numeric, rank=1)


def _metric_column(name: str) -> Column:
    wanted = 8 if name.startswith("val_") else 10
    return Column(name, name, lambda row: row.metrics.get(name), words.score_text, rank=wanted)


# Shown by default when they vary; the rest is for --columns, csv and json.
_NEVER_BY_DEFAULT = {"seed", "reason"}
_SAME_IS_NEWS = {"epochs", "parameters", "macs"}


def _varying(
    known: Sequence[Column], rows: Sequence[TrialRow], record: RunRecord
) -> tuple[list[Column], list[tuple[str, str]]]:
    chosen: list[Column] = []
    same: list[tuple[str, str]] = []
    for column in known:
        if column.name in ("trial", "score"):
            chosen.append(column)
        elif _is_default(column, record):
            if len(rows) < 2 or _differs(column, rows):
                chosen.append(column)
            elif column.name in _SAME_IS_NEWS or column.name in record.value_names:
                same.append((column.title, column.text(column.value(rows[0]))))
    return chosen, same


def _differs(column: Column, rows: Sequence[TrialRow]) -> bool:
    """Whether a column has two values; looks no further than to the second."""
    value = column.value
    first = value(rows[0])
    return any(value(row) != first for row in rows)


def _is_default(column: Column, record: RunRecord) -> bool:
    if column.name in _NEVER_BY_DEFAULT:
        return False
    if column.name in record.metric_names:
        return column.name.startswith("val_")
    if column.name == "replicate":
        return any(row.replicate for row in record.rows)
    return True


def _chosen(known: Sequence[Column], names: Iterable[str]) -> list[Column]:
    return [column_named(known, name, "--columns") for name in names]


def column_named(known: Sequence[Column], name: str, option: str) -> Column:
    """The column of a full name, a title or a name's unambiguous last part.

    Raises:
        InputError: there is no such column.
    """
    by_name = {column.title: column for column in known}
    by_name.update({column.name: column for column in known})
    if name in by_name:
        return by_name[name]
    guess = nearest(name, by_name)
    raise InputError(
        Problem(
            "there is no such column",
            where=option,
            received=name,
            expected=", ".join(column.name for column in known),
            mend=f"did you mean {guess}?" if guess else "",
        )
    )


def _selected(
    rows: Sequence[TrialRow], known: Sequence[Column], options: TableOptions, direction: str
) -> tuple[tuple[TrialRow, ...], int]:
    ordered = _sorted(rows, known, options.sort, direction) if options.sort else tuple(rows)
    shown = ordered[: options.top] if options.top else ordered
    return shown, len(ordered) - len(shown)


def _sorted(
    rows: Sequence[TrialRow], known: Sequence[Column], sort: str, direction: str
) -> tuple[TrialRow, ...]:
    """By one column, ties in the order given; scores best first; missing and NaN values last."""
    column = column_named(known, sort.lstrip("-"), "--sort")
    downwards = sort.startswith("-")
    if column.name == "score" and direction == "max":
        downwards = not downwards
    present = [row for row in rows if not _is_missing(column.value(row))]
    missing = [row for row in rows if _is_missing(column.value(row))]
    # `reverse` keeps ties in the order given, as it should be.
    present.sort(key=lambda row: _sort_key(column.value(row)), reverse=downwards)
    return (*present, *missing)


def _sort_key(value: Any) -> tuple[int, Any]:
    if _is_number(value):
        return (0, value)
    return (1, value if isinstance(value, str) else words.value_text(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
