"""The page of a comparison: which trials it counts, what its figures show, and that it is safe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report import page_ledgers
from tests.report.page_ledgers import HOSTILE, Plan
from tests.report.rows import in_context, trial
from tests.report.test_page import Elements, check_has_no_foreign_elements, check_is_one_file
from tuner.cli import main
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.records import TrialRow
from tuner.report import sides
from tuner.report.comparison import CompareOptions, compare
from tuner.report.page.compare_page import compare_columns, compare_findings, comparison_page
from tuner.report.page.contest import (
    Contest,
    forest_figure,
    ratios_figure,
    scores_figure,
    sizes_figure,
    so_far_figure,
)
from tuner.report.page.drawing import Figure
from tuner.report.page.html import clean, embedded
from tuner.report.record import RunRecord, read_record


def source(name: str, rows: list[TrialRow], direction: str = "max") -> sides.ComparedExperiment:
    """Trials of three epochs, each of two seconds, that come to their score evenly."""
    counts = {state: sum(row.state is state for row in rows) for state in TrialState}
    names = tuple(dict.fromkeys(n for row in rows for n in row.values))
    record = RunRecord(name, Objective("val_accuracy", direction), tuple(rows), names, (), counts)
    curves = {r.number: tuple(((r.score or 0) * e / 3, 2.0) for e in (1, 2, 3)) for r in rows}
    return sides.ComparedExperiment(record, curves)


def seeds(name: str, scores: list[float], parameters: int = 1000) -> sides.ComparedExperiment:
    rows = [
        trial(i + 1, score, {}, i, key=f"{name}{i}", parameters=parameters, macs=9 * parameters)
        for i, score in enumerate(scores)
    ]
    return source(name, rows)


def contest(*sources: sides.ComparedExperiment, **options: object) -> Contest:
    return Contest(sources, compare(sources, CompareOptions(**options)))  # type: ignore[arg-type]


@pytest.fixture
def two() -> Contest:
    """Six seeds each: the second is better by 0.1, and needs half the parameters."""
    one = seeds("small", [0.50, 0.51, 0.52, 0.50, 0.49, 0.53], 2000)
    return contest(one, seeds("dense", [0.60, 0.61, 0.62, 0.60, 0.59, 0.63]))


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    embedded(figure.to_json())  # raises where a number is not finite
    return figure


def page_of(folders: list[RunFolder], by: str = "") -> str:
    sources = [sides.read_curves(folder, read_record(folder)) for folder in folders]
    return comparison_page(sources, compare(sources, CompareOptions(by=by)))


# ---------------------------------------------------------------------- figures


def test_a_claimed_difference_is_a_filled_point_with_its_interval(two):
    (row,) = drawn(forest_figure(two)).traces
    assert row["x"] == [0.1] and row["marker"]["symbol"] == "circle"
    assert row["error_x"]["array"] == row["error_x"]["arrayminus"] == [0]  # all pairs alike
    (verdict,) = drawn(forest_figure(two)).layout["annotations"]
    assert verdict["text"].startswith("better (n = 6, p = 0.03")


def test_too_few_seeds_are_said_to_decide_nothing():
    found = contest(seeds("a", [0.1, 0.2, 0.1]), seeds("b", [0.9, 0.8, 0.9]))
    figure = drawn(forest_figure(found))
    assert figure.traces[0]["marker"]["symbol"] == "circle-open"
    assert figure.layout["annotations"][0]["text"] == "not decidable with 3 seeds"
    said = {f.question: " ".join(f.sentences) for f in compare_findings(found)}
    assert "not decidable with 3 seeds" in said["Is there a difference?"]
    assert "more seeds would" in said["Is there a difference?"]


def test_scores_of_a_side_are_all_there_and_lead_to_their_trials(two):
    _, points, mean, *_ = drawn(scores_figure(two)).traces
    assert sorted(points["y"]) == [0.49, 0.5, 0.5, 0.51, 0.52, 0.53]
    rows = [two.trials[i] for i in points["customdata"]]
    assert {place.experiment for place in rows} == {"small"}
    assert [place.row.score for place in rows] == points["y"]
    assert mean["y"] == [0.50833]


def test_the_best_so_far_is_that_of_the_best_configuration(two):
    epochs, seconds = drawn(so_far_figure(two)).views
    assert epochs.traces[0]["x"] == [1, 2, 3] and seconds.traces[0]["x"] == [2, 4, 6]
    assert epochs.traces[0]["y"] == pytest.approx([0.50833 * e / 3 for e in (1, 2, 3)], rel=1e-4)


def test_costs_at_equal_score_are_multiples_of_the_baselines(two):
    (dense,) = drawn(ratios_figure(two)).traces
    names = drawn(ratios_figure(two)).layout["yaxis"]["ticktext"]
    by_cost = dict(zip(names, dense["text"], strict=False))
    assert by_cost["parameters"] == by_cost["multiply-adds"] == "0.5×"


def test_where_lower_is_better_nothing_is_drawn_upside_down():
    rows = [trial(i, 0.1 * i, {"depth": i % 2}, parameters=10**i, macs=1) for i in range(1, 7)]
    found = contest(source("one", rows, "min"), by="depth")
    figure = drawn(sizes_figure(found))
    assert min(figure.traces[1]["y"]) > 0
    assert found.trials[0].row.score == 0.1
    assert "left is better" in drawn(forest_figure(found)).layout["xaxis"]["title"]["text"]


# ---------------------------------------------------------------------- in and out


def test_every_trial_is_in_or_says_why_not():
    rows = [
        trial(1, 0.5, {"depth": 8}),
        trial(2, 0.6, {"depth": 14}),
        trial(3, None, {"depth": 14}, state=TrialState.FAILED),
        trial(4, 0.7, {"width": 1}),
        trial(5, float("inf"), {"depth": 8}),
        trial(6, None, {"depth": 8}, state=TrialState.RUNNING),
        trial(7, None, {"depth": 8}),
    ]
    twin = source("two", [trial(1, 0.5, {"depth": 8})])
    found = contest(source("one", rows), twin, by="depth")
    out = {(p.experiment, p.row.number): p.out for p in found.trials}
    assert out == {
        ("one", 1): "",
        ("one", 2): "",
        ("one", 3): "failed",
        ("one", 4): "without depth",
        ("one", 5): "with an infinite score",
        ("one", 6): "running",
        ("one", 7): "without a score",
        ("two", 1): "counted in another experiment",
    }
    columns = {column.name: column for column in compare_columns(found)}
    assert columns["trial"].texts[:2] == ("one/2", "one/1")
    assert columns["counted"].texts[:3] == ("yes", "yes", "without depth")
    assert columns["side"].texts[:3] == ("14", "8", "–")


def test_the_same_comparison_gives_the_same_page_in_one_file(tmp_path):
    folders = [
        page_ledgers.write(tmp_path, name, page_ledgers.random_search(20, 5, seed))
        for seed, name in enumerate(("one", "other"))
    ]
    page = page_of(folders)
    assert page == page_of(folders)
    elements = Elements(page)
    check_is_one_file(elements)
    figures = json.loads(elements.data[0])["figures"]
    assert set(figures) == {"forest", "spread", "sofar", "sizes", "ratios"}


def test_scores_of_other_images_are_not_set_against_each_other():
    rows = [
        [in_context(trial(i, i / 10, {}, i), validation=n) for i in (1, 2)] for n in (500, 1000)
    ]
    found = contest(source("one", rows[0]), source("other", rows[1]))
    answers = {answer.question: answer.sentences for answer in compare_findings(found)}
    assert "data.validation 1000 and 500" in answers["Do they compare?"][0]
    assert "Who is ahead?" not in answers
    assert answers["Is there a difference?"] == (
        "other against one: no test: the scores are of different data.",
    )
    assert ratios_figure(found) is None
    assert 'class="best"' not in comparison_page(found.sources, found.comparison)


def test_a_comparison_without_any_score_has_a_page(tmp_path):
    folders = [page_ledgers.write(tmp_path, name, page_ledgers.failures()) for name in "ab"]
    page = page_of(folders)
    assert "No trial of any side has a score." in page
    assert json.loads(Elements(page).data[0])["figures"] == {}


def hostile_sides() -> list[Plan]:
    """Each hostile text as a side of its own."""
    return [
        Plan({"model.note": text, HOSTILE[0]: seed}, [0.1, 0.2 + i / 50], parameters=10**i)
        for i, text in enumerate(HOSTILE)
        for seed in (0, 1)
    ]


def test_hostile_sides_make_no_elements(tmp_path):
    folder = page_ledgers.write(tmp_path, "hostile", hostile_sides())
    page = page_of([folder], by="note")
    elements = Elements(page)
    check_has_no_foreign_elements(elements)
    assert clean(HOSTILE[4]) in json.loads(elements.data[0])["columns"][1]["texts"]


# ---------------------------------------------------------------------- the command


def test_the_command_writes_a_page_and_needs_a_file_for_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("one", "other")):
        page_ledgers.write(Path("results"), name, page_ledgers.random_search(8, 3, seed))
    asked = ["compare", "one", "other", "-f", "html"]
    assert main.run(asked) == 2
    assert "-o FILE" in capsys.readouterr().err
    assert main.run([*asked, "-o", "page.html"]) == 0
    assert "<h1><bdi>one and other</bdi></h1>" in Path("page.html").read_text()
