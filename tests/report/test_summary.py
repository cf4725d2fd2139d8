from __future__ import annotations

import dataclasses
import itertools

import pytest

from tests.report.rows import trial
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.report.record import RunRecord, rank
from tuner.report.summary import marginals, summarize, to_text


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
    values = [{"a": 12}, {"a": 24}, {}, {"a": [1]}, {"a": [1]}, {"a": True}] * 2
    rows = [trial(n, n / 10, each) for n, each in enumerate(values, 1)]
    (found,) = marginals(rows, ["a"])
    assert [(group.label, group.n) for group in found.groups] == [
        *(("12", 2), ("24", 2), ("[1]", 4), ("true", 2)),
    ]


def test_values_that_hardly_repeat_are_ranges_or_nothing(record: RunRecord) -> None:
    def labels(n: int) -> list[tuple[str, int]]:
        rows = [trial(i, i / 100, {"rate": i / 8}) for i in range(1, n + 1)]
        return [(g.label, g.n) for m in marginals(rows, ["rate"]) for g in m.groups]

    assert labels(7) == []
    assert labels(8) == [("0.125 to 0.5", 4), ("0.625 to 1", 4)]
    names = [trial(i, i / 9, {"kind": str(i)}) for i in range(1, 7)]
    assert marginals(names, ["kind"]) == []
    few = dataclasses.replace(record, rows=names, value_names=("kind",))
    assert to_text(summarize(few)).count("6 trials cannot tell what mattered.") == 1


def test_trials_of_one_value_are_in_one_range() -> None:
    """Nine values under five seeds: a quarter of the trials would end within the third."""
    rates = [10.0**exponent for exponent in range(-9, 0) for _ in range(5)]
    rows = [trial(i, i / 100, {"rate": rate}) for i, rate in enumerate(rates, 1)]
    (found,) = marginals(rows, ["rate"])
    assert [(group.label, group.n) for group in found.groups] == [
        *(("1e-09 to 1e-08", 10), ("1e-07 to 1e-06", 10)),
        *(("1e-05 to 0.001", 15), ("0.01 to 0.1", 10)),
    ]


def test_a_conditional_value_counts_within_its_branch_and_a_default_not_at_all() -> None:
    fixed = {"momentum": 0.0, "activation": "relu"}
    rows = [trial(i, 0.5, {"optimizer": "adam"}, fixed=fixed) for i in (1, 2)]
    rows += [
        trial(i, i / 10, {"optimizer": "sgd", "momentum": i % 2}, fixed={"activation": "tanh"})
        for i in (3, 4, 5, 6)
    ]
    means = {m.name: m.groups for m in marginals(rows, ["optimizer", "momentum", "activation"])}
    assert means.keys() == {"optimizer", "momentum"}
    assert [(g.label, g.n) for g in means["momentum"]] == [("0", 2), ("1", 2)]


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
    assert "2 seeds cannot decide a lead of 0.0100; `tuner confirm grid` can decide it" in few


def test_an_interval_that_holds_every_accuracy_is_none_and_a_tie_no_lead(
    record: RunRecord,
) -> None:
    few = said(replicated(record, [0.5, 0.3], [0.45, 0.35]))
    assert "over 2 seeds (too few for an interval of the mean)" in few
    assert "2 seeds cannot tell the two apart; `tuner confirm grid` can decide it" in few
    assert "0.0000 to 1.0000" not in few and "lead of 0.0000" not in few


def test_trials_that_a_rule_stopped_are_said_to_be_of_fewer_epochs(record: RunRecord) -> None:
    assert "A rule stopped 1 of 6 ranked trials early: its score is of fewer epochs." in said(
        record
    )
    completed = [row for row in record.rows if row.state is TrialState.COMPLETED]
    assert "A rule stopped" not in said(dataclasses.replace(record, rows=tuple(completed)))


def test_the_winner_is_described_by_what_was_searched_in_its_branch(record: RunRecord) -> None:
    """The default of a field that another branch searches is no finding."""
    rows = [
        trial(i, i / 10, {"family": "lenet", "activation": "tanh"}, i % 2, fixed={"dropout": 0})
        for i in (3, 4)
    ] + [trial(i, i / 10, {"family": "resnet", "dropout": 0.2}, i % 2) for i in (1, 2)]
    names = ("family", "activation", "dropout")
    mixed = dataclasses.replace(record, rows=tuple(rows), value_names=names, missing=0)
    assert "Best: family lenet, activation tanh with" in said(mixed)


def test_one_seed_says_that_it_cannot_tell(record: RunRecord) -> None:
    assert "One seed each cannot tell" in said(record)
    assert "`tuner confirm grid` can decide it" in said(record)
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


def test_one_lucky_trial_at_an_end_is_no_direction(record: RunRecord) -> None:
    rates = [0.001, 0.001, 0.01, 0.01, 0.1, 0.1]

    def advice(scores: list[float]) -> str:
        rows = [
            trial(n, s, {"rate": r}) for n, (s, r) in enumerate(zip(scores, rates, strict=True), 1)
        ]
        here = dataclasses.replace(record, rows=rows, missing=0, value_names=("rate",), counts={})
        return summarize(here).advice

    assert "look above" in advice([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    assert "look" not in advice([0.2, 0.2, 0.25, 0.25, 0.1, 0.3])  # the mean is best at 0.01
    assert "look" not in advice([0.2] * 6)


def test_advice_is_of_what_has_not_been_done(record: RunRecord) -> None:
    confirmed = dataclasses.replace(record, confirmed=frozenset({2}))
    assert "shows what holds" in said(confirmed)
    assert "trains the best ones" not in summarize(confirmed).advice
    running = dataclasses.replace(record, is_running=True)
    assert "run it again" not in summarize(running).advice
    assert "retry" not in summarize(running).advice
    without = dataclasses.replace(record, environment={"data": {"num_test": 0}})
    assert "confirm" not in said(without) + summarize(without).advice
    assert "more search.replicates can decide it" in said(without)


def test_a_test_set_that_was_read_twice_is_told_of(record: RunRecord) -> None:
    assert "has been read" not in said(dataclasses.replace(record, test_readings=1))
    assert "has been read 2 times" in said(dataclasses.replace(record, test_readings=2))


def test_equal_seeds_have_the_interval_of_their_images(record: RunRecord) -> None:
    data = {"validation_images": "5000 (50 per class)"}
    here = dataclasses.replace(record, environment={"data": data})
    told = said(replicated(here, [0.9536] * 3, [0.9] * 3))
    assert "(95 % interval of the mean: 0.9474 to 0.9591)" in told


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


def test_different_threads_are_told_of_ranked_trials_alone(record: RunRecord) -> None:
    def on(*threads: int | None) -> RunRecord:
        numbers = itertools.cycle(threads)
        rows = [dataclasses.replace(row, threads=next(numbers)) for row in record.ranking.ranked]
        return dataclasses.replace(record, rows=rows)

    assert "threads" not in said(on(2, None))
    assert "with different numbers of threads (1 and 2), which" in said(on(2, 1))
    unranked = [dataclasses.replace(row, threads=9) for row in record.ranking.unranked]
    assert "threads" not in said(dataclasses.replace(record, rows=[*on(2).rows, *unranked]))


def test_failed_trials_of_a_confirmation_are_none_of_retrys(record: RunRecord) -> None:
    tested = dataclasses.replace(record, objective=Objective("test_accuracy"))
    assert "tuner retry" in summarize(record).advice
    assert "tuner retry" not in summarize(tested).advice
