"""Tables as text for a terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.ledger.table import to_csv as csv_text
from tuner.report import words
from tuner.report.record import RunRecord
from tuner.report.tables import Column, Table

Style = Callable[[str, str], str]  # (text, role) → text; roles: title, head, best, dim, bad

_GAP = "  "
_TIED = "\N{NO-BREAK SPACE}"  # between words that stay on one line; never printed
_MAX_LISTED = 10


def plain(text: str, role: str) -> str:
    """No colours: for pipes, files and tests."""
    return text


def to_text(table: Table, *, width: int, style: Style = plain) -> str:
    """The table with a title above and what it leaves out below, at most `width` wide."""
    columns, dropped = _fitting(table, width)
    cells = [[column.text(column.value(row)) for column in columns] for row in table.rows]
    lines = [style(_clipped(_title(table), width), "title"), ""]
    if cells:
        lines.insert(1, style(_clipped(_score_line(table), width), "dim"))
        lines += _aligned(table, columns, cells, width, style)
        lines.append("")
    lines += [style(line, "dim") for line in _wrapped(notes(table, dropped), width)]
    lines += _unranked_lines(table, width, style)
    return "\n".join(lines).rstrip() + "\n"


def to_markdown(table: Table) -> str:
    """A Markdown table with every default column, and its notes."""
    heads = [words.markdown_text(column.title) for column in table.columns]
    marks = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [
        f"**{words.markdown_text(_title(table))}**",
        "",
        words.markdown_text(_score_line(table)),
        "",
        _piped(heads),
        _piped(marks),
    ]
    for row in table.rows:
        texts = [words.markdown_text(column.text(column.value(row))) for column in table.columns]
        lines.append(_piped([f"**{text}**" if row is table.best else text for text in texts]))
    lines += ["", *(words.markdown_text(note.replace(_TIED, " ")) for note in notes(table, ()))]
    lines += [f"- {words.markdown_text(line)}" for line in _unranked(table)]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(tables: Sequence[Table]) -> str:
    """One header and one line per trial; several experiments get a column of their own."""
    if len(tables) == 1:
        table = tables[0]
        names = [column.name for column in table.columns]
        return csv_text(names, ([c.value(row) for c in table.columns] for row in table.rows))
    names = list(dict.fromkeys(column.name for table in tables for column in table.columns))
    lines = []
    for table in tables:
        by_name = {column.name: column for column in table.columns}
        for row in table.rows:
            found = [by_name[name].value(row) if name in by_name else None for name in names]
            lines.append([table.record.name, *found])
    return csv_text(["experiment", *names], lines)


def to_json(table: Table) -> dict[str, Any]:
    """Plain values with stable keys; NaN and infinities become null."""
    places = {row.number: place for place, row in enumerate(table.ranking.ranked, start=1)}
    record = table.record
    return {
        "experiment": record.name,
        "objective": {"metric": record.metric, "direction": record.direction},
        "counts": {state.value: count for state, count in record.counts.items()},
        "missing": record.missing,
        "left_out": table.hidden,
        "trials": [_trial_json(row, places.get(row.number), record) for row in table.rows],
    }


def notes(table: Table, dropped: Sequence[Column]) -> list[str]:
    """What is the same everywhere, which columns did not fit, which trials are left out."""
    found = []
    if table.same:
        same = ", ".join(f"{title}{_TIED}{text}" for title, text in table.same)
        found.append(f"The same in all ranked trials: {same}.")
    if dropped and table.rows:
        names = ", ".join(column.title for column in dropped)
        found.append(f"Not shown at this width: {names} (see --columns, -f csv).")
    left_out = left_out_text(table)
    if left_out:
        found.append(f"Left out: {left_out}.")
    return found


def left_out_text(table: Table) -> str:
    """Which trials the ranked rows leave out, in words; empty when none."""
    by_state: dict[str, int] = {}
    for row in table.ranking.unranked:
        word = "without a score" if row.score is None and row.reason == "" else ""
        key = word or words.state_word(row.state)
        by_state[key] = by_state.get(key, 0) + 1
    if running := table.record.counts.get(TrialState.RUNNING, 0):
        by_state[words.state_word(TrialState.RUNNING)] = running
    if table.record.missing:
        by_state["still to run"] = table.record.missing
    parts = [f"{count:,} {state}" for state, count in by_state.items()]
    if table.hidden:
        parts.append(f"{words.counted(table.hidden, 'ranked trial')} beyond --top")
    return words.joined(parts)


def _title(table: Table) -> str:
    ranked = words.counted(len(table.ranking.ranked), "ranked trial")
    order = f"sorted by {table.sorted_by}" if table.sorted_by else "best first"
    return f"{words.printable(table.record.name)}: {ranked}, {order}"


def _score_line(table: Table) -> str:
    record = table.record
    better = "higher is better" if record.direction == "max" else "lower is better"
    return f"score is {record.metric} in a trial's best epoch; {better}"


def _fitting(table: Table, width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit; those with the highest rank go first, values nearly never."""
    widths = {column.name: _column_width(column, table.rows) for column in table.columns}
    kept = list(table.columns)
    dropped: list[Column] = []
    while sum(widths[c.name] + len(_GAP) for c in kept) - len(_GAP) > width:
        worst = max(reversed(kept), key=lambda column: column.rank)
        if worst.rank == 0:
            break
        kept.remove(worst)
        dropped.insert(0, worst)
    return kept, [column for column in table.columns if column in dropped]


def _column_width(column: Column, rows: Sequence[TrialRow]) -> int:
    return max([len(column.title), *(len(column.text(column.value(row))) for row in rows)])


def _aligned(
    table: Table, columns: Sequence[Column], cells: list[list[str]], width: int, style: Style
) -> list[str]:
    widths = [
        max(len(column.title), *(len(line[i]) for line in cells))
        for i, column in enumerate(columns)
    ]
    head = _line([column.title for column in columns], widths, columns)
    rule = _GAP.join("─" * wide for wide in widths)
    lines = [style(head[:width], "head"), style(rule[:width], "dim")]
    for row, texts in zip(table.rows, cells, strict=True):
        line = _clipped(_line(texts, widths, columns), width)
        lines.append(style(line, "best") if row is table.best else line)
    return lines


def _line(texts: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    padded = [
        text.rjust(wide) if column.numeric else text.ljust(wide)
        for text, wide, column in zip(texts, widths, columns, strict=True)
    ]
    return _GAP.join(padded).rstrip()


def _unranked_lines(table: Table, width: int, style: Style) -> list[str]:
    lines = _unranked(table)
    if not lines:
        return []
    return ["", style("Not ranked", "head"), *(style(_clipped(t, width), "bad") for t in lines)]


def _unranked(table: Table) -> list[str]:
    rows = table.ranking.unranked
    lines = [_unranked_line(row) for row in rows[:_MAX_LISTED]]
    if len(rows) > _MAX_LISTED:
        lines.append(f"… and {len(rows) - _MAX_LISTED:,} more (-f csv lists all)")
    return lines


def _unranked_line(row: TrialRow) -> str:
    reason = words.first_line(row.reason) or "no score"
    values = words.values_text(row.values)
    return f"trial {row.number} {words.state_word(row.state)}: {reason} ({values})"


def _wrapped(texts: Sequence[str], width: int) -> list[str]:
    wrapped = (textwrap.wrap(text, width, break_on_hyphens=False) for text in texts)
    return [line.replace(_TIED, " ") for lines in wrapped for line in lines]


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


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


def finite(value: Any) -> Any:
    """A tree of plain values in which NaN and infinities, unknown to JSON, are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
