"""Tables on a terminal, and in LaTeX: what it accepts, what siunitx aligns, what is marked."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.report import latex_check
from tuner.report.record import RunRecord
from tuner.report.render import grid_lines, latex_text, to_latex, to_text
from tuner.report.table import Column, Table, text_table
from tuner.report.trials_table import TableOptions, trials_table

DEFAULT = TableOptions()
# What an S column takes: one number, perhaps with its uncertainty, or text in braces.
NUMBER = r"-?\d+(\.\d+)?( \+- \d+\.\d+)?(e-?\d+)?"
S_CELL = re.compile(rf"(\\bfseries )?({NUMBER}|\{{.*\}})|")


def latex(record: RunRecord, options: TableOptions = DEFAULT) -> str:
    found = to_latex(trials_table(record, options, for_paper=True))
    assert latex_check.problems(found) == []
    rows = latex_check.cells(found)
    assert {len(row) for row in rows} == {latex_check.num_columns(found)}
    return found


@pytest.mark.parametrize("options", [DEFAULT, TableOptions(group_by=("depth",))])
def test_every_cell_of_a_number_column_is_a_number_or_in_braces(
    record: RunRecord, options: TableOptions
) -> None:
    found = latex(record, options)
    letters = re.sub(r"\[[^]]*\]|@\{[^}]*\}", "", found.split("tabular}{")[1].split("\n")[0])
    for row in latex_check.cells(found):
        for letter, cell in zip(letters, row, strict=False):
            assert letter != "S" or S_CELL.fullmatch(cell), cell


def test_the_best_is_bold_and_what_cannot_be_told_from_it_has_a_dagger(seeds: RunRecord) -> None:
    found = latex(seeds)
    _, *rows = latex_check.cells(found)
    assert [row[1] for row in rows] == [
        r"\bfseries 0.5100 +- 0.0131", "0.5075 +- 0.0183", "0.3086 +- 0.0135",
    ]  # fmt: skip
    assert [row[2] for row in rows] == ["", r"$^{\dagger}$", ""]
    assert "too close to the best to tell" in found


def test_numbers_get_the_room_they_need(record: RunRecord) -> None:
    rates = [1e-5, 0.25, -3.0, 100.0, 2e-12, 7.5]
    rows = tuple(
        dataclasses.replace(row, values={**row.values, "training.learning_rate": rate})
        for row, rate in zip(record.rows, rates, strict=False)
    )
    found = latex(dataclasses.replace(record, rows=rows))
    assert "S[table-format=-3.2e-2]" in found
    assert "1e-5" in found
    assert "2e-12" in found


def test_counts_share_a_unit_with_three_digits_of_the_least(record: RunRecord) -> None:
    sizes = [1_740_000, 272_474, 36_500_000, 800_000, 1_000_000, 25_600_000]
    rows = tuple(
        dataclasses.replace(row, parameters=size)
        for row, size in zip(record.rows, sizes, strict=False)
    )
    head, *cells = latex_check.cells(latex(dataclasses.replace(record, rows=rows)))
    column = head.index("{params (M)}")
    assert sorted(float(row[column]) for row in cells) == [0.272, 0.8, 1.0, 1.74, 25.6, 36.5]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & 50% of #1", r"a\_b \& 50\% of \#1"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("x^2 ~ $y$", r"x\textasciicircum{}2 \textasciitilde{} \$y\$"),
        ("<script>", r"\textless{}script\textgreater{}"),
        ("--top --- ,,", "-{}-top -{}-{}- ,{},"),
        ("[1pt]*", "{[}1pt{]}{*}"),
        ("± ≤ …", r"$\pm$ $\leq$ \ldots{}"),
        ("a\nb\x1b\u202e", "a?b??"),
        ("größer", "größer"),
    ],
)
def test_text_stays_text(text: str, escaped: str) -> None:
    assert latex_text(text) == escaped
    assert latex_check.problems(escaped) == []


def test_the_reader_finds_what_latex_would_refuse() -> None:
    assert latex_check.problems("{a") != []
    assert latex_check.problems("a_b") != []
    assert latex_check.problems(r"\input{x}") != []
    assert latex_check.problems(r"\begin{table}\end{tabular}") != []


def test_columns_without_titles_have_no_head_and_a_cell_its_own_colour() -> None:
    columns = (
        Column("name", "", numeric=False, shrinks=True),
        Column("state", "", numeric=False, role=lambda state: f"{state}!"),
    )
    table = Table("", columns, (("a long name", "done"), ("b", "running")))
    lines = grid_lines(table, width=18, style=lambda text, role: f"<{text}>" if role else text)
    assert lines == ["a long n…  <done   >", "b          <running>"]


def test_titles_are_broken_before_a_column_goes_and_what_tells_rows_apart_stays() -> None:
    names = ("num_layers", "learning_rate", "kernel_size")
    columns = (Column("trial", "trial"), *(Column(n, n, str, rank=1) for n in names))
    rows = tuple((i, i % 2, i / 8, "–" if i % 4 else 3) for i in range(8))
    table = Table("t", columns, rows)
    assert grid_lines(table, width=60)[0].split() == ["trial", *names]
    broken = grid_lines(table, width=34)
    assert [line.split() for line in broken[:2]] == [
        ["num_", "learning_", "kernel_"],
        ["trial", "layers", "rate", "size"],
    ]
    assert max(map(len, broken)) <= 34
    # What no other row shares stays, and a title is whole again where that leaves room.
    assert grid_lines(table, width=20)[0].split() == ["trial", "learning_rate"]


def test_columns_that_tell_rows_apart_together_stay() -> None:
    """Each of the three tells two of the rows from the third; the first and the last tell all."""
    columns = tuple(Column(name, name, str, rank=1) for name in ("family", "depth", "rate"))
    table = Table("t", columns, (("lenet", "-", 0.1), ("lenet", "-", 0.2), ("resnet", 8, 0.1)))
    assert grid_lines(table, width=14)[0].split() == ["family", "rate"]


def test_no_number_is_cut_where_columns_have_no_rank() -> None:
    row = ("densenet", "12", "5.67k", "2.66M")
    _, head, _, line, *note = to_text(
        text_table("t", ("family", "trials", "params", "MACs"), [row]), width=26
    ).splitlines()
    assert (head.split(), line.split()) == (["family", "trials", "params"], [*row[:3]])
    assert " ".join(note).split() == ["Not", "shown", "at", "this", "width:", "MACs."]


def test_what_does_not_fit_is_left_out_by_rank_and_said() -> None:
    columns = (Column("n", "n"), Column("seed", "seed", rank=2), Column("train", "train", rank=1))
    text = to_text(Table("x", columns, ((1, 2, 3),), about="score is a"), width=10)
    assert text.splitlines()[3:6] == ["n  train", "─  ─────", "1      3"]
    assert "seed" in text.split("this width:")[-1]
