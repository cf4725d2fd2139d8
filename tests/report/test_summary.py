from __future__ import annotations

import dataclasses

import pytest

from tests.report.rows import trial
from tuner.experiment.objective import Objective
from tuner.report.record import RunRecord, rank
from tuner.report.summary import marginals, summarize


def said(record: RunRecord) -> str:
    return " ".join(summarize(record).sentences)


def test_the_winner_is_named_with_its_distance_from_chance(record: RunRecord) -> None:
    assert "Best: trial 2 with val_accuracy 0.3000 in epoch 3 of 3, 30.0 times chance" in said(
        record
    )


def test_chance_is_not_claimed_where_it_is_not_known(record: RunRecord) -> None:
    assert "chance" not in said(dataclasses.replace(record, num_classes=None))
    assert "chance" not in said(
        dataclasses.replace(record, objective=Objective("val_top5_accuracy"))
    )


def test_marginal_means_are_means_with_n_and_spread(record: RunRecord) -> None:
    ranked = rank(record.rows, record.objective).ranked
    rate, depth = marginals(ranked, record.value_names)
    assert (rate.title, depth.title) == ("learning_rate", "depth")
    assert [(g.label, round(g.mean, 4), g.n) for g in rate.groups] == [
        ("0.001", 0.135, 2),
        ("0.01", 0.3, 2),
        ("0.1", 0.225, 2),
    ]
    assert rate.groups[0].spread == pytest.approx(0.0212132)
    assert depth.effect == pytest.approx(0.7 / 3 - 0.62 / 3)


def test_a_value_with_many_points_is_cut_into_quarters() -> None:
    rows = [trial(n, n / 100, {"rate": n / 7}) for n in range(1, 21)]
    (rate,) = marginals(rows, ["rate"])
    assert [group.n for group in rate.groups] == [5, 5, 5, 5]
    assert rate.groups[0].label == "0.143 to 0.714"
    assert rate.groups[0].mean == pytest.approx(0.03)


def test_values_of_any_kind_are_told_apart_and_absent_ones_do_not_count() -> None:
    values = [{"a": 12}, {"a": 24}, {}, {"a": [1]}, {"a": [1]}, {"a": True}]
    rows = [trial(n, n / 10, each) for n, each in enumerate(values, 1)]
    (found,) = marginals(rows, ["a"])
    assert [(group.label, group.n) for group in found.groups] == [
        *(("12", 1), ("24", 1), ("[1]", 2), ("true", 1)),
    ]


def replicated(record: RunRecord, first: list[float], second: list[float]) -> RunRecord:
    rows = [
        trial(number, score, {"training.learning_rate": rate}, replicate)
        for number, (rate, (replicate, score)) in enumerate(
            [(rate, each) for rate, s in ((0.1, first), (0.2, second)) for each in enumerate(s)], 1
        )
    ]
    return dataclasses.replace(record, rows=tuple(rows), missing=0)


def test_with_several_seeds_means_and_their_intervals_are_compared(record: RunRecord) -> None:
    first = [0.50, 0.52, 0.51, 0.53, 0.50, 0.52]
    clear = said(replicated(record, first, [score - 0.2 for score in first[::-1]]))
    assert "Best: learning_rate 0.1 with val_accuracy 0.5133 ± 0.0121 over 6 seeds" in clear
    assert "(95 % interval of the mean: 0.5006 to 0.5260)" in clear
    assert "Is it real? Yes: the lead is 0.1" in clear
    close = said(replicated(record, first, [score - 0.001 for score in first[::-1]]))
    assert "Not shown: a lead of 0.0010 is within noise (6 seeds" in close
    few = said(replicated(record, [0.5, 0.3], [0.45, 0.33]))
    assert "2 seeds cannot decide a lead of 0.0100; `tuner confirm grid` would" in few


def test_one_seed_says_that_it_cannot_tell(record: RunRecord) -> None:
    assert "One seed each cannot tell" in said(record)
    assert "`tuner confirm grid` would tell" in said(record)
    stopped = dataclasses.replace(record, rows=(record.rows[5],))
    assert "in epoch 1 of 2, where a rule stopped it" in said(stopped)


@pytest.mark.parametrize(("best", "advice"), [(0.1, "look above it"), (0.001, "look below it")])
def test_a_winner_at_the_end_of_what_was_tried_asks_to_look_beyond(
    record: RunRecord, best: float, advice: str
) -> None:
    rows = tuple(
        dataclasses.replace(row, score=1.0 if row.values["training.learning_rate"] == best else 0.1)
        for row in record.rows[:6]
    )
    assert advice in summarize(dataclasses.replace(record, rows=rows, missing=0)).advice
    # What is still to run may lie beyond.
    assert "look" not in summarize(dataclasses.replace(record, rows=rows, missing=1)).advice


def test_advice_names_the_commands(record: RunRecord) -> None:
    advice = summarize(record).advice
    assert "run it again for the 2 missing trials" in advice
    assert "`tuner retry grid` tries the failed ones again" in advice
    between = summarize(dataclasses.replace(record, missing=0)).advice
    assert "look" not in between  # the best learning rate lies between two others
    assert summarize(dataclasses.replace(record, rows=(), counts={}, missing=0)).advice == ""


def test_a_loss_is_better_when_it_is_lower(record: RunRecord) -> None:
    assert "Best: trial 4 with val_loss" in said(
        dataclasses.replace(record, objective=Objective("val_loss", "min"))
    )
