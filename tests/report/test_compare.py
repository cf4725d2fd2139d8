"""Comparisons: who is paired with whom, what a score costs, and what may be claimed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.report.rows import trial
from tuner.errors import InputError
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report.comparing import comparison, sheet
from tuner.report.comparing.compare import CompareOptions, Comparison, compare
from tuner.report.comparing.reach import cost_at, pareto
from tuner.report.comparing.sides import Curve, Source
from tuner.report.record import RunRecord

PLAIN = CompareOptions()


def source(
    name: str,
    rows: Sequence[TrialRow],
    *,
    names: Sequence[str] = (),
    metric: str = "val_accuracy",
    direction: str = "max",
    curves: Mapping[int, Curve] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Source:
    record = RunRecord(
        name=name,
        objective=Objective(metric, direction),
        rows=tuple(rows),
        value_names=tuple(names),
        metric_names=(metric,),
        counts=dict.fromkeys(TrialState, 0),
        environment=environment or {},
    )
    return Source(record, curves or {})


def seeds(family: str, scores: Sequence[float], **more: Any) -> list[TrialRow]:
    """One configuration under as many seeds as there are scores."""
    fixed = {"model.family": family}
    return [
        trial(i + 1, score, {}, i, fixed=fixed, key=f"{family}{i}", **more)
        for i, score in enumerate(scores)
    ]


def grid(family: str, shift: float, depths: Sequence[int], rates: Sequence[float], **more: Any):
    points = itertools.product(depths, rates)
    return [
        trial(
            i + 1,
            0.5 + shift + 0.01 * depth / 10 + rate,
            {"model.depth": depth, "training.learning_rate": rate},
            fixed={"model.family": family},
            key=f"{family}{i}",
            **more,
        )
        for i, (depth, rate) in enumerate(points)
    ]


def only(found: Comparison):
    (difference,) = found.differences
    return difference


# ---------------------------------------------------------------------- pairs


def test_one_configuration_under_the_same_seeds_is_paired_by_seed():
    one = source("one", seeds("resnet", [0.5, 0.52, 0.49, 0.51, 0.5, 0.53]))
    other = source("other", seeds("densenet", [0.61, 0.62, 0.6, 0.6, 0.63, 0.64]))
    found = only(compare([one, other], PLAIN))
    assert (found.how, found.unit) == ("paired by seed", "seed")
    assert found.difference.told("seed") == "better"
    assert found.difference.mean == pytest.approx(0.65 / 6)


def test_three_seeds_decide_nothing():
    one, other = source("one", seeds("a", [0.1, 0.2, 0.1])), source("b", seeds("b", [0.9] * 3))
    found = compare([one, other], PLAIN)
    text = sheet.to_text(comparison.sections(found), width=80)
    assert "not decidable with 3 seeds" in text
    assert "Fewer than 6 pairs decide nothing:" in text


def test_other_seeds_are_no_pairs():
    rows = seeds("b", [0.5, 0.6, 0.7, 0.65])
    moved = [trial(r.number, r.score, {}, r.seed + 100, fixed=r.configuration) for r in rows]
    found = only(
        compare([source("a", seeds("a", [0.1, 0.2, 0.1, 0.2])), source("b", moved)], PLAIN)
    )
    assert found.how == "unpaired"
    assert not found.difference.is_paired
    assert found.difference.n == 4


def test_grids_are_paired_by_the_values_that_both_have():
    names = ("model.depth", "training.learning_rate")
    one = source("one", grid("resnet", 0, (20, 32), (0.1, 0.2, 0.3)), names=names)
    other = source("other", grid("densenet", 0.02, (20, 32), (0.1, 0.2, 0.3)), names=names)
    found = only(compare([one, other], PLAIN))
    assert found.how == "paired by depth and learning_rate"
    assert found.difference.mean == pytest.approx(0.02)
    assert found.difference.told("pair") == "better"


def test_what_sets_the_sides_apart_is_not_paired_by():
    rows = [*grid("a", 0, (20,), (0.1, 0.2)), *grid("b", 0.1, (40,), (0.1, 0.2))]
    one, other = source("one", rows[:2], names=NAMES), source("other", rows[2:], names=NAMES)
    assert only(compare([one, other], PLAIN)).how == "paired by learning_rate"


def test_seeds_and_values_are_paired_by_together():
    rows = [
        trial(
            1 + seed + 3 * depth, 0.5 + depth / 9 + seed / 99 + shift, {"model.depth": depth}, seed
        )
        for shift in (0.0, 0.1)
        for depth in (1, 2)
        for seed in (0, 1, 2)
    ]
    sources = [source(name, part, names=NAMES) for name, part in (("a", rows[:6]), ("b", rows[6:]))]
    found = only(compare(sources, PLAIN))
    assert (found.how, found.difference.n) == ("paired by depth and seed", 6)
    assert found.difference.told(found.unit) == "better"


NAMES = ("model.depth", "training.learning_rate")


def test_groups_of_one_experiment_are_paired_by_the_rest():
    rows = grid("a", 0, (20, 32, 44), (0.1, 0.2, 0.3))
    found = compare([source("one", rows, names=NAMES)], CompareOptions(by="depth"))
    assert [side.name for side in found.sides] == ["20", "32", "44"]
    assert found.baseline == "20"
    assert {difference.how for difference in found.differences} == {"paired by learning_rate"}
    assert {difference.difference.n for difference in found.differences} == {3}


def test_own_settings_are_averaged_over():
    rows = grid("a", 0, (20, 32), (0.1, 0.2, 0.3)) + grid("b", 0, (20,), (0.1, 0.2, 0.3))
    numbered = [trial(i, r.score, r.values, fixed=r.configuration) for i, r in enumerate(rows, 1)]
    options = CompareOptions(by="model.family")
    found = only(compare([source("x", numbered, names=("training.learning_rate",))], options))
    assert found.how == "paired by learning_rate; means over each side's other settings"
    assert found.difference.n == 3


def test_random_searches_share_no_point_and_are_not_paired():
    one = [trial(i, 0.5 + i / 100, {"rate": 0.1 + i / 1000}) for i in range(1, 9)]
    other = [trial(i, 0.4 + i / 100, {"rate": 0.2 + i / 999}) for i in range(1, 7)]
    sources = [source("one", one, names=("rate",)), source("other", other, names=("rate",))]
    found = only(compare(sources, PLAIN))
    assert (found.how, found.difference.n) == ("unpaired", 6)
    assert found.difference.told("trial") == "worse"


def test_trials_without_a_partner_are_counted():
    one = source("one", grid("a", 0, (20,), (0.1, 0.2, 0.3, 0.4)), names=NAMES)
    other = source("other", grid("b", 0, (20,), (0.2, 0.3, 0.4)), names=NAMES)
    found = only(compare([one, other], PLAIN))
    assert (found.difference.n, found.without_partner) == (3, 1)


def test_several_sides_are_judged_together():
    scores = [0.5, 0.52, 0.49, 0.51, 0.5, 0.53]
    sources = [
        source(name, seeds(name, [score + shift for score in scores]))
        for name, shift in (("a", 0.0), ("b", 0.1), ("c", 0.2))
    ]
    told = [d.difference.told(d.unit) for d in compare(sources, PLAIN).differences]
    assert told == ["not decidable with 6 seeds in 2 comparisons"] * 2
    text = sheet.to_text(comparison.sections(compare(sources, PLAIN)), width=80)
    assert "Fewer than 7 pairs decide nothing in 2 comparisons" in text


def test_lower_is_better_where_the_objective_says_so():
    one = source("one", seeds("a", [0.5 + i / 100 for i in range(6)]), direction="min")
    other = source("other", seeds("b", [0.3 + i / 100 for i in range(6)]), direction="min")
    found = compare([one, other], PLAIN)
    assert only(found).difference.told() == "better"
    assert found.sides[0].best.score == 0.5
    assert found.target == 0.5 + 0.025  # the mean of the weaker side's configuration


# ---------------------------------------------------------------------- costs


def test_a_front_keeps_what_nothing_cheaper_beats():
    points = [(10, 0.5), (20, 0.4), (20, 0.6), (30, 0.6), (40, 0.7)]
    assert pareto(points) == ((10, 0.5), (20, 0.6), (40, 0.7))


def test_costs_lie_geometrically_between_the_points_of_a_front():
    front = ((100, 0.5), (400, 0.7))
    assert cost_at(front, 0.6) == pytest.approx(200)
    assert cost_at(front, 0.7) == 400
    assert cost_at(front, 0.3) == 100
    assert cost_at(front, 0.71) is None
    assert cost_at((), 0.1) is None


def curve(*values: float) -> Curve:
    return tuple((value, 2.0) for value in values)


def costly() -> list[Source]:
    one = trial(1, 0.4, {}, parameters=1000, macs=10, fixed={"training.batch_size": 32})
    other = trial(1, 0.5, {}, parameters=4000, macs=20, fixed={"training.batch_size": 64}, key="o")
    return [
        source("one", [one], curves={1: curve(0.1, 0.2, 0.3, 0.4)}),
        source("other", [other], curves={1: curve(0.3, 0.4, float("nan"), 0.5)}),
    ]


def test_costs_at_the_best_score_that_every_side_reaches():
    found = compare(costly(), PLAIN)
    assert (found.target, found.target_is_given) == (0.4, False)
    one, other = found.sides
    assert (one.reached.epochs, one.reached.seconds) == (4, 8.0)
    assert (other.reached.epochs, other.reached.seconds) == (2, 4.0)
    assert other.ratios == pytest.approx(
        {"parameters": 4, "macs": 2, "epochs": 0.5, "steps": 0.25, "seconds": 0.5}
    )


def test_a_target_that_a_side_never_reaches():
    found = compare(costly(), CompareOptions(target=0.45))
    one, other = found.sides
    assert (one.reached.count, one.reached.epochs) == (0, None)
    assert other.reached.count == 1
    assert set(other.ratios.values()) == {None}
    assert "relative to" not in sheet.to_text(comparison.sections(found), width=80)


def test_a_configuration_counts_by_the_mean_of_its_seeds():
    rows = seeds("a", [0.4, 0.6], parameters=100)
    curves = {1: curve(0.2, 0.4), 2: curve(0.4, 0.6, 0.5)}
    found = compare([source("a", rows, curves=curves), *costly()[:1]], PLAIN)
    side = found.sides[0]
    assert side.front[0].score == pytest.approx(0.5)
    assert side.front[0].trials == ("a/1", "a/2")
    assert side.costs["epochs"] == pytest.approx(1 * 2 ** (0.1 / 0.2))  # 0.3, then 0.5


# ---------------------------------------------------------------------- sides


def test_objectives_that_differ_are_refused_by_name():
    one, other = source("one", []), source("other", [], metric="val_loss", direction="min")
    with pytest.raises(InputError, match="one and other: their scores mean different things") as e:
        compare([one, other], PLAIN)
    assert "val_accuracy (max) in one, val_loss (min) in other" in str(e.value)


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (["a"], PLAIN, "nothing to be compared with"),
        (["a", "a"], PLAIN, "given twice"),
        (["a", "b"], CompareOptions(baseline="c"), "no side has this name"),
        (["a"], CompareOptions(by="model.famly"), "did you mean model.family"),
        (["a"], CompareOptions(by="family"), "not two values"),
    ],
)
def test_what_cannot_be_compared(sources, options, message):
    with pytest.raises(InputError, match=message):
        compare([source(name, seeds("a", [0.1, 0.2])) for name in sources], options)


def test_too_many_groups_are_refused():
    rows = [trial(i, i / 100, {"rate": i / 7}) for i in range(1, 40)]
    with pytest.raises(InputError, match="39 values among trials"):
        compare([source("a", rows, names=("rate",))], CompareOptions(by="rate"))


def test_another_baseline_turns_the_difference_round():
    sources = [source("one", seeds("a", [0.1, 0.2])), source("other", seeds("b", [0.3, 0.5]))]
    one = only(compare(sources, PLAIN))
    other = only(compare(sources, CompareOptions(baseline="other")))
    assert (one.side, other.side) == ("other", "one")
    assert one.difference.mean == pytest.approx(-other.difference.mean)


def test_groups_of_two_experiments_share_trials_once():
    rows = seeds("a", [0.1, 0.2]) + [
        trial(i + 3, 0.3, {}, i, fixed={"model.family": "b"}, key=f"b{i}") for i in range(2)
    ]
    found = compare([source("x", rows), source("y", rows)], CompareOptions(by="family"))
    assert [side.num_trials for side in found.sides] == [2, 2]


def test_left_out_trials_are_said_where_they_belong():
    rows = [
        *seeds("a", [0.1, 0.2, float("inf")]),
        trial(4, None, {}, fixed={"model.family": "b"}, state=TrialState.FAILED, key="f"),
        trial(5, 0.5, {}, fixed={"model.family": "b"}, key="b1", state=TrialState.STOPPED),
        trial(6, 0.5, {}, key="none"),
        trial(7, None, {}, fixed={"model.family": "c"}, state=TrialState.DIVERGED, key="d"),
    ]
    found = compare([source("x", rows)], CompareOptions(by="family"))
    assert found.sides[0].left_out == {"with an infinite score": 1}
    assert found.sides[1].left_out == {"without a score": 1}
    assert found.sides[1].stopped == 1
    assert found.left_out == {"without model.family": 1, "without a score": 1}


def test_a_side_without_a_score_is_shown_and_nothing_is_claimed():
    found = compare([source("one", seeds("a", [0.1, 0.2])), source("empty", [])], PLAIN)
    assert only(found).how == "no trial of empty has a score"
    assert comparison.to_json(found)["sides"][1]["mean"] is None
    empty = compare([source("one", []), source("two", [])], PLAIN)
    assert empty.target is None
    assert "–" in sheet.to_text(comparison.sections(empty), width=80)


def test_unequal_conditions_are_noted():
    sources = [
        source("one", seeds("a", [0.1], epochs=3), environment={"data": {"x": 1}, "device": "cpu"}),
        source("other", seeds("b", [0.2], epochs=5), environment={"data": {"x": 2}, "device": "g"}),
    ]
    assert compare(sources, PLAIN).notes == (
        "The experiments were trained or validated on different data.",
        "Seconds are of different devices: cpu and g.",
        "The longest trials differ in epochs: one 3 and other 5.",
    )


def test_a_thousand_trials_a_side_take_a_second_at_most():
    def large(name: str) -> Source:
        rates = [rate / 200 for rate in range(200)]
        rows = grid(name, 0, (20, 32, 44, 56, 110), rates, parameters=10)
        curves = {row.number: curve(*[row.score * e / 30 for e in range(1, 31)]) for row in rows}
        return source(name, rows, names=NAMES, curves=curves)

    sources = [large("one"), large("other")]
    start = time.process_time()
    assert only(compare(sources, PLAIN)).difference.n == 1000
    assert time.process_time() - start < 2


# ---------------------------------------------------------------------- text


HOSTILE = "=\x1b[31m|$x_1$\\input{a}*&"


def hostile() -> Comparison:
    return compare(
        [source(HOSTILE, seeds("a", [0.1, 0.2])), source("b" * 100, seeds("b", [0.3, 0.5]))],
        PLAIN,
    )


def test_names_stay_text_in_every_format():
    sections = comparison.sections(hostile())
    text = sheet.to_text(sections, width=80)
    assert "\x1b" not in text
    latex = sheet.to_latex(sections)
    assert "\\input" not in latex.replace("\\textbackslash{}input", "")
    assert "\\$x\\_1\\$" in latex
    markdown = sheet.to_markdown(sections)
    assert "\\|\\$x_1\\$\\\\input{a}\\*\\&" in markdown
    csv = comparison.to_csv(hostile())
    assert "\x1b" not in csv
    assert not any(line.startswith(("=", '"=')) for line in csv.splitlines())


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    sources = [
        source(f"side-{i}" + "x" * 30, grid("a", i / 100, (20,), (0.1, 0.2))) for i in range(4)
    ]
    for found in (hostile(), compare(sources, PLAIN)):
        text = sheet.to_text(comparison.sections(found), width=width)
        assert max(map(len, text.splitlines())) <= width
