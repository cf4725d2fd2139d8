"""Comparisons: who is paired with whom, what a score costs, and what may be claimed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.report.rows import in_context, trial
from tuner.errors import InputError
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import comparison_tables, render
from tuner.report.comparison import CompareOptions, Comparison, compare
from tuner.report.cost_at_score import cost_at, pareto
from tuner.report.record import RunRecord
from tuner.report.sides import ComparedExperiment, Curve

PLAIN = CompareOptions()
NAMES = ("model.depth", "training.learning_rate")
RATES = (0.1, 0.2, 0.3)
SIX = [0.5, 0.52, 0.49, 0.51, 0.5, 0.53]


def source(
    name: str,
    rows: Sequence[TrialRow],
    *,
    names: Sequence[str] = (),
    objective: Objective = Objective(),  # noqa: B008
    curves: Mapping[int, Curve] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> ComparedExperiment:
    record = RunRecord(
        name=name,
        objective=objective,
        rows=tuple(rows),
        value_names=tuple(names),
        metric_names=(objective.metric,),
        counts=dict.fromkeys(TrialState, 0),
        environment=environment or {},
    )
    return ComparedExperiment(record, curves or {})


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


def pair(one: Sequence[TrialRow], other: Sequence[TrialRow], *names: str, **more: Any):
    return [source("one", one, names=names, **more), source("other", other, names=names, **more)]


def only(found: Comparison):
    (difference,) = found.differences
    return difference


def text(found: Comparison, width: int = 80) -> str:
    return render.to_text(*comparison_tables.sections(found), width=width)


# ---------------------------------------------------------------------- pairs


def both_depth_and_seed(shift: float) -> list[TrialRow]:
    return [
        trial(
            1 + seed + 3 * depth, 0.5 + depth / 9 + seed / 99 + shift, {"model.depth": depth}, seed
        )
        for depth in (1, 2)
        for seed in (0, 1, 2)
    ]


def random_search(shift: float, step: float, n: int) -> list[TrialRow]:
    return [trial(i, shift + i / 100, {"rate": 0.1 + i * step}) for i in range(1, n + 1)]


@pytest.mark.parametrize(
    ("sources", "how", "n", "told"),
    [
        (
            pair(seeds("resnet", SIX), seeds("densenet", [score + 0.1 for score in SIX[::-1]])),
            ("paired by seed", "seed", 0), 6, "better",
        ),
        (
            pair(seeds("a", [0.1, 0.2, 0.1, 0.2]), seeds("b", [0.5, 0.6, 0.7, 0.65])[::-1]),
            ("paired by seed", "seed", 0), 4, "not decidable with 4 seeds",
        ),
        (
            pair(grid("a", 0, (20, 32), RATES), grid("b", 0.02, (20, 32), RATES), *NAMES),
            ("paired by depth and learning_rate", "pair", 0), 6, "better",
        ),
        # What sets the sides apart is not paired by.
        (
            pair(grid("a", 0, (20,), (0.1, 0.2)), grid("b", 0.1, (40,), (0.1, 0.2)), *NAMES),
            ("paired by learning_rate", "pair", 0), 2, "not decidable with 2 pairs",
        ),
        (
            pair(both_depth_and_seed(0.0), both_depth_and_seed(0.1), *NAMES),
            ("paired by depth and seed", "pair", 0), 6, "better",
        ),
        # Random searches share no point.
        (
            pair(random_search(0.5, 1e-3, 8), random_search(0.4, 1.1e-3, 6), "rate"),
            ("unpaired", "trial", 0), 6, "worse",
        ),
        (
            pair(grid("a", 0, (20,), (*RATES, 0.4)), grid("b", 0, (20,), (0.2, 0.3, 0.4)), *NAMES),
            ("paired by learning_rate", "pair", 1), 3, "not decidable with 3 pairs",
        ),
    ],
)  # fmt: skip
def test_who_is_paired_with_whom(sources, how, n, told):
    one = only(compare(sources, PLAIN))
    assert (one.how, one.unit, one.without_partner) == how
    assert (one.difference.n, one.difference.told(one.unit)) == (n, told)


def test_other_seeds_are_no_pairs():
    rows = seeds("b", [0.5, 0.6, 0.7, 0.65])
    moved = [trial(r.number, r.score, {}, r.seed + 100, fixed=r.configuration) for r in rows]
    one = only(compare(pair(seeds("a", [0.1, 0.2, 0.1, 0.2]), moved), PLAIN))
    assert (one.how, one.difference.is_paired) == ("unpaired", False)


def test_groups_of_one_experiment_are_paired_by_the_rest():
    rows = grid("a", 0, (20, 32, 44), (0.1, 0.2, 0.3))
    found = compare([source("one", rows, names=NAMES)], CompareOptions(by="depth"))
    assert [side.name for side in found.sides] == ["20", "32", "44"]
    assert found.baseline == "20"
    assert {(one.how, one.difference.n) for one in found.differences} == {
        ("paired by learning_rate", 3)
    }


def test_own_settings_are_averaged_over():
    rows = grid("a", 0, (20, 32), (0.1, 0.2, 0.3)) + grid("b", 0, (20,), (0.1, 0.2, 0.3))
    numbered = [trial(i, r.score, r.values, fixed=r.configuration) for i, r in enumerate(rows, 1)]
    options = CompareOptions(by="model.family")
    one = only(compare([source("x", numbered, names=("training.learning_rate",))], options))
    assert one.how == "paired by learning_rate; means over each side's other settings"
    assert one.difference.n == 3


def test_too_few_seeds_are_said_and_how_many_would_do():
    few = compare(pair(seeds("a", [0.1, 0.2, 0.1]), seeds("b", [0.9] * 3)), PLAIN)
    assert "not decidable with 3 seeds" in text(few)
    assert "Fewer than 6 pairs decide nothing:" in text(few)
    sides = [source(f"{i}", seeds(f"{i}", [s + i / 10 for s in SIX])) for i in range(3)]
    found = compare(sides, PLAIN)  # judged together
    told = [d.difference.told(d.unit) for d in found.differences]
    assert told == ["not decidable with 6 seeds in 2 comparisons"] * 2
    assert "Fewer than 7 pairs decide nothing in 2 comparisons" in text(found)


def test_lower_is_better_where_the_objective_says_so():
    rows = (
        seeds(name, [shift + i / 100 for i in range(6)]) for name, shift in (("a", 0.5), ("b", 0.3))
    )
    found = compare(pair(*rows, objective=Objective("val_loss", "min")), PLAIN)
    assert only(found).difference.told() == "better"
    assert found.sides[0].best.score == 0.5
    assert found.target == 0.5 + 0.025  # the mean of the weaker side's configuration


def test_a_front_keeps_what_nothing_cheaper_beats():
    points = [(10, 0.5), (20, 0.4), (20, 0.6), (30, 0.6), (40, 0.7), (5, float("-inf"))]
    assert pareto(points) == ((10, 0.5), (20, 0.6), (40, 0.7))


# ---------------------------------------------------------------------- costs


def test_costs_lie_geometrically_between_the_points_of_a_front():
    front = ((100, 0.5), (400, 0.7))
    costs = [cost_at(front, level) for level in (0.6, 0.7, 0.3, 0.71)]
    assert costs == [pytest.approx(200), 400, 100, None]
    assert cost_at((), 0.1) is None


def curve(*values: float) -> Curve:
    return tuple((value, 2.0) for value in values)


def costly() -> list[ComparedExperiment]:
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
    assert (one.reached.count, one.reached.epochs, other.reached.count) == (0, None, 1)
    assert set(other.ratios.values()) == {None}
    assert "relative to" not in text(found)


def test_a_configuration_counts_by_the_mean_of_its_seeds():
    rows = seeds("a", [0.4, 0.6], parameters=100)
    curves = {1: curve(0.2, 0.4), 2: curve(0.4, 0.6, 0.5)}
    side = compare([source("a", rows, curves=curves), *costly()[:1]], PLAIN).sides[0]
    assert side.front[0].score == pytest.approx(0.5)
    assert side.front[0].trials == ("a/1", "a/2")
    assert side.costs["epochs"] == pytest.approx(1 * 2 ** (0.1 / 0.2))  # 0.3, then 0.5


# ---------------------------------------------------------------------- sides


def test_objectives_that_differ_are_refused_by_name():
    one, other = source("one", []), source("other", [], objective=Objective("val_loss", "min"))
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
        (["a"], CompareOptions(by="rate"), "39 values among trials"),
    ],
)
def test_what_cannot_be_compared(sources, options, message):
    rates = [trial(i, i / 100, {"rate": i / 7}) for i in range(1, 40)]
    rows = rates if options.by == "rate" else seeds("a", [0.1, 0.2])
    with pytest.raises(InputError, match=message):
        compare([source(name, rows) for name in sources], options)


def test_another_baseline_turns_the_difference_round():
    sources = pair(seeds("a", [0.1, 0.2]), seeds("b", [0.3, 0.5]))
    one, other = (only(compare(sources, CompareOptions(baseline=b))) for b in ("", "other"))
    assert (one.side, other.side) == ("other", "one")
    assert one.difference.mean == pytest.approx(-other.difference.mean)


def test_groups_of_two_experiments_share_trials_once():
    rows = seeds("a", [0.1, 0.2]) + seeds("b", [0.3, 0.3])
    found = compare(pair(rows, rows), CompareOptions(by="family"))
    assert [len(side.entries) for side in found.sides] == [2, 2]


def test_left_out_trials_are_said_where_they_belong():
    rows = [
        *seeds("a", [0.1, 0.2, float("inf")]),
        trial(4, None, {}, fixed={"model.family": "b"}, state=TrialState.FAILED, key="f"),
        trial(5, 0.5, {}, fixed={"model.family": "b"}, key="b1", state=TrialState.STOPPED),
        trial(6, 0.5, {}, key="none"),
        trial(7, None, {}, fixed={"model.family": "c"}, state=TrialState.DIVERGED, key="d"),
    ]
    found = compare([source("x", rows)], CompareOptions(by="family"))
    one, other = found.sides
    assert one.left_out == {"with an infinite score": 1}
    assert (other.left_out, other.stopped) == ({"without a score": 1}, 1)
    assert found.left_out == {"without model.family": 1, "without a score": 1}


def test_a_side_without_a_score_is_shown_and_nothing_is_claimed():
    found = compare([source("one", seeds("a", [0.1, 0.2])), source("empty", [])], PLAIN)
    assert only(found).how == "no trial of empty has a score"
    assert comparison_tables.to_json(found)["sides"][1]["mean"] is None
    empty = compare(pair([], []), PLAIN)
    assert empty.target is None
    assert "–" in text(empty)


# ---------------------------------------------------------------------- equal training


def stopping(family: str, curves: Sequence[Sequence[float]], full: int) -> ComparedExperiment:
    """Trials of a random search with these curves; a rule stopped those that are not full."""
    rows = [
        trial(
            i + 1, max(curve), {"rate": i / 7 + len(family)}, 0, epochs=len(curve),
            fixed={"model.family": family}, key=f"{family}{i}",
            state=TrialState.COMPLETED if len(curve) == full else TrialState.STOPPED,
        )
        for i, curve in enumerate(curves)
    ]  # fmt: skip
    known = {i + 1: tuple((v, 1.0) for v in curve) for i, curve in enumerate(curves)}
    return source(family, rows, names=("rate",), curves=known)


def test_stopped_trials_are_compared_after_equal_training():
    """Both families are alike in every epoch; a rule let one of them train on."""
    short = stopping("resnet", [[0.3 + i / 100] for i in range(8)], full=4)
    long = stopping("densenet", [[0.3 + i / 100, 0.5, 0.6, 0.7] for i in range(8)], full=4)
    found = compare([short, long], PLAIN)
    assert only(found).difference.mean == pytest.approx(0)
    assert only(found).difference.told() == "within noise"
    assert "in the first 1 epoch, which every trial has" in only(found).how
    assert comparison_tables.verdicts(found)[0].startswith(
        "No difference from resnet is shown for densenet"
    )
    assert text(found).startswith("No difference from resnet is shown")


def test_of_stopped_pairs_each_is_compared_after_equal_training():
    pairs = [([0.2, 0.3, 0.4], [0.3, 0.4, 0.5]), ([0.1], [0.3, 0.5]), ([0.2, 0.4], [0.4])] * 2
    rows, curves = ([], []), ({}, {})
    for seed, both in enumerate(pairs):
        for some, known, curve in zip(rows, curves, both, strict=True):
            state = TrialState.COMPLETED if len(curve) == 3 else TrialState.STOPPED
            some.append(trial(seed + 1, max(curve), {}, seed, epochs=len(curve), state=state))
            known[seed + 1] = tuple((v, 1.0) for v in curve)
    found = compare(
        [source(n, r, curves=c) for n, r, c in zip("ab", rows, curves, strict=True)], PLAIN
    )
    assert only(found).how == "paired by seed; each pair after equally many epochs"
    assert only(found).difference.mean == pytest.approx((0.1 + 0.2 + 0.2) / 3)


def test_without_curves_unequal_training_is_not_compared():
    sources = [source("one", seeds("a", SIX)), source("other", seeds("b", SIX, epochs=5))]
    found = compare(sources, PLAIN)
    assert (only(found).difference, only(found).how) == (
        None, "no test: their trials were trained for 3 to 5 epochs",
    )  # fmt: skip
    assert comparison_tables.verdicts(found) == [
        "No test against one: other (their trials were trained for 3 to 5 epochs)."
    ]


def test_epochs_may_be_what_is_compared():
    rows = [
        trial(n, 0.1 * epochs, {"training.epochs": epochs}, n // 2, epochs=epochs)
        for n, epochs in enumerate([3, 5] * 6)
    ]
    found = compare([source("x", rows, names=("training.epochs",))], CompareOptions(by="epochs"))
    assert only(found).difference.told() == "better"


# ---------------------------------------------------------------------- other data


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


def on_data(name: str, family: str, shift: float = 0.0, **data: Any) -> ComparedExperiment:
    rows = seeds(family, [0.5 + shift + i / 100 for i in range(6)], parameters=10)
    return source(name, [in_context(row, **data) for row in rows])


def test_long_paths_of_other_data_are_told_apart_by_their_ends():
    home = "/home/somebody/projects"
    sources = [
        on_data(name, name, dataset=f"{home}/{name}.npz", fingerprint=f"sha256:{name * 9}")
        for name in ("shapes", "digits")
    ]
    first = comparison_tables.sections(compare(sources, PLAIN))[0].title
    assert "ojects/digits.npz and …" in first and "ojects/shapes.npz" in first
    assert "fingerprint sha256:digit… and sha256:shape…" in first


@pytest.mark.parametrize(
    "data", [{"dataset": "a.npz", "fingerprint": "f"}, {"validation": 0.1}, {"seed": 1}]
)
def test_scores_of_other_images_are_shown_but_nothing_is_claimed(data):
    sources = [on_data("one", "a"), on_data("other", "b", 0.3, **data), on_data("third", "c", 0.2)]
    found = compare(sources, PLAIN)
    other, third = found.differences
    assert (other.difference, other.how) == (None, "no test: the scores are of different data")
    assert third.difference.told() == "better"  # alone: the other costs it nothing
    assert found.target is None
    first, scores = comparison_tables.sections(found)[:2]
    assert first.title.startswith("other and one do not compare: their scores are of different")
    assert all(f"data.{name}" in first.title for name in data)
    assert found.incomparable[0] == first.title
    assert scores.marked == frozenset()
    ratios = [s.ratios["parameters"] for s in compare(sources, CompareOptions(target=0.5)).sides]
    assert ratios == [1, None, 1]


def test_files_of_the_same_content_compare():
    sources = [on_data("one", "a", dataset="a.npz"), on_data("other", "b", 0.3, dataset="b.npz")]
    assert only(compare(sources, PLAIN)).difference.told() == "better"


def test_trials_of_different_data_are_not_grouped_together():
    sources = [on_data("one", "a"), on_data("other", "b", validation=1000)]
    with pytest.raises(InputError, match="validation 5000 and 1000"):
        compare(sources, CompareOptions(by="family"))


@pytest.mark.parametrize(
    ("data", "compares"),
    [
        ({"content": "d", "split": "s", "train_images": 100}, False),
        ({"content": "c", "split": "t", "train_images": 100}, False),
        ({"content": "c", "split": "t", "train_images": 50}, True),
    ],
)
def test_older_ledgers_are_told_apart_by_the_hashes_of_their_data(data, compares):
    known = {"content": "c", "split": "s", "train_images": 100}
    sources = [
        source("one", seeds("a", [0.1, 0.2]), environment={"data": known}),
        source("other", seeds("b", [0.1, 0.2]), environment={"data": data}),
    ]
    found = compare(sources, PLAIN)
    assert (only(found).difference is not None) == compares
    assert "The experiments were trained or validated on different data." in found.notes


# ---------------------------------------------------------------------- size, text


HOSTILE = "=\x1b[31m|$x_1$\\input{a}*&"


def hostile() -> Comparison:
    rows = seeds("a", [0.1, 0.2]), seeds("b", [0.3, 0.5])
    return compare([source(HOSTILE, rows[0]), source("b" * 100, rows[1])], PLAIN)


def test_names_stay_text_in_every_format():
    sections = comparison_tables.sections(hostile())
    assert "\x1b" not in text(hostile())
    latex = render.to_latex(*sections)
    assert "\\input" not in latex.replace("\\textbackslash{}input", "")
    assert "\\$x\\_1\\$" in latex
    assert "\\|\\$x_1\\$\\\\input{a}\\*\\&" in render.to_markdown(*sections)
    csv = comparison_tables.to_csv(hostile())
    assert "\x1b" not in csv
    assert not any(line.startswith(("=", '"=')) for line in csv.splitlines())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    names = [f"side-{i}" + "x" * 30 for i in range(4)]
    sources = [source(n, grid("a", i / 100, (20,), (0.1, 0.2))) for i, n in enumerate(names)]
    for found in (hostile(), compare(sources, PLAIN)):
        assert max(map(len, text(found, width).splitlines())) <= width


def test_sides_that_were_trained_with_other_threads_are_told_so():
    def with_threads(*counts: int) -> list[ComparedExperiment]:
        rows = [
            [dataclasses.replace(row, threads=n) for row in grid(f"n{n}", 0, (20,), RATES)]
            for n in counts
        ]
        return pair(*rows, *NAMES)

    assert "threads" not in text(compare(with_threads(2, 2), PLAIN))
    told = " ".join(text(compare(with_threads(2, 1), PLAIN)).split())
    assert "trained with different numbers of threads (1 and 2), which alone moves" in told
