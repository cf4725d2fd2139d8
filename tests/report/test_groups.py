"""Lines of several trials: mean ± spread, n, and whether a line can be told from the best."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from tests.report import replicated_ledger
from tuner.errors import InputError
from tuner.experiment.trial import TrialState
from tuner.report import render, summary
from tuner.report.groups import TrialGroup, against_best, trial_groups
from tuner.report.record import RunRecord, read_record
from tuner.report.table import mean_score
from tuner.report.trial_fields import fields_named, trial_fields
from tuner.report.trials_table import TableOptions, every_trial, trials_table

DEFAULT = TableOptions()
BY_DEPTH = TableOptions(group_by=("depth",))


def groups(record: RunRecord, *names: str) -> list[TrialGroup]:
    by = fields_named(trial_fields(record), names or record.value_names, "")
    return against_best(trial_groups(record, by), record)


def test_mean_spread_and_n_are_those_of_the_scores(seeds: RunRecord) -> None:
    best = groups(seeds)[0]
    scores = [score for score in replicated_ledger.SCORES[0.01] if score is not None]
    assert best.score.mean == pytest.approx(0.51)
    squares = sum((score - 0.51) ** 2 for score in scores)
    assert best.score.spread == pytest.approx(math.sqrt(squares / 7))


def test_every_ranked_trial_is_in_one_line(seeds: RunRecord, record: RunRecord) -> None:
    for one, names in ((seeds, ()), (record, ("depth",))):
        numbers = sorted(number for group in groups(one, *names) for number in group.numbers)
        assert numbers == sorted(row.number for row in one.ranking.ranked)


@pytest.mark.parametrize("options", [{"columns": ("trial", "score")}, {"sort": "-trial"}])
def test_asking_for_what_only_single_trials_have_gives_single_trials(
    seeds: RunRecord, options: dict[str, object]
) -> None:
    table = trials_table(seeds, TableOptions(**options))  # type: ignore[arg-type]
    assert len(table.values("trial")) == 23


def test_groups_over_everything_else(record: RunRecord) -> None:
    first, second = groups(record, "depth")
    assert (first.values, first.numbers) == ({"model.depth": 20}, [1, 2, 3])
    assert first.score.mean == pytest.approx((0.15 + 0.3 + 0.25) / 3)
    assert second.numbers == [4, 5, 6]
    text = render.to_text(trials_table(record, BY_DEPTH), width=100)
    assert "all ranked trials that share depth" in text
    assert "stopped" in text


def test_groups_are_sorted_and_cut(record: RunRecord) -> None:
    by = ("learning_rate",)
    table = trials_table(record, TableOptions(group_by=by, sort="learning_rate", top=2))
    assert table.values("training.learning_rate") == [0.001, 0.01]
    assert "1 line beyond --top" in render.to_text(table, width=80)
    worst_first = trials_table(record, TableOptions(group_by=by, sort="-score"))
    assert worst_first.values("training.learning_rate")[0] == 0.001


def test_a_column_to_group_by_must_exist(record: RunRecord) -> None:
    with pytest.raises(InputError, match="did you mean depth"):
        trials_table(record, TableOptions(group_by=("dept",)))


def test_one_true_and_a_fraction_are_three_values(record: RunRecord) -> None:
    values: list[object] = [1, True, 1.0, [1], [1], None]
    rows = tuple(
        dataclasses.replace(row, values={"model.depth": value})
        for row, value in zip(record.rows, values, strict=False)
    )
    changed = dataclasses.replace(record, rows=rows)
    assert sorted(trials_table(changed, BY_DEPTH).values("n")) == [1, 1, 1, 1, 2]


def test_the_best_is_named_and_what_cannot_be_told_from_it(seeds: RunRecord) -> None:
    assert [group.verdict for group in groups(seeds)] == ["best", "within noise", "worse"]


def test_three_seeds_decide_nothing(tmp_path: Path) -> None:
    few = read_record(replicated_ledger.make(tmp_path, num_seeds=3))
    assert [group.verdict for group in groups(few)] == ["best", *["not decidable"] * 2]
    said = " ".join(summary.summarize(few).sentences)
    assert "3 seeds cannot decide a lead of 0.0033" in said


def test_single_trials_are_not_compared(record: RunRecord) -> None:
    assert {group.verdict for group in groups(record)} == {""}
    table = every_trial(record, BY_DEPTH)
    assert "against_best" in {column.name for column in table.columns}
    table = every_trial(record, TableOptions(group_by=("depth", "learning_rate")))
    assert "against_best" not in {column.name for column in table.columns}


def test_infinite_scores_have_a_mean_and_no_spread() -> None:
    assert mean_score("", [math.inf, 1.0]).mean == math.inf
    assert math.isnan(mean_score("", [math.inf, -math.inf]).mean)
    assert mean_score("", [math.inf, 1.0]).spread is None


def test_groups_that_a_rule_stopped_at_other_epochs_are_not_compared(seeds: RunRecord) -> None:
    rows = [
        dataclasses.replace(row, epochs=1, state=TrialState.STOPPED)
        if row.value("training.learning_rate") == 0.1
        else dataclasses.replace(row, epochs=3)
        for row in seeds.rows
    ]
    stopped = dataclasses.replace(seeds, rows=rows)
    verdicts = {g.values["training.learning_rate"]: g.verdict for g in groups(stopped)}
    assert verdicts[0.1] == "unequal training"
    assert "≠ trained for other numbers of epochs" in render.to_text(
        trials_table(stopped, DEFAULT), width=100
    )
    assert "not trained equally long" in " ".join(summary.summarize(stopped).sentences)
