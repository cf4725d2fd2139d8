"""Tables as Markdown for documents, and as CSV and JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.ledger.records import TrialRow
from tuner.ledger.table import to_csv as csv_text
from tuner.report import words
from tuner.report.record import RunRecord
from tuner.report.tabular.groups import Line
from tuner.report.tabular.notes import notes, score_line, title, unranked_lines, untied
from tuner.report.tabular.render import finite
from tuner.report.tabular.tables import Table


def to_markdown(table: Table) -> str:
    """A Markdown table with every default column, and its notes."""
    escaped = words.markdown_text
    lines = [
        f"**{escaped(title(table))}**",
        "",
        escaped(score_line(table)),
        "",
        _piped([escaped(column.title) for column in table.columns]),
        _piped(["---:" if column.numeric else "---" for column in table.columns]),
    ]
    for row in table.rows:
        texts = [escaped(column.text(column.value(row))) for column in table.columns]
        lines.append(_piped([f"**{t}**" if row is table.best and t else t for t in texts]))
    lines += ["", *(escaped(untied(note)) for note in notes(table))]
    lines += [f"- {escaped(line)}" for line in unranked_lines(table)]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(tables: Sequence[Table]) -> str:
    """One header and one line per row; several experiments get a column of their own."""
    names = list(dict.fromkeys(column.name for table in tables for column in table.columns))
    lines: list[list[Any]] = []
    for table in tables:
        by_name = {column.name: column for column in table.columns}
        first = [] if len(tables) == 1 else [table.record.name]
        for row in table.rows:
            found = [by_name[name].value(row) if name in by_name else None for name in names]
            lines.append([*first, *found])
    heads = names if len(tables) == 1 else ["experiment", *names]
    return csv_text([_clean(h) for h in heads], ([_clean(cell) for cell in line] for line in lines))


def to_json(table: Table, groups: Table | None = None) -> dict[str, Any]:
    """Plain values with stable keys; NaN and infinities become null."""
    places = {row.number: place for place, row in enumerate(table.ranking.ranked, start=1)}
    record = table.record
    return {
        "experiment": record.name,
        "objective": {"metric": record.metric, "direction": record.direction},
        "counts": {state.value: count for state, count in record.counts.items()},
        "missing": record.missing,
        "outside": record.outside,
        "left_out": table.hidden,
        "trials": [_trial_json(row, places.get(row.number), record) for row in table.rows],
        "groups": [_line_json(line, groups) for line in groups.rows] if groups else [],
    }


def _clean(cell: Any) -> Any:
    """A cell whose text is only text: a spreadsheet shows it, and runs or turns round nothing."""
    if not isinstance(cell, str):
        return cell
    text = words.printable(cell, keep="\n\t\r")
    return f"'{text}" if text.startswith(_MORE_FORMULA_STARTS) else text


# Beside those that every CSV file of ours guards: full-width ones are formulas in some countries.
_MORE_FORMULA_STARTS = ("\n", "＝", "＋", "－", "＠")


def _piped(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _trial_json(row: TrialRow, place: int | None, record: RunRecord) -> dict[str, Any]:
    values = {name: row.value(name) for name in record.value_names}
    return {
        "trial": row.number,
        "rank": place,
        "state": row.state.value,
        "score": finite(row.score),
        "best_epoch": row.best_epoch,
        "epochs": row.epochs,
        "values": finite(values),
        "replicate": row.replicate,
        "seed": row.seed,
        "metrics": finite(row.metrics),
        "parameters": row.parameters,
        "macs": row.macs,
        "train_seconds": row.train_seconds,
        "compile_seconds": row.compile_seconds,
        "reason": row.reason,
    }


def _line_json(line: Line, table: Table) -> dict[str, Any]:
    found = {
        "values": line.values,
        "mean": line.score.mean,
        "spread": line.score.spread,
        "n": line.score.n,
        "against_best": table.verdict(line) or None,
        "trials": line.numbers,
    }
    return {name: finite(value) for name, value in found.items()}
