"""Names, reasons and choices that would be code elsewhere stay text in every format."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from tests.report import latex_check
from tuner.experiment.objective import Objective
from tuner.report import render, summary
from tuner.report.record import RunRecord
from tuner.report.trials_table import TableOptions, every_trial, to_json, trials_table

HOSTILE = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "-2+3",
    "\t=1+1",
    "\n=1+1",
    "＝1+1",
    "\x1b[31mred\x1b[0m\x07",
    "\u202egnp.exe",
    "a\u2066b\u200b",
    r"\input{/etc/passwd} $x_1^2$ %{~}#&",
    "| a | b |",
    "**bold** `code` [link](http://x) ~~no~~ &lt;",
    "'quoted' \"twice\"",
    "]]> --> }}} {% x %}",
    "\ud800 lone",
]
FORMATS = ("table", "markdown", "latex", "csv", "json")


def hostile(record: RunRecord, text: str) -> RunRecord:
    """A record with the text wherever a person or a framework can put one."""
    names = ("model.depth", f"model.{text}")
    rows = []
    for place, row in enumerate(record.rows):
        metrics = {**row.metrics, f"val_{text}": place / 10}
        values = {"model.depth": place % 2, f"model.{text}": text if place % 2 else "plain"}
        reason = text if row.reason else ""
        rows.append(dataclasses.replace(row, values=values, metrics=metrics, reason=reason))
    return dataclasses.replace(
        record,
        name=text,
        objective=Objective(text),
        rows=tuple(rows),
        value_names=names,
        metric_names=(*record.metric_names, f"val_{text}"),
    )


def rendered(record: RunRecord, form: str, options: TableOptions) -> str:
    table = trials_table(record, options, for_paper=form == "latex")
    if form == "table":
        below = summary.to_text(summary.summarize(record))
        return render.to_text(table, width=200) + below
    if form == "markdown":
        return render.to_markdown(table) + summary.to_markdown(summary.summarize(record))
    if form == "latex":
        return render.to_latex(table)
    full = every_trial(record, options)
    if form == "csv":
        return render.to_csv(full, full)
    document = to_json(record, options)
    return json.dumps([document, summary.to_json(summary.summarize(record))])


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("form", FORMATS)
def test_no_control_character_and_no_mark_that_turns_the_writing_is_left(
    record: RunRecord, text: str, form: str
) -> None:
    changed = hostile(record, text)
    groups = TableOptions(group_by=(f"model.{text}",))
    found = rendered(changed, form, TableOptions()) + rendered(changed, form, groups)
    kept = "\n\t\r" if form == "csv" else "\n"
    assert all(c.isprintable() or c in kept for c in found)
    found.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_spreadsheet_finds_no_formula(record: RunRecord, text: str) -> None:
    lines = list(csv.reader(io.StringIO(rendered(hostile(record, text), "csv", TableOptions()))))
    for cell in (cell for line in lines for cell in line):
        if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")):
            float(cell)  # only numbers may


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_stays_whole(record: RunRecord, text: str) -> None:
    found = rendered(hostile(record, text), "latex", TableOptions())
    assert latex_check.problems(found) == []
    rows = latex_check.cells(found)
    assert {len(row) for row in rows} == {latex_check.num_columns(found)}


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_has_no_tag_no_link_and_as_many_cells_in_every_row(
    record: RunRecord, text: str
) -> None:
    found = rendered(hostile(record, text), "markdown", TableOptions())
    plain = found.replace("\\\\", "")
    for mark in ("<", "`", "[", "&", "~"):
        assert plain.count(mark) == plain.count(f"\\{mark}")
    table = [line for line in plain.split("\n\n")[2].splitlines() if line.startswith("|")]
    assert len({line.count("|") - line.count("\\|") for line in table}) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_json_gives_the_very_text_back(record: RunRecord, text: str) -> None:
    document, _ = json.loads(rendered(hostile(record, text), "json", TableOptions()))
    assert document["experiment"] == text
    assert document["trials"][0]["values"][f"model.{text}"] in (text, "plain")


def test_wide_characters_keep_the_columns_in_line(record: RunRecord) -> None:
    rows = tuple(
        dataclasses.replace(row, values={"model.depth": "深い" if row.number % 2 else "flat"})
        for row in record.rows
    )
    changed = dataclasses.replace(record, rows=rows, value_names=("model.depth",))
    text = render.to_text(trials_table(changed, TableOptions()), width=100)
    lines = text.splitlines()[3:11]
    # Each wide character takes two places: the lines with two of them are two shorter.
    ends = {line.index("k ") + sum(ord(c) > 0x3000 for c in line) for line in lines[2:8]}
    assert len(ends) == 1
