"""Lines of several trials: mean ± spread, n, and whether a line can be told from the best."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import pytest

from tests.report import replicated_ledger
from tests.report.texts import check
from tuner.errors import InputError
from tuner.report import summary
from tuner.report.record import RunRecord, read_record
from tuner.report.tabular import formats, latex, render
from tuner.report.tabular.groups import group_of, lines_of, ranges_text
from tuner.report.tabular.tables import TableOptions, full_table, human_table, lines_table

DEFAULT = TableOptions()
BY_DEPTH = TableOptions(group_by=("depth",))


def test_replicates_share_a_line_by_default(seeds: RunRecord) -> None:
    table = human_table(seeds, DEFAULT)
    check("groups.txt", render.to_text(table, width=80))
    assert [(line.score.n, line.values) for line in table.rows] == [
        (8, {"training.learning_rate": 0.01}),
        (8, {"training.learning_rate": 0.1}),
        (7, {"training.learning_rate": 0.001}),
    ]


def test_groups_in_every_other_format(seeds: RunRecord) -> None:
    table = human_table(seeds, DEFAULT)
    check("groups.md", formats.to_markdown(table))
    check("groups.tex", latex.to_latex(table))
    options = TableOptions(group_by=("learning_rate",))
    check("groups.csv", formats.to_csv([full_table(seeds, options)]))
    found = formats.to_json(full_table(seeds, TableOptions(top=1)), lines_table(seeds, DEFAULT))
    check("groups.json", json.dumps(found, indent=2, allow_nan=False) + "\n")


def test_the_summary_of_replicates(seeds: RunRecord) -> None:
    check("groups-summary.txt", summary.to_text(summary.summarize(seeds)))


def test_mean_spread_and_n_are_those_of_the_scores(seeds: RunRecord) -> None:
    best = human_table(seeds, DEFAULT).rows[0]
    scores = [score for score in replicated_ledger.SCORES[0.01] if score is not None]
    assert best.score.mean == pytest.approx(0.51)
    squares = sum((score - 0.51) ** 2 for score in scores)
    assert best.score.spread == pytest.approx(math.sqrt(squares / 7))


def test_every_ranked_trial_is_in_one_line(seeds: RunRecord, record: RunRecord) -> None:
    for one, options in ((seeds, DEFAULT), (record, BY_DEPTH)):
        lines = human_table(one, options).rows
        numbers = sorted(number for line in lines for number in line.numbers)
        assert numbers == sorted(row.number for row in one.ranking.ranked)


def test_grouping_by_trial_gives_a_line_for_each(seeds: RunRecord) -> None:
    found = human_table(seeds, TableOptions(group_by=("trial",)))
    assert not found.is_grouped
    assert len(found.rows) == 23


@pytest.mark.parametrize("options", [{"columns": ("trial", "score")}, {"sort": "-trial"}])
def test_asking_for_what_only_single_trials_have_gives_single_trials(
    seeds: RunRecord, options: dict[str, object]
) -> None:
    assert not human_table(seeds, TableOptions(**options)).is_grouped  # type: ignore[arg-type]


def test_groups_over_everything_else(record: RunRecord) -> None:
    first, second = human_table(record, BY_DEPTH).rows
    assert (first.values, first.numbers) == ({"model.depth": 20}, [1, 2, 3])
    assert first.score.mean == pytest.approx((0.15 + 0.3 + 0.25) / 3)
    assert second.numbers == [4, 5, 6]
    text = render.to_text(human_table(record, BY_DEPTH), width=100)
    assert "all ranked trials that share depth" in text
    assert "stopped" in text


def test_groups_are_sorted_and_cut(record: RunRecord) -> None:
    by = ("learning_rate",)
    table = human_table(record, TableOptions(group_by=by, sort="learning_rate", top=2))
    assert [line.values["training.learning_rate"] for line in table.rows] == [0.001, 0.01]
    assert "1 line beyond --top" in render.to_text(table, width=80)
    worst_first = human_table(record, TableOptions(group_by=by, sort="-score"))
    assert worst_first.rows[0].values == {"training.learning_rate": 0.001}


def test_a_column_to_group_by_must_exist(record: RunRecord) -> None:
    with pytest.raises(InputError, match="did you mean depth"):
        human_table(record, TableOptions(group_by=("dept",)))


def test_one_true_and_a_fraction_are_three_values(record: RunRecord) -> None:
    values: list[object] = [1, True, 1.0, [1], [1], None]
    rows = tuple(
        dataclasses.replace(row, values={"model.depth": value})
        for row, value in zip(record.rows, values, strict=False)
    )
    changed = dataclasses.replace(record, rows=rows)
    table = human_table(changed, BY_DEPTH)
    assert sorted(line.score.n for line in table.rows) == [1, 1, 1, 1, 2]


def test_the_best_is_named_and_what_cannot_be_told_from_it(seeds: RunRecord) -> None:
    table = lines_table(seeds, DEFAULT)
    assert [table.verdict(line) for line in table.rows] == ["best", "within noise", "worse"]


def test_three_seeds_decide_nothing(tmp_path: Path) -> None:
    few = read_record(replicated_ledger.make(tmp_path, num_seeds=3))
    table = lines_table(few, DEFAULT)
    assert [table.verdict(row) for row in table.rows] == ["best", *["not decidable"] * 2]
    said = " ".join(summary.summarize(few).sentences)
    assert "3 seeds cannot decide a lead of 0.0033" in said


def test_single_trials_are_not_compared(record: RunRecord) -> None:
    table = lines_table(record, DEFAULT)
    assert {table.verdict(line) for line in table.rows} == {""}
    assert "against_best" not in {column.name for column in table.columns}


def test_numbers_of_groups_stay_numbers_in_csv(seeds: RunRecord) -> None:
    table = full_table(seeds, TableOptions(group_by=("learning_rate",)))
    for line in csv.DictReader(io.StringIO(formats.to_csv([table]))):
        assert float(line["score"]) > 0
        assert float(line["score_spread"]) > 0
        assert int(line["n"]) in (7, 8)


def test_infinite_scores_have_a_mean_and_no_spread() -> None:
    assert group_of("", [math.inf, 1.0]).mean == math.inf
    assert math.isnan(group_of("", [math.inf, -math.inf]).mean)
    assert group_of("", [math.inf, 1.0]).spread is None


def test_a_record_without_ranked_trials_has_no_lines(record: RunRecord) -> None:
    empty = dataclasses.replace(record, rows=())
    assert lines_of(empty, []) == []
    assert human_table(empty, BY_DEPTH).rows == ()
    assert "0 groups" in render.to_text(human_table(empty, BY_DEPTH), width=80)


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([1, 2, 3, 7], "1-3, 7"), ([1, 3], "1, 3")]
)
def test_ranges_of_trials(numbers: list[int], text: str) -> None:
    assert ranges_text(numbers) == text
