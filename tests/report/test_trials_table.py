from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import pytest

from tests.report.texts import check
from tuner.errors import InputError
from tuner.experiment.trial import TrialState
from tuner.report import render, summary
from tuner.report.record import RunRecord
from tuner.report.trials_table import TableOptions, every_trial, to_json, trials_table

EVERYTHING = TableOptions()


def text(record: RunRecord, options: TableOptions = EVERYTHING, width: int = 80) -> str:
    return render.to_text(trials_table(record, options), width=width)


def numbers(record: RunRecord, options: TableOptions) -> list[int]:
    return trials_table(record, options).values("trial")


def test_the_text_table(record: RunRecord) -> None:
    check("table.txt", text(record))


def test_the_text_table_without_trials(record: RunRecord) -> None:
    counts = dict.fromkeys(TrialState, 0)
    empty = dataclasses.replace(record, rows=(), counts=counts, missing=3)
    check("empty.txt", text(empty) + "\n" + summary.to_text(summary.summarize(empty)))


def test_the_text_table_with_failures_only(record: RunRecord) -> None:
    rows = tuple(row for row in record.rows if row.state is TrialState.FAILED)
    counts = dict.fromkeys(TrialState, 0) | {TrialState.FAILED: 1}
    failed = dataclasses.replace(record, rows=rows, counts=counts, missing=0)
    check("failures.txt", text(failed) + "\n" + summary.to_text(summary.summarize(failed)))


def test_markdown(record: RunRecord) -> None:
    table = trials_table(record, EVERYTHING)
    check(
        "table.md",
        f"{render.to_markdown(table)}\n{summary.to_markdown(summary.summarize(record))}",
    )


def test_csv(record: RunRecord) -> None:
    check("table.csv", render.to_csv(every_trial(record, EVERYTHING)))


def test_json(record: RunRecord) -> None:
    found = to_json(record, TableOptions(top=2))
    check("table.json", json.dumps(found, indent=2, allow_nan=False) + "\n")


def test_the_summary(record: RunRecord) -> None:
    check("summary.txt", summary.to_text(summary.summarize(record)))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(record: RunRecord, width: int) -> None:
    assert max(len(line) for line in text(record, width=width).splitlines()) <= width


def test_every_trial_is_shown_or_said_to_be_left_out(record: RunRecord) -> None:
    found = text(record, TableOptions(top=2), width=120)
    assert "1 diverged, 1 failed, 2 still to run and 4 ranked trials beyond --top" in found


def test_json_and_csv_hold_every_trial(record: RunRecord) -> None:
    assert len(to_json(record, EVERYTHING)["trials"]) == len(record.rows)
    lines = list(csv.reader(io.StringIO(render.to_csv(every_trial(record, EVERYTHING)))))
    assert len(lines) == len(record.rows) + 1


def test_several_experiments_share_one_csv(record: RunRecord) -> None:
    other = dataclasses.replace(record, name="other", value_names=("model.depth",))
    options = TableOptions(top=1)
    found = render.to_csv(every_trial(record, options), every_trial(other, options))
    head, first, second = csv.reader(io.StringIO(found))
    assert head[0] == "experiment"
    assert [first[0], second[0]] == ["grid", "other"]
    assert second[head.index("training.learning_rate")] == ""


def test_columns_are_chosen_in_order_by_full_or_short_name(record: RunRecord) -> None:
    options = TableOptions(columns=("score", "depth", "training.learning_rate"))
    assert [c.name for c in trials_table(record, options).columns] == [
        "score",
        "model.depth",
        "training.learning_rate",
    ]


@pytest.mark.parametrize("options", [TableOptions(columns=("dept",)), TableOptions(sort="dept")])
def test_an_unknown_column_names_the_nearest(record: RunRecord, options: TableOptions) -> None:
    with pytest.raises(InputError, match="did you mean depth"):
        trials_table(record, options)


def test_sorting(record: RunRecord) -> None:
    assert numbers(record, TableOptions(sort="trial")) == [1, 2, 3, 4, 5, 6]
    assert numbers(record, TableOptions(sort="-trial")) == [6, 5, 4, 3, 2, 1]
    assert numbers(record, TableOptions(sort="score")) == [2, 5, 3, 6, 1, 4]
    assert numbers(record, TableOptions(sort="-score"))[0] == 4
    # Ties keep the order of the ranking, whichever way the column is sorted.
    assert numbers(record, TableOptions(sort="depth")) == [2, 3, 1, 5, 6, 4]
    assert numbers(record, TableOptions(sort="-depth")) == [5, 6, 4, 2, 3, 1]


def test_missing_values_sort_last_both_ways(record: RunRecord) -> None:
    rows = list(record.rows)
    rows[0] = dataclasses.replace(rows[0], metrics={"val_loss": math.nan})
    changed = dataclasses.replace(record, rows=tuple(rows))
    assert numbers(changed, TableOptions(sort="val_loss"))[-1] == 1
    assert numbers(changed, TableOptions(sort="-val_loss"))[-1] == 1


def test_a_column_that_never_varies_is_named_once(record: RunRecord) -> None:
    rows = tuple(row for row in record.rows if row.values["model.depth"] == 20)
    found = text(dataclasses.replace(record, rows=rows))
    assert "depth 20" in found.split("The same in all ranked trials:")[1]
    assert "depth" not in found.splitlines()[3]


def test_a_reason_cannot_break_out_of_its_line(record: RunRecord) -> None:
    rows = list(record.rows)
    rows[7] = dataclasses.replace(rows[7], reason="\x1b[2Jbad\u202e | <script>\nmore")
    found = dataclasses.replace(record, rows=tuple(rows))
    for rendered in (text(found), render.to_markdown(trials_table(found, EVERYTHING))):
        assert "\x1b" not in rendered
        assert "\u202e" not in rendered
        assert "more" not in rendered


def test_the_state_is_shown_where_it_is_news(record: RunRecord) -> None:
    """Stopped trials are ranked, and shown as stopped, even if all are."""
    assert "stopped" in text(record)
    stopped = tuple(dataclasses.replace(row, state=TrialState.STOPPED) for row in record.rows[:6])
    assert "state stopped" in text(dataclasses.replace(record, rows=stopped))
    completed = tuple(dataclasses.replace(r, state=TrialState.COMPLETED) for r in stopped)
    assert "state" not in text(dataclasses.replace(record, rows=completed))


def test_parameters_multiply_adds_seconds_and_epochs_are_among_the_columns(
    record: RunRecord,
) -> None:
    names = [column.name for column in trials_table(record, EVERYTHING).columns]
    assert {"parameters", "macs", "train_seconds", "epochs"} <= set(names)
