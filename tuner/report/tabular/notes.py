"""What stands around a table in every format: its title, what it leaves out, what has failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tuner.experiment.trial import TrialState
from tuner.ledger.queries import field_of
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.tabular.alike import BEST, MOST_COMPARED, NOISE, UNDECIDABLE
from tuner.report.tabular.columns import Column
from tuner.report.tabular.tables import VERDICT_MARKS, Table

TIED = "\N{NO-BREAK SPACE}"  # between words that stay on one line; never printed
_MAX_LISTED = 10


def title(table: Table) -> str:
    """The experiment's name, how many rows there are, and their order."""
    ranked = words.counted(len(table.ranking.ranked), "ranked trial")
    name = words.printable(table.record.name)
    if not table.is_grouped:
        order = f"sorted by {_sorting(table)}" if table.sorted_by else "best first"
        return f"{name}: {ranked}, {order}"
    noun = "configuration" if _is_by_configuration(table) else "group"
    order = f"sorted by {_sorting(table)}" if table.sorted_by else "best mean first"
    return f"{name}: {words.counted(table.num_lines, noun)} of {ranked}, {order}"


def score_line(table: Table) -> str:
    """What a score is."""
    record = table.record
    better = "higher is better" if record.direction == "max" else "lower is better"
    text = f"score is {words.printable(record.metric)} in a trial's best epoch; {better}"
    return f"{text}; mean ± standard deviation over n trials" if table.is_grouped else text


def notes(table: Table, dropped: Sequence[Column] = ()) -> list[str]:
    """What is the same everywhere, which columns did not fit, which trials are left out.

    Words that belong together are joined by `TIED`; `untied` takes it away.
    """
    found = [_shared_text(table)] if table.is_grouped else []
    if table.same:
        same = ", ".join(f"{title}{TIED}{text.replace(' ', TIED)}" for title, text in table.same)
        found.append(f"The same in all ranked trials: {same}.")
    found += _verdict_notes(table)
    if dropped and table.rows:
        names = ", ".join(column.title for column in dropped)
        found.append(f"Not shown at this width: {names} (see --columns, -f csv).")
    if left_out := left_out_text(table):
        found.append(f"Left out: {left_out}.")
    return found


def untied(text: str) -> str:
    """The text with plain spaces."""
    return text.replace(TIED, " ")


def left_out_text(table: Table) -> str:
    """Which trials the rows leave out, in words; empty when none."""
    record, rows = table.record, table.ranking.unranked
    columns = (field_of(rows, name) for name in ("state", "score", "reason"))
    found = Counter(
        "without a score" if score is None and not reason else words.state_word(state)
        for state, score, reason in zip(*columns, strict=True)
    )
    if running := record.counts.get(TrialState.RUNNING, 0):
        found[words.state_word(TrialState.RUNNING)] = running
    if record.missing:
        found["still to run"] = record.missing
    parts = [f"{count:,} {state}" for state, count in found.items()]
    if record.outside:
        parts.append(f"{record.outside:,} outside {record.filtered_by}")
    if table.hidden:
        noun = "line" if table.is_grouped else "ranked trial"
        parts.append(f"{words.counted(table.hidden, noun)} beyond --top")
    return words.joined(parts)


def unranked_lines(table: Table) -> list[str]:
    """One line for each trial that has failed or diverged, the first few."""
    rows = table.ranking.unranked
    lines = [_unranked_line(row) for row in rows[:_MAX_LISTED]]
    if len(rows) > _MAX_LISTED:
        lines.append(f"… and {len(rows) - _MAX_LISTED:,} more (-f csv lists all)")
    return lines


def _is_by_configuration(table: Table) -> bool:
    return {column.name for column in table.grouped_by} == set(table.record.value_names)


def _sorting(table: Table) -> str:
    return words.printable(table.sorted_by)


def _shared_text(table: Table) -> str:
    if _is_by_configuration(table):
        return "A line is one configuration under n seeds; its other columns are means."
    by = words.joined([column.title for column in table.grouped_by])
    return f"A line is all ranked trials that share {by}; its other columns are means."


def _verdict_notes(table: Table) -> list[str]:
    """What the marks beside the scores mean, of those that are used."""
    used = set(table.verdicts.values())
    parts = []
    if NOISE in used:
        parts.append(f"{VERDICT_MARKS[NOISE]} within noise of the best")
    if UNDECIDABLE in used:
        parts.append(f"{VERDICT_MARKS[UNDECIDABLE]} too few trials to tell it from the best")
    if not parts or BEST not in used:
        return []
    more = table.num_lines > MOST_COMPARED
    among = f" Only the first {MOST_COMPARED} are compared." if more else ""
    return [f"{', '.join(parts)}: by interval and permutation test, p ≤ 0.05.{among}"]


def _unranked_line(row: TrialRow) -> str:
    reason = words.first_line(row.reason) or "no score"
    values = words.values_text(row.values)
    return f"trial {row.number} {words.state_word(row.state)}: {reason} ({values})"
