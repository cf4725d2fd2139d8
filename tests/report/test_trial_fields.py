from __future__ import annotations

import dataclasses

import pytest

from tuner.errors import InputError
from tuner.experiment.trial import TrialState
from tuner.report import render, summary
from tuner.report.record import RunRecord
from tuner.report.trial_fields import Bound, Setting, bound_of, narrowed, only
from tuner.report.trials_table import TableOptions, trials_table


def numbers(record: RunRecord, *bounds: Bound) -> list[int]:
    return [row.number for row in narrowed(record, bounds).rows]


def test_both_ends_belong_to_a_range(record: RunRecord) -> None:
    assert numbers(record, Bound("score", 0.25, is_upper=False)) == [2, 3, 5]
    assert numbers(record, Bound("score", 0.25, is_upper=True)) == [1, 3, 4, 6]


def test_what_has_no_such_number_is_outside(record: RunRecord) -> None:
    """NaN, nothing, and text: a diverged trial has val_accuracy nan, a failed one has none."""
    assert numbers(record, Bound("val_accuracy", 0.0, is_upper=False)) == [1, 2, 3, 4, 5, 6]
    assert numbers(record, Bound("state", 0.0, is_upper=False)) == []


def test_counts_and_summary_are_those_of_what_is_left(record: RunRecord) -> None:
    found = narrowed(record, [Bound("parameters", 3e5, is_upper=True)])
    assert found.counts[TrialState.COMPLETED] == 3
    assert found.outside == 4
    assert "Best: trial 2" in summary.summarize(found).sentences[0]
    assert all(row.parameters == 272_474 for row in found.rows)


def test_the_table_says_what_was_left_out(record: RunRecord) -> None:
    found = narrowed(record, [Bound("score", 0.2, is_upper=False)])
    text = render.to_text(trials_table(found, TableOptions()), width=80)
    assert "5 outside score ≥ 0.2" in text


@pytest.mark.parametrize("text", ["score", "score=", "=1", "score=much", "score=nan", ""])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="NAME=NUMBER"):
        bound_of(text, is_upper=True)


def test_an_unknown_column_names_the_option_and_the_nearest(record: RunRecord) -> None:
    with pytest.raises(InputError, match=r"(?s)--min: there is no such column.*did you mean score"):
        narrowed(record, [Bound("scor", 1.0, is_upper=False)])


def test_a_setting_is_found_as_tables_write_it(record: RunRecord) -> None:
    """1/3 is shown as 0.33333; 20 is 20.0, and true is no number."""
    rows = [dataclasses.replace(r, values={"training.x": 1 / 3 + r.number}) for r in record.rows]
    changed = dataclasses.replace(record, rows=rows)
    (found,) = only([changed], [Setting("x", 2.3333)])
    assert [row.number for row in found.rows] == [2]
    assert found.filtered_by == "x 2.3333"
    (found,) = only([record], [Setting("depth", 20.0)])
    assert {row.value("model.depth") for row in found.rows} == {20}
    (both,) = only([record], [Setting("depth", 20), Setting("depth", 32)])
    assert (len(both.rows), both.filtered_by) == (len(record.rows), "depth 20 or 32")
    with pytest.raises(InputError, match="20 or 32"):
        only([record], [Setting("depth", True)])
