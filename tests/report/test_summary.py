from __future__ import annotations

import dataclasses

import pytest

from tuner.ledger.records import TrialRow
from tuner.report.marginals import marginals
from tuner.report.ranking import rank
from tuner.report.record import RunRecord
from tuner.report.summary import summarize


def said(record: RunRecord) -> str:
    return " ".join(summarize(record).sentences)


def test_the_winner_is_named_with_its_distance_from_chance(record: RunRecord) -> None:
    assert "Best: trial 2 with val_accuracy 0.3000 in epoch 3 of 3, 30.0 times chance" in said(
        record
    )


def test_chance_is_not_claimed_where_it_is_not_known(record: RunRecord) -> None:
    assert "chance" not in said(dataclasses.replace(record, num_classes=None))
    assert "chance" not in said(dataclasses.replace(record, metric="val_top5_accuracy"))


def test_marginal_means_are_means_with_n_and_spread(record: RunRecord) -> None:
    ranked = rank(record.rows, "max").ranked
    rate, depth = marginals(ranked, record.value_names)
    assert (rate.title, depth.title) == ("learning_rate", "depth")
    assert [(g.label, round(g.mean, 4), g.n) for g in rate.groups] == [
        ("0.001", 0.135, 2),
        ("0.01", 0.3, 2),
        ("0.1", 0.225, 2),
    ]
    assert rate.groups[0].spread == pytest.approx(0.0212132)
    assert depth.effect == pytest.approx(0.7 / 3 - 0.62 / 3)


def test_a_value_with_many_points_is_cut_into_quarters(record: RunRecord) -> None:
    base = record.rows[0]
    rows = [
        dataclasses.replace(base, number=n, score=n / 100, values={"training.learning_rate": n / 7})
        for n in range(1, 21)
    ]
    (found,) = marginals(rows, ["training.learning_rate"])
    assert [group.n for group in found.groups] == [5, 5, 5, 5]
    assert found.groups[0].label == "0.143 to 0.714"
    assert found.groups[0].mean == pytest.approx(0.03)


def test_a_value_that_only_some_trials_have_counts_those_only(record: RunRecord) -> None:
    base = record.rows[0]
    rows = [
        dataclasses.replace(base, number=1, score=0.1, values={"model.growth_rate": 12}),
        dataclasses.replace(base, number=2, score=0.2, values={"model.growth_rate": 24}),
        dataclasses.replace(base, number=3, score=0.9, values={}),
    ]
    (found,) = marginals(rows, ["model.growth_rate"])
    assert [(group.label, group.n) for group in found.groups] == [("12", 1), ("24", 1)]


def replicated(record: RunRecord, first: list[float], second: list[float]) -> RunRecord:
    rows: list[TrialRow] = []
    for rate, scores in ((0.1, first), (0.2, second)):
        for replicate, score in enumerate(scores):
            values = {"training.learning_rate": rate}
            rows.append(
                dataclasses.replace(
                    record.rows[0],
                    number=len(rows) + 1,
                    score=score,
                    replicate=replicate,
                    values=values,
                    configuration=values,
                )
            )
    return dataclasses.replace(record, rows=tuple(rows), missing=0)


def test_with_several_seeds_means_and_their_spread_are_compared(record: RunRecord) -> None:
    clear = said(replicated(record, [0.5, 0.52, 0.51], [0.3, 0.31, 0.32]))
    assert "best is learning_rate 0.1: 0.5100 ± 0.0100 (n=3)" in clear
    assert "more than the spread between seeds" in clear
    close = said(replicated(record, [0.5, 0.3], [0.45, 0.33]))
    assert "within the spread between seeds" in close


def test_one_seed_says_that_noise_is_unknown(record: RunRecord) -> None:
    assert "the noise is unknown" in said(record)


def test_a_loss_is_better_when_it_is_lower(record: RunRecord) -> None:
    assert "Best: trial 4 with val_loss" in said(
        dataclasses.replace(record, metric="val_loss", direction="min")
    )
