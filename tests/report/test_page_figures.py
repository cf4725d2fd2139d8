"""What the page's figures compute, before anything is drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.report import page_ledgers
from tests.report.page_ledgers import Plan
from tuner.experiment.trial import TrialState
from tuner.report.page.axes import ABSENT, axes_of, value_axis
from tuner.report.page.drawing import coverage
from tuner.report.page.html import clean, embedded, label, tick
from tuner.report.page.learning import (
    curves_figure,
    curves_of,
    pareto_front,
    progress_of,
    timeline_of,
)
from tuner.report.page.overview import histogram_of, sparkline_of
from tuner.report.page.search_space import (
    bins_of,
    pair_of,
    parallel_of,
    slice_figure,
    slice_of,
)
from tuner.report.page.source import PageSource, read_source


def source_of(results: Path, plans: list[Plan], **how: object) -> PageSource:
    return read_source(page_ledgers.write(results, "run", plans, **how))  # type: ignore[arg-type]


@pytest.fixture
def mixed(tmp_path: Path) -> PageSource:
    return source_of(tmp_path, page_ledgers.mixed())


@pytest.fixture
def fixed(folder) -> PageSource:
    return read_source(folder)


def test_an_axis_has_only_trials_whose_branch_searched_it(mixed):
    """The default of a field in the branch of another family was nobody's choice."""
    axes = axes_of(mixed)
    figure = parallel_of(mixed, axes)
    for axis, dimension in zip(axes, figure.dimensions, strict=False):
        without = [axis.name not in row.values for row in figure.rows]
        absent = [place for place, text in dimension.ticks if text == "(none)"]
        assert [place in absent for place in dimension.positions] == without


# ---------------------------------------------------------------------- text


def test_embedded_json_cannot_end_its_element_and_says_the_same():
    value = {"<b>": "</script>&\u2028\u2029", "n": [1, None, 0.5]}
    text = embedded(value)
    assert not set("<>&\u2028\u2029") & set(text) and json.loads(text) == value
    assert embedded("\ud83d") == '"?"'  # a lone surrogate does not stop the page
    with pytest.raises(ValueError):
        embedded([math.nan])


def test_texts_on_the_page_hide_markup_from_plotly_and_control_characters_from_everyone():
    assert label("<b>&lt;") == "&lt;b&gt;&amp;lt;"
    assert len(tick("x" * 100)) == 22
    assert clean("a\n\x1b[31mb\u202e") == "a\n\ufffd[31mb\ufffd"


# ---------------------------------------------------------------------- axes


def test_a_choice_of_numbers_is_a_row_of_categories_in_their_order():
    axis = value_axis("a", "a", [1e-2, 1e-3, ABSENT, 1e-3], "choice")
    assert axis.is_category and axis.labels == ("0.001", "0.01")
    assert [axis.position(value) for value in (1e-2, 1e-3, ABSENT, 5)] == [1, 0, None, None]


@pytest.mark.parametrize("spread", ["choice", None])  # None: of a person's own program
def test_a_choice_that_spans_decades_is_placed_by_its_logarithm(spread):
    axis = value_axis("lr", "lr", [1e-4, 1e-3, 1e-2, 1e-1, 1e-1], spread)
    assert axis.kind == "log"
    assert axis.ticks == ((-4, "0.0001"), (-3, "0.001"), (-2, "0.01"), (-1, "0.1"))
    assert axis.spread == pytest.approx(0.36)  # its trials lie side by side, and within the axis
    assert axis.span[0] <= -4 - axis.spread / 2
    assert value_axis("l2", "l2", [0, 1e-4, 1e-2], spread).is_category  # zero has no logarithm


def test_values_of_an_own_program_that_hardly_come_twice_are_from_a_range():
    assert value_axis("rate", "rate", [0.1, 0.23, 0.31, 0.38, 0.42], None).kind == "linear"
    assert value_axis("units", "units", [8, 16, 24, 32] * 3, None).is_category
    assert value_axis("rate", "rate", [0.1, 0.23, 0.31, 0.38, 0.42], "choice").is_category


def test_a_line_joins_means_only_along_numbers(tmp_path):
    scores = {("sgd", 8): 0.0, ("adam", 8): 0.9, ("sgd", 20): 1.0, ("adam", 20): 1.0}
    plans = [Plan({"optimizer": o, "depth": d}, [score]) for (o, d), score in scores.items()]
    source = source_of(tmp_path, plans)
    for axis in axes_of(source):
        figure = slice_figure(source, slice_of(source, axis))
        assert figure is not None
        assert figure.layout["xaxis"]["title"]["text"] == axis.title
        assert figure.layout["yaxis"]["title"]["text"] == "val_accuracy"
        means = next(trace for trace in figure.traces if "error_y" in trace)
        assert ("lines" in means["mode"]) == (axis.title == "depth")
        for side, mean in zip(("array", "arrayminus"), (1.0, 0.0), strict=True):
            for reach, y in zip(means["error_y"][side], means["y"], strict=True):
                assert reach <= abs(y - mean) + 1e-9  # no accuracy is below 0 or above 1


def test_mixed_types_stay_apart_even_where_they_read_alike():
    axis = value_axis("a", "a", [True, "true", 1, None, [0.5, 0.75]], None)
    assert axis.labels == ("1", "true", '"true"', "null", "[0.5, 0.75]")
    places = [axis.position(value) for value in (1, 1.0, True, "true", None, [0.5, 0.75])]
    assert places == [0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "spread", "kind"),
    [
        ([1e-4, 1e-2, 1e-1], "log", "log"),
        ([0.9, 0.99, 0.999], "reverse_log", "reverse_log"),
        ([2.0**i for i in range(20)], None, "log"),  # a wide factor
        ([float(i) for i in range(20)], None, "linear"),
        ([0.0, *(2.0**i for i in range(20))], "log", "linear"),  # zero has no logarithm
    ],
)
def test_ranges_are_placed_by_the_scale_that_was_asked_for_or_suits_them(values, spread, kind):
    axis = value_axis("a", "a", values, spread)
    scales = {"log": math.log10, "reverse_log": lambda v: -math.log10(1 - v), "linear": float}
    places = [axis.position(value) for value in values]
    assert axis.kind == kind and places == pytest.approx([scales[kind](v) for v in values])
    assert (axis.low, axis.high) == pytest.approx((places[0], places[-1]))
    assert all(axis.low <= place <= axis.high for place, _ in axis.ticks)


def test_values_that_never_vary_have_no_axis(mixed):
    assert {axis.title for axis in axes_of(mixed)} == {"family", "depth", "growth_rate", "schedule"}


# ---------------------------------------------------------------------- coverage


def test_a_figure_says_which_trials_it_leaves_out(fixed):
    note = coverage(fixed.rows, fixed.ranked)
    assert note == "Shows 6 of 9 trials; left out: 1 diverged, 1 failed, 1 waiting."
    assert coverage(fixed.rows, fixed.rows) == "Shows 9 of 9 trials."


# ---------------------------------------------------------------------- figures


def test_curves_are_worst_first_best_last_and_include_the_diverged(fixed):
    curves = curves_of(fixed)
    ranked = [curve for curve in curves.curves if curve.shade is not None]
    assert ranked[-1].trial == 2 and ranked[-1].shade == 5 and ranked[0].shade == 0
    diverged = next(curve for curve in curves.curves if curve.state is TrialState.DIVERGED)
    assert diverged.values[0] == (0.01, None) and diverged.shade is None
    figure = curves_figure(fixed, curves)
    assert figure is not None and figure.views[0].label == curves.metrics[0] == "val_accuracy"
    for trace in figure.traces:  # joined with gaps, and can be told apart
        if "meta" in trace:
            lengths = trace["meta"]["lengths"]
            assert len(trace["x"]) == len(trace["y"]) == sum(lengths) + len(lengths)


def test_a_thousand_curves_are_thinned_and_the_note_says_so(tmp_path):
    source = source_of(tmp_path, page_ledgers.random_search(12, 8))
    found = curves_of(source, max_curves=4, max_points=40)
    points = sum(len(curve.epochs) for curve in found.curves) * len(found.metrics)
    assert found.thinned == 12 - len(found.curves) and points < 120
    best = max((r for r in source.ranked), key=lambda row: row.score or 0)
    assert best.number in {curve.trial for curve in found.curves}
    figure = curves_figure(source, found)
    assert figure is not None and "thinned out" in figure.note


def test_means_along_a_slice_are_those_of_its_values(fixed):
    depth = next(axis for axis in axes_of(fixed) if axis.title == "depth")
    found = slice_of(fixed, depth)
    assert [(place, group.n) for place, group in found.means] == [(0, 3), (1, 3)]
    assert found.means[0][1].mean == pytest.approx((0.15 + 0.30 + 0.25) / 3)


def test_a_pair_has_the_mean_of_each_cell_and_no_other(fixed):
    depth, rate = sorted(axes_of(fixed), key=lambda axis: axis.title)
    found = pair_of(fixed, bins_of(rate), bins_of(depth))
    assert found.cells[0, 1].mean == pytest.approx(0.30)
    assert len(found.cells) == 6 and len(found.shown) == 6


@pytest.mark.parametrize(
    ("costs", "front"),
    [([5, 3, 4, 1, 2], (3, 1, 0)), ([1, 1, 1], (0,)), ([], ()), ([1, 2, 3], (0,))],
)
def test_on_the_pareto_front_nothing_is_cheaper_and_better(costs, front):
    assert pareto_front([float(cost) for cost in costs]) == front


@pytest.mark.parametrize(
    ("objective", "best"), [("max", [0.1, 0.3, 0.3]), ("min", [0.1, 0.1, 0.05])]
)
def test_the_best_so_far_follows_the_direction(tmp_path, objective, best):
    scores = [0.1, 0.3, 0.05]
    plans = [Plan({"a": i}, [score], seconds=10.0) for i, score in enumerate(scores)]
    source = source_of(tmp_path, plans, objective=("val_accuracy", objective), workers=1)
    found = progress_of(source)
    assert list(found.best) == best
    assert found.seconds == pytest.approx((10, 20, 30)) and found.epochs == (1, 2, 3)


def test_failed_trials_cost_epochs_but_are_no_score(tmp_path):
    failed = Plan({"a": 1}, [0.1, 0.1], TrialState.FAILED, "no")
    found = progress_of(source_of(tmp_path, [failed, Plan({"a": 2}, [0.2])], workers=1))
    assert found.epochs == (3,) and found.best == (0.2,)


def test_the_time_line_knows_workers_and_how_busy_they_were(tmp_path):
    plans = [Plan({"a": i}, [0.1], seconds=10.0) for i in range(3)]
    found = timeline_of(source_of(tmp_path, [*plans, *page_ledgers.waiting()], workers=2))
    assert found.workers == (0, 1) and found.busy == pytest.approx(30 / 40)
    assert len(found.stretches) == 3  # those that wait have none


def test_the_histogram_counts_every_score(fixed):
    found = histogram_of(fixed)
    assert found is not None and found.n == 6 and found.best == len(found.shares) - 1
    assert max(found.shares) == 1 and found.low == "0.1200" and found.high == "0.3000"


def test_the_best_curve_goes_up_where_lower_is_better(tmp_path):
    source = source_of(tmp_path, [Plan({}, [0.1, 0.3, 0.5])], objective=("val_loss", "min"))
    curve = sparkline_of(source)
    assert curve is not None and curve.points[0] == (0, 0) and curve.points[-1] == (1, 1)
