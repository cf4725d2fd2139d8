"""What the page shows of networks' insides, of confirmations, and of trials taken over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report import inside_ledger
from tests.report.page_ledgers import HOSTILE
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report.confirmation import sentences, to_json
from tuner.report.page.axes import axes_of, importance_of
from tuner.report.page.confirmed import confirmed_figure, confirmed_rows, read_confirmed
from tuner.report.page.html import embedded
from tuner.report.page.networks import gradients_figure
from tuner.report.page.overview import findings
from tuner.report.page.page import Panel, render_page, sections_of
from tuner.report.page.source import PageSource, read_source
from tuner.report.page.trials import trial_columns


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return inside_ledger.write(tmp_path)


def panels(source: PageSource) -> list[Panel]:
    """Of the section about the inside; none where there is no such section."""
    axes = axes_of(source)
    sections = sections_of(source, axes, importance_of(source, axes))
    return [panel for section in sections if section.id == "inside" for panel in section.panels]


# ---------------------------------------------------------------------- feature reuse


def test_each_dense_block_of_the_best_kept_densenet_is_drawn(folder):
    found = panels(read_source(folder))
    assert [panel.id for panel in found] == ["reuse-0", "reuse-1", "reuse-2", "gradients"]
    assert "Trial 1 after epoch 3" in found[0].figure.note
    assert "Huang et al. 2017, Figure 5" in found[0].figure.note
    (trace,) = found[2].figure.traces
    assert trace["meta"]["columns"][-1] == "classifier" and trace["z"][1][0] is None


def test_a_network_that_was_not_trained_is_said_to_tell_nothing_and_is_not_drawn(folder):
    """Its weights are alike but for chance: three equal triangles, as if it read all alike."""
    inside_ledger.keep_checkpoint(folder, 1, 3, 0.4, trained=False)
    source = read_source(folder)
    assert [panel.id for panel in panels(source)] == ["gradients"]
    page = render_page([source])
    assert "in trial 1 after epoch 3, its best, each layer weighs all that it reads alike" in page


@pytest.mark.parametrize("harm", ["cut", "gone", "other"])
def test_a_checkpoint_that_cannot_be_read_costs_its_figures_alone(tmp_path, folder, harm):
    (file,) = folder.checkpoints.iterdir()
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif harm == "gone":
        file.unlink()
    else:
        inside_ledger.DENSENET["model.depth"] = 10
        try:
            inside_ledger.keep_checkpoint(folder, 1, 3, 0.4)
        finally:
            inside_ledger.DENSENET["model.depth"] = 13
    assert [panel.id for panel in panels(read_source(folder))] == ["gradients"]


# ---------------------------------------------------------------------- gradients


def test_gradients_of_first_and_last_epoch_are_compared_between_networks(folder):
    watched = read_source(folder).inside.watched
    assert [one.row.number for one in watched] == [1, 2, 3]
    figure = gradients_figure(watched)
    assert figure is not None
    lines = {(line["legendgroup"], line["line"]["dash"]): line for line in figure.traces}
    assert len(lines) == 6
    assert lines["1", "dot"]["y"] == [1e-4, 1e-3, 0.1]
    assert lines["1", "solid"]["y"] == [None, 0.02, 0.5]  # zero has no logarithm
    assert lines["2", "solid"]["customdata"] == [2, 2, 2]
    assert "1 trial that diverged" in figure.note
    assert "diverged" in lines["3", "solid"]["name"]
    assert "<b>head" not in render_page([read_source(folder)])  # a layer's name stays text
    embedded(figure.to_json())


# ---------------------------------------------------------------------- confirmed


def test_what_confirm_has_found_stands_above_the_trials(folder):
    inside_ledger.confirm(folder)
    source = read_source(folder)
    assert source.confirmed is not None
    assert list(source.confirmed.sentences) == sentences(inside_ledger.found())
    rows = confirmed_rows(source.confirmed)
    assert [row[0] for row in rows] == [
        "1: depth 13, learning_rate 0.001",
        "2: depth 8, learning_rate 0.001",
        "3: depth 14, learning_rate 0.1",
    ]
    assert [row[-1].rpartition(": ")[2] for row in rows] == [
        "the search's best",
        "worse",
        "not decidable with 1 seed",
    ]
    page = render_page([source])
    assert page.index("Confirmed on the test set") < page.index('id="e0-trials"')


def test_the_test_set_answers_whether_it_is_real_and_is_advised_no_more(folder):
    inside_ledger.confirm(folder)
    source = read_source(folder)
    said = {f.question: " ".join(f.sentences) for f in findings(source, importance_of(source, []))}
    assert "on the test set it reaches 0.3850" in said["Is it real?"]
    assert "tuner confirm" not in said["What next?"]
    assert "Trial 1 was best in its last epoch" in said["What next?"]


def test_the_dumbbell_has_search_score_mean_and_every_seed(folder):
    inside_ledger.confirm(folder)
    found = read_source(folder).confirmed
    assert found is not None
    lines, seeds, means, searched = confirmed_figure(found).traces
    assert searched["x"] == [0.4, 0.41, 0.42] and means["y"] == [0, 1, 2]
    assert means["x"][2] == pytest.approx(0.385)
    assert lines["x"][-3:-1] == [0.42, means["x"][2]]
    assert len(seeds["x"]) == 13
    assert means["error_x"]["array"][0] == 0  # a single seed has no interval


def test_leaders_are_named_by_the_fewest_values_that_tell_them_apart(folder):
    """Names of many values were cut off before they differed; all values are hover text."""
    inside_ledger.confirm(folder)
    found = read_source(folder).confirmed
    assert found is not None
    rates = [0.1, 0.1, 0.2]
    values = [
        {"training.beta_1": 0.9 + n / 1000, "model.widths": [64] * 20, "training.l2": n, "x": 1}
        for n in rates
    ]
    named = [
        leader.model_copy(update={"values": {**some, "training.optimizer": optimizer}})
        for leader, some, optimizer in zip(
            found.leaders, values, ["adam", "sgd", "adam"], strict=True
        )
    ]
    found = found.model_copy(update={"leaders": named})
    assert found.short_names == [
        "1: beta_1 0.9001, optimizer adam",
        "2: beta_1 0.9001, optimizer sgd",
        "3: beta_1 0.9002, optimizer adam",
    ]
    figure = confirmed_figure(found)
    texts = [note["text"] for note in figure.layout["annotations"]]
    assert texts[::-1] == [name[3:] for name in found.short_names]
    assert all("l2 0.2, x 1, optimizer adam" in trace["text"][0] for trace in figure.traces[2:])


@pytest.mark.parametrize(
    ("scores", "most"), [([0.0, 0.01, 0.02], 1), ([1.0, 0.99, 0.98], 1), ([2.0, 0.1, 5.0], 10)]
)
def test_the_axis_of_a_confirmation_holds_all_and_nothing_that_cannot_be(folder, scores, most):
    inside_ledger.confirm(folder)
    found = read_source(folder).confirmed
    assert found is not None
    wide = {"test": dict(zip("012", scores, strict=True)), "test_mean": scores[0]}
    wide |= {"searched_score": scores[1], "test_interval": (scores[0] - 3, scores[0] + 3)}
    leader = found.leaders[0].model_copy(update=wide)
    axis = confirmed_figure(found.model_copy(update={"leaders": [leader]})).layout["xaxis"]
    low, high = axis["range"]
    assert 0 <= low <= min(scores) and max(scores) <= high <= most


def test_what_confirmed_an_earlier_version_of_the_search_is_left_out(folder):
    """Its leaders are no current trials, or the search has another objective by now."""
    path = inside_ledger.confirm(folder)
    document = json.loads(path.read_text())
    for leader in document["leaders"]:
        leader["trials"] = [1]
    path.write_text(json.dumps(document))
    assert read_source(folder).confirmed is not None
    path.write_text(json.dumps(document | {"searched_metric": "val_loss"}))
    assert read_source(folder).confirmed is None
    document["leaders"][0]["trials"] = [1, 999]
    path.write_text(json.dumps(document))
    assert read_source(folder).confirmed is None


DOCUMENT = to_json(inside_ledger.found())
LEADER = DOCUMENT["leaders"][0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 5_000,
        json.dumps({**DOCUMENT, "experiment": "another"}),
        json.dumps({**DOCUMENT, "leaders": []}),
        json.dumps({**DOCUMENT, "leaders": "abc"}),
        json.dumps({**DOCUMENT, "sentences": None}),
        json.dumps({**DOCUMENT, "leaders": [{**LEADER, "searched_score": float("nan")}]}),
        json.dumps({**DOCUMENT, "leaders": [{**LEADER, "test": {"1": "0.5"}}]}),
        json.dumps({**DOCUMENT, "leaders": [{**LEADER, "test": {"1": 10**400}}]}),
        json.dumps({**DOCUMENT, "leaders": [{**LEADER, "test_interval": [0.1]}]}),
        json.dumps({**DOCUMENT, "leaders": [{**LEADER, "test": {}}]}),
        json.dumps({key: value for key, value in DOCUMENT.items() if key != "metric"}),
    ],
)
def test_a_damaged_or_foreign_confirmation_is_left_out(tmp_path, text):
    path = tmp_path / "confirmation.json"
    path.write_text(text)
    assert read_confirmed(path, {"inside"}) is None
    assert read_confirmed(tmp_path, {"inside"}) is None


def test_hostile_confirmations_stay_text(folder):
    path = inside_ledger.confirm(folder)
    document = json.loads(path.read_text())
    document["metric"] = HOSTILE[1]
    document["sentences"] = list(HOSTILE)
    document["leaders"][1]["values"] = {HOSTILE[0]: HOSTILE[1]}
    document["leaders"][1]["difference"]["verdict"] = HOSTILE[2]
    path.write_text(json.dumps(document))
    page = render_page([read_source(folder)])
    assert "<img" not in page and HOSTILE[0] not in page and "<b " not in page
    assert "&lt;script&gt;window.hacked=1&lt;/script&gt;" in page


# ---------------------------------------------------------------------- taken over


def test_a_trial_says_where_it_was_taken_over_from(folder):
    with Ledger.create_or_open(folder.ledger, folder.name) as ledger:
        ledger.event("reused", {"from": f"other {HOSTILE[4]}", "trials": [2]})
    column = next(c for c in trial_columns(read_source(folder)) if c.name == "from")
    assert column.texts == ("", "other \ufffd[31mred\ufffd[0m", "")
    assert column.is_shown
