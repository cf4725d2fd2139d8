"""The table of trials: which columns, which rows, in which order, and what it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.groups import (
    TrialGroup,
    against_best,
    group_fields,
    trial_groups,
    verdict_notes,
)
from tuner.report.record import RunRecord
from tuner.report.render import finite
from tuner.report.table import TIED, Column, MeanScore, Table, is_missing, is_number
from tuner.report.trial_fields import Field, field_named, fields_named, telling_fields, trial_fields

SINGLE = ("trial",)  # what to group by for one line a trial
_OF_ONE_TRIAL = {"trial", "state", "seed", "replicate", "reason"}  # groups lack them
_MAX_LISTED = 10
_ABSENT = object()


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


def trials_table(record: RunRecord, options: TableOptions, *, for_paper: bool = False) -> Table:
    """Ranked trials, or groups of them, for the eye: what never varies is named once instead.

    A paper marks what cannot be told from the best by a dagger, and so needs no column for it.
    """
    known = trial_fields(record)
    rows: Sequence[Any] = record.ranking.ranked
    by = _grouping(record, known, options)
    if by is not None:
        known, rows = _groups(record, known, by, apart=False)
    same: list[tuple[str, str]] = []
    if options.columns:
        fields = fields_named(known, options.columns, "--columns")
    else:
        # Columns of 100,000 trials are read in half the time as they lie in memory.
        by_number = rows if by is not None else sorted(rows, key=attrgetter("number"))
        fields, same = telling_fields(known, by_number)
    shown = _in_order(rows, known, options, record)
    notes = [f"The same in all ranked trials: {_tied(same)}."] if same else []
    if by is not None and for_paper:
        fields = [field for field in fields if field.name != "against_best"]
    elif by is not None:
        notes = [_group_text(record, by), *notes, *verdict_notes(rows)]
    return Table(
        title=_title(record, by, len(rows), options),
        about=_score_text(record, is_grouped=by is not None),
        columns=tuple(field.column for field in fields),
        rows=_cells(fields, shown),
        notes=tuple(notes),
        left_out=_left_out(record, len(rows) - len(shown), is_grouped=by is not None),
        unranked=tuple(_unranked_lines(record.ranking.unranked)),
        marked=frozenset(i for i, row in enumerate(shown) if row is rows[0]),
        unsure=frozenset(i for i, row in enumerate(shown) if by is not None and row.is_unsure),
        name=record.name,
    )


def every_trial(record: RunRecord, options: TableOptions) -> Table:
    """Every trial and every column for programs; failed and unfinished trials come last.

    Groups only where `group_by` asks for them.
    """
    known = trial_fields(record)
    rows: Sequence[Any] = _all_trials(record)
    if options.group_by and (by := _grouping(record, known, options)) is not None:
        known, rows = _groups(record, known, by, apart=True)
    fields = fields_named(known, options.columns, "--columns") if options.columns else known
    columns = tuple(field.column for field in fields)
    shown = list(_in_order(rows, known, options, record))
    if record.superseded is not None and not options.group_by:
        telling = [] if options.columns else _telling_apart(record, record.superseded)
        fields = [*fields, *(f for f in telling if f.name not in record.value_names), _IS_CURRENT]
        columns, shown = tuple(field.column for field in fields), [*shown, *record.superseded]
    return Table("", columns, _cells(fields, shown), name=record.name)


_IS_CURRENT = Field(Column("is_current", "current", numeric=False), attrgetter("is_current"))


def superseded_table(record: RunRecord) -> Table | None:
    """Trials of earlier versions of the experiment, in a section of their own; None for none.

    They are not ranked, not even among themselves: other data, splits or lengths give scores that
    mean something else. What differs between them, or from the current ones, has a column.
    """
    rows = record.superseded
    if not rows:
        return None
    known = {field.name: field for field in trial_fields(record)}
    fields = [known["trial"], known["state"], known["score"], known["epochs"]]
    fields += _telling_apart(record, rows)
    return Table(
        title=f"{format.printable(record.name)}: {format.counted(len(rows), 'trial')} of earlier "
        "versions of this experiment, not ranked",
        about="They count nowhere else. Scores of other data, splits or settings do not compare.",
        columns=tuple(field.column for field in fields),
        rows=_cells(fields, rows),
        name=record.name,
    )


def _telling_apart(record: RunRecord, rows: Sequence[TrialRow]) -> list[Field]:
    """A field for each value, or part of what else decides an outcome, that is not everywhere one.

    A current trial counts as one of them.
    """
    sample = [*rows, *record.rows[:1]]
    parts = [{**row.context, **row.configuration, **row.values} for row in sample]
    names = dict.fromkeys(name for part in parts for name in part)
    telling = [n for n in names if len({repr(part.get(n, _ABSENT)) for part in parts}) > 1]
    short = format.short_names(telling)
    return [_part_field(name, format.printable(short[name])) for name in telling]


def _part_field(name: str, title: str) -> Field:
    def value(row: TrialRow) -> Any:
        return row.context.get(name, row.value(name))

    return Field(Column(name, title, format.value_text, numeric=False, rank=1), value)


def to_json(record: RunRecord, options: TableOptions) -> dict[str, Any]:
    """Plain values with stable keys; NaN and infinities become null.

    Trials as asked for, all of them where groups are asked for; and the groups, by configuration
    unless asked otherwise, where there are any.
    """
    known, rows = trial_fields(record), _all_trials(record)
    shown: Sequence[TrialRow] = rows
    groups: Sequence[TrialGroup] = ()
    asks_groups = options.group_by not in ((), SINGLE)
    if asks_groups or is_replicated(record):
        names = options.group_by if asks_groups else record.value_names
        by = fields_named(known, names, "--group-by")
        of_groups, groups = _groups(record, known, by, apart=True)
    if asks_groups:
        known, groups = of_groups, _in_order(groups, of_groups, options, record)
    else:
        shown = _in_order(rows, known, options, record)
    fields_named(known, options.columns, "--columns")  # each has all values, but a typo is told
    places = {row.number: place for place, row in enumerate(record.ranking.ranked, start=1)}
    document = {
        "experiment": record.name,
        "objective": {"metric": record.metric, "direction": record.direction},
        "counts": {state.value: count for state, count in record.counts.items()},
        "missing": record.missing,
        "outside": record.outside,
        "left_out": len(rows) - len(shown),
        "trials": [_trial_json(row, places.get(row.number), record) for row in shown],
        "groups": [_group_json(group) for group in groups],
    }
    if record.superseded is not None:
        document["superseded"] = [
            _trial_json(row, None, record)
            | {"values": finite(dict(row.configuration)), "context": dict(row.context)}
            for row in record.superseded
        ]
    return document


def is_replicated(record: RunRecord) -> bool:
    """Whether any ranked trial is a replicate of another."""
    return any(row.replicate for row in record.ranking.ranked)


# ---------------------------------------------------------------------- columns and rows


def _grouping(
    record: RunRecord, known: Sequence[Field], options: TableOptions
) -> list[Field] | None:
    """The fields to group by; None for a line a trial."""
    if options.group_by:
        by = fields_named(known, options.group_by, "--group-by")
        return None if tuple(field.name for field in by) == SINGLE else by
    asked = {*options.columns, (options.sort or "").removeprefix("-")}
    if asked & _OF_ONE_TRIAL or not is_replicated(record):
        return None
    return fields_named(known, record.value_names, "--group-by")


def _groups(
    record: RunRecord, known: Sequence[Field], by: Sequence[Field], *, apart: bool
) -> tuple[list[Field], list[TrialGroup]]:
    groups = against_best(trial_groups(record, by), record)
    rest = [field for field in known if field.name not in record.value_names]
    return group_fields(record, by, rest, groups, apart=apart), groups


def _all_trials(record: RunRecord) -> list[TrialRow]:
    ranking = record.ranking
    return [*ranking.ranked, *ranking.unranked, *ranking.unfinished]


def _cells(fields: Sequence[Field], rows: Sequence[Any]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(field.value(row) for field in fields) for row in rows)


def _in_order(
    rows: Sequence[Any], known: Sequence[Field], options: TableOptions, record: RunRecord
) -> Sequence[Any]:
    """The rows in the order asked for, and no more of them than that.

    By one column, ties in the order given; scores best first; missing and NaN values last.
    """
    if options.sort:
        field = field_named(known, options.sort.removeprefix("-"), "--sort")
        downwards = options.sort.startswith("-")
        if field.name == "score":
            downwards ^= record.objective.sign > 0
        keyed = [(_sort_key(field.value(row)), row) for row in rows]
        present = [(key, row) for key, row in keyed if key is not None]
        # `reverse` keeps ties in the order given, as it should be.
        present.sort(key=lambda entry: entry[0], reverse=downwards)
        rows = [row for _, row in present] + [row for key, row in keyed if key is None]
    return rows[: options.top] if options.top else rows


def _sort_key(value: Any) -> tuple[int, Any] | None:
    value = value.mean if isinstance(value, MeanScore) else value
    if is_missing(value):
        return None
    if is_number(value):
        return (0, value)
    return (1, value if isinstance(value, str) else format.value_text(value))


# ---------------------------------------------------------------------- words around it


def _title(
    record: RunRecord, by: Sequence[Field] | None, num_rows: int, options: TableOptions
) -> str:
    """The experiment's name, how many rows there are, and their order."""
    ranked = format.counted(len(record.ranking.ranked), "ranked trial")
    name = format.printable(record.name)
    sort = format.printable((options.sort or "").removeprefix("-"))
    if by is None:
        return f"{name}: {ranked}, {f'sorted by {sort}' if sort else 'best first'}"
    lines = format.counted(num_rows, "configuration" if _is_whole(record, by) else "group")
    return f"{name}: {lines} of {ranked}, {f'sorted by {sort}' if sort else 'best mean first'}"


def _score_text(record: RunRecord, *, is_grouped: bool) -> str:
    """What a score is."""
    better = f"{record.objective.better} is better"
    text = f"score is {format.printable(record.metric)} in a trial's best epoch; {better}"
    return f"{text}; mean ± standard deviation over n trials" if is_grouped else text


def _is_whole(record: RunRecord, by: Sequence[Field]) -> bool:
    """Whether a group is one configuration."""
    return {field.name for field in by} == set(record.value_names)


def _group_text(record: RunRecord, by: Sequence[Field]) -> str:
    if _is_whole(record, by):
        return "A line is one configuration under n seeds; its other columns are means."
    names = format.joined([field.column.title for field in by])
    return f"A line is all ranked trials that share {names}; its other columns are means."


def _tied(same: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{title}{TIED}{text.replace(' ', TIED)}" for title, text in same)


def _left_out(record: RunRecord, hidden: int, *, is_grouped: bool) -> str:
    """Which trials the rows leave out, in words; empty when none."""
    counts = Counter(
        "without a score" if row.score is None and not row.reason else format.state_word(row.state)
        for row in record.ranking.unranked
    )
    if running := record.counts.get(TrialState.RUNNING, 0):
        counts[format.state_word(TrialState.RUNNING)] = running
    if record.missing:
        counts["still to run"] = record.missing
    parts = [f"{count:,} {state}" for state, count in counts.items()]
    if record.outside:
        parts.append(f"{record.outside:,} outside {record.filtered_by}")
    if hidden:
        noun = "line" if is_grouped else "ranked trial"
        parts.append(f"{format.counted(hidden, noun)} beyond --top")
    return format.joined(parts)


def _unranked_lines(rows: Sequence[TrialRow]) -> list[str]:
    """One line for each trial that has failed or diverged, the first few."""
    lines = []
    for row in rows[:_MAX_LISTED]:
        reason = format.first_line(row.reason) or "no score"
        state, values = format.state_word(row.state), format.values_text(row.values)
        lines.append(f"trial {row.number} {state}: {reason} ({values})")
    if len(rows) > _MAX_LISTED:
        lines.append(f"… and {len(rows) - _MAX_LISTED:,} more (-f csv lists all)")
    return lines


# ---------------------------------------------------------------------- JSON


def _trial_json(row: TrialRow, place: int | None, record: RunRecord) -> dict[str, Any]:
    return {
        "trial": row.number,
        "rank": place,
        "state": row.state.value,
        "score": finite(row.score),
        "best_epoch": row.best_epoch,
        "epochs": row.epochs,
        "values": finite({name: row.value(name) for name in record.value_names}),
        "replicate": row.replicate,
        "seed": row.seed,
        "metrics": finite(row.metrics),
        "parameters": row.parameters,
        "macs": row.macs,
        "train_seconds": row.train_seconds,
        "compile_seconds": row.compile_seconds,
        "reason": row.reason,
    }


def _group_json(group: TrialGroup) -> dict[str, Any]:
    score = group.score
    found = {"values": group.values, "mean": score.mean, "spread": score.spread, "n": score.n}
    return {**finite(found), "against_best": group.verdict or None, "trials": group.numbers}
