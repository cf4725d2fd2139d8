from __future__ import annotations

import csv
import dataclasses
import io
import math

import pytest

from tests.report import latex_check
from tuner.errors import InputError
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.table import csv_columns
from tuner.report import render, summary
from tuner.report.page.source import read_source
from tuner.report.page.trials import trial_columns
from tuner.report.record import RunRecord, read_record
from tuner.report.trial_fields import trial_fields
from tuner.report.trials_table import TableOptions, every_trial, to_json, trials_table

EVERYTHING = TableOptions()


def text(record: RunRecord, options: TableOptions = EVERYTHING, width: int = 80) -> str:
    return render.to_text(trials_table(record, options), width=width)


def numbers(record: RunRecord, options: TableOptions) -> list[int]:
    return trials_table(record, options).values("trial")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(record: RunRecord, width: int) -> None:
    assert max(len(line) for line in text(record, width=width).splitlines()) <= width


@pytest.mark.parametrize(
    ("state", "missing", "words"),
    [
        (None, 3, "No trial has a score yet.\n3 trials have not ended yet; all this may change."),
        (TrialState.FAILED, 0, "Of 1 trial, 1 failed; they are not ranked."),
    ],
)
def test_nothing_to_rank_is_a_table_all_the_same(record, state, missing, words) -> None:
    rows = tuple(row for row in record.rows if row.state is state)
    counts = {s: sum(row.state is s for row in rows) for s in TrialState}
    empty = dataclasses.replace(record, rows=rows, counts=counts, missing=missing)
    assert "grid: 0 ranked trials, best first" in text(empty)
    assert ("trial 8 failed: MemoryError: too large" in text(empty)) == bool(rows)
    assert words in summary.to_text(summary.summarize(empty))
    assert latex_check.problems(render.to_latex(trials_table(empty, EVERYTHING))) == []


def test_stopped_trials_are_ranked_and_shown_as_stopped(record: RunRecord) -> None:
    stopped = tuple(dataclasses.replace(row, state=TrialState.STOPPED) for row in record.rows[:6])
    for rows, words in ((record.rows, "stopped"), (stopped, "state stopped")):
        assert words in text(dataclasses.replace(record, rows=rows))


def test_what_was_searched_stays_in_a_narrow_table_while_states_and_epochs_go(record) -> None:
    """Each trial has another rate, so that no other value is needed to tell trials apart."""
    names = ("training.learning_rate", "training.l2", "training.label_smoothing", "data.augment")
    rows = tuple(
        dataclasses.replace(
            record.rows[0],
            number=n,
            score=0.1 * n,
            state=TrialState.STOPPED if n % 3 else TrialState.COMPLETED,
            epochs=n,
            values=dict(zip(names, (0.001 * n, 1e-5 * n, 0.1 * n, augment), strict=True)),
        )
        for n, augment in enumerate((["crop", "flip"], [], [], [], []), 1)
    )
    found = dataclasses.replace(record, rows=rows, value_names=names)
    assert "[crop, flip]" in text(found, width=60)
    assert "Not shown at this width: state, epochs" in text(found, width=60)


def test_every_trial_is_shown_or_said_to_be_left_out(record: RunRecord) -> None:
    found = text(record, TableOptions(top=2), width=120)
    assert "1 diverged, 1 failed, 2 still to run and 4 ranked trials beyond --top" in found


def test_json_and_csv_hold_every_trial(record: RunRecord) -> None:
    assert len(to_json(record, EVERYTHING)["trials"]) == len(record.rows)
    lines = list(csv.reader(io.StringIO(render.to_csv(every_trial(record, EVERYTHING)))))
    assert len(lines) == len(record.rows) + 1


def test_a_field_is_in_every_view_that_a_person_or_a_program_reads(folder: RunFolder) -> None:
    """Beside the tables that `trial_fields` makes: trials.csv, JSON, and the page."""
    record = read_record(folder)
    fields = [f for f in trial_fields(record) if f.name not in record.value_names]
    with Ledger.open_read_only(folder.ledger) as ledger:
        columns = [name for name in csv_columns(ledger) if name not in record.value_names]
    assert columns == [field.name for field in fields]
    fields = [field for field in fields if field.name not in record.metric_names]
    (first, *_) = to_json(record, EVERYTHING)["trials"]
    assert {field.name for field in fields} - first.keys() == set()
    titles = {column.title for column in trial_columns(read_source(folder))}
    assert {field.column.title for field in fields} - titles == set()


def test_what_was_in_the_last_epoch_is_called_so_beside_the_score(folder: RunFolder) -> None:
    """In tables and on the page; the heads of CSV files stay the names of the metrics."""
    record = read_record(folder)
    titles = {field.name: field.column.title for field in trial_fields(record)}
    assert titles["score"] == "score" and titles["val_accuracy"] == "last val_accuracy"
    shown = {column.name: column.title for column in trial_columns(read_source(folder))}
    assert shown["metrics.val_accuracy"] == "last val_accuracy"
    heads = render.to_csv(every_trial(record, EVERYTHING)).splitlines()[0].split(",")
    assert "val_accuracy" in heads


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
    assert numbers(record, TableOptions(sort="score")) == [2, 5, 3, 6, 1, 4]
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
