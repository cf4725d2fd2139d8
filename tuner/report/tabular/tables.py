"""The table of trials: which columns, which rows, in which order, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.queries import by_number, field_of, picked
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.ranking import Ranking
from tuner.report.record import RunRecord
from tuner.report.tabular.alike import BEST, NOISE, UNDECIDABLE, against_best
from tuner.report.tabular.columns import (
    Column,
    column_named,
    columns_named,
    columns_of,
    is_missing,
    is_number,
    varying,
)
from tuner.report.tabular.groups import Group, Line, line_columns, lines_of

SINGLE = ("trial",)  # what to group by for one line a trial
VERDICT_MARKS = {BEST: "best", NOISE: "≈", UNDECIDABLE: "?"}
_OF_ONE_TRIAL = {"trial", "state", "seed", "replicate", "reason"}  # lines of several lack them


@dataclass(frozen=True)
class TableOptions:
    """What a person asked for.

    `top` 0 means all; a leading - in `sort` turns the order round. `group_by` names columns;
    without any, trials that differ in their seed only share a line.
    """

    top: int = 0
    sort: str | None = None
    columns: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Chosen rows under chosen columns: trials, or lines of several (`grouped_by` says by what).

    `same` names columns whose value never varies and that were left out for it. `ranking` is the
    whole experiment's; `hidden` counts rows that `top` cut off. `verdicts` compare lines with the
    best, by their identity.
    """

    record: RunRecord
    columns: tuple[Column, ...]
    rows: Sequence[Any]
    same: tuple[tuple[str, str], ...]
    ranking: Ranking
    hidden: int
    best: TrialRow | Line | None
    sorted_by: str = ""
    grouped_by: tuple[Column, ...] = ()
    num_lines: int = 0
    verdicts: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_grouped(self) -> bool:
        """Whether a row stands for several trials."""
        return isinstance(self.best, Line) or bool(self.grouped_by)

    def verdict(self, row: Any) -> str:
        """How a line compares with the best; empty where it was not compared."""
        return self.verdicts.get(id(row), "")


def human_table(record: RunRecord, options: TableOptions) -> Table:
    """Ranked trials for the eye: columns that never vary are named once instead."""
    known = columns_of(record)
    by = _grouping(record, known, options)
    if by is not None:
        columns = line_columns(by, _besides(record, known), apart=False)
        if not record.counts.get(TrialState.STOPPED):
            columns = [column for column in columns if column.name != "stopped"]
        return _of_lines(record, by, columns, options, is_full=False)
    ranked = record.ranking.ranked
    chosen, same = _chosen(record, known, by_number(ranked), options, is_full=False)
    return _table(record, known, chosen, ranked, same, options)


def full_table(record: RunRecord, options: TableOptions) -> Table:
    """Every trial and every column for programs; failed and unfinished trials come last.

    Lines of several trials only where `group_by` asks for them.
    """
    known = columns_of(record)
    if options.group_by and _grouping(record, known, options) is not None:
        return lines_table(record, options)
    ranking = record.ranking
    everything = (*ranking.ranked, *ranking.unranked, *ranking.unfinished)
    chosen, same = _chosen(record, known, everything, options, is_full=True)
    return _table(record, known, chosen, everything, same, options)


def lines_table(record: RunRecord, options: TableOptions) -> Table:
    """Groups of trials with every column, for programs; by configuration unless asked otherwise."""
    known = columns_of(record)
    by = columns_named(known, options.group_by or record.value_names, "--group-by")
    columns = line_columns(by, _besides(record, known), apart=True)
    return _of_lines(record, by, columns, options, is_full=True)


def is_replicated(record: RunRecord) -> bool:
    """Whether any ranked trial is a replicate of another."""
    return any(field_of(record.ranking.ranked, "replicate"))


def _grouping(
    record: RunRecord, known: Sequence[Column], options: TableOptions
) -> list[Column] | None:
    """The columns to group by; None for a line a trial."""
    if options.group_by:
        found = columns_named(known, options.group_by, "--group-by")
        return None if tuple(column.name for column in found) == SINGLE else found
    asked = {*options.columns, (options.sort or "").removeprefix("-")}
    if asked & _OF_ONE_TRIAL or not is_replicated(record):
        return None
    return columns_named(known, record.value_names, "--group-by")


def _besides(record: RunRecord, known: Sequence[Column]) -> list[Column]:
    return [column for column in known if column.name not in record.value_names]


def _chosen(
    record: RunRecord,
    known: Sequence[Column],
    rows: Sequence[Any],
    options: TableOptions,
    *,
    is_full: bool,
) -> tuple[Sequence[Column], Sequence[tuple[str, str]]]:
    if options.columns:
        return columns_named(known, options.columns, "--columns"), ()
    return (known, ()) if is_full else varying(known, rows, record)


def _of_lines(
    record: RunRecord,
    by: Sequence[Column],
    columns: Sequence[Column],
    options: TableOptions,
    *,
    is_full: bool,
) -> Table:
    lines = lines_of(record, by)
    verdicts = against_best(lines, record.objective, record.value_names)
    told = {id(lines[place]): verdict for place, verdict in verdicts.items()}
    if told:
        columns = [*columns[:-1], _verdict_column(told), columns[-1]]
    chosen, same = _chosen(record, columns, lines, options, is_full=is_full)
    table = _table(record, columns, chosen, lines, same, options)
    best = lines[0] if lines else None
    return replace(table, best=best, grouped_by=tuple(by), num_lines=len(lines), verdicts=told)


def _verdict_column(told: Mapping[int, str]) -> Column:
    return Column(
        "against_best",
        "vs best",
        lambda line: told.get(id(line), ""),
        lambda verdict: VERDICT_MARKS.get(verdict, ""),
        numeric=False,
        rank=2,
    )


def _table(
    record: RunRecord,
    known: Sequence[Column],
    chosen: Sequence[Column],
    rows: Sequence[Any],
    same: Sequence[tuple[str, str]],
    options: TableOptions,
) -> Table:
    ranking = record.ranking
    order = _sorted(rows, known, options.sort, record.direction) if options.sort else rows
    shown = order[: options.top] if options.top else order
    return Table(
        record=record,
        columns=tuple(chosen),
        rows=tuple(shown),
        same=tuple(same),
        ranking=ranking,
        hidden=len(order) - len(shown),
        best=ranking.ranked[0] if ranking.ranked else None,
        sorted_by=(options.sort or "").removeprefix("-"),
    )


def _sorted(
    rows: Sequence[Any], known: Sequence[Column], sort: str, direction: str
) -> Sequence[Any]:
    """By one column, ties in the order given; scores best first; missing and NaN values last."""
    column = column_named(known, sort.removeprefix("-"), "--sort")
    downwards = sort.startswith("-")
    if column.name == "score" and direction == "max":
        downwards = not downwards
    values = [value.mean if isinstance(value, Group) else value for value in column.values(rows)]
    present = [place for place, value in enumerate(values) if not is_missing(value)]
    missing = [place for place, value in enumerate(values) if is_missing(value)]
    # `reverse` keeps ties in the order given, as it should be.
    present.sort(key=lambda place: _sort_key(values[place]), reverse=downwards)
    return picked(rows, [*present, *missing])


def _sort_key(value: Any) -> tuple[int, Any]:
    if is_number(value):
        return (0, value)
    return (1, value if isinstance(value, str) else words.value_text(value))
