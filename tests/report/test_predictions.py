"""What predictions on test images say: laws and hand-computed numbers, then tables and the page."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from tests.report import inside_ledger, predicted
from tests.report.page_ledgers import HOSTILE
from tests.report.predicted import random_predictions, said, write_confirming
from tuner.cli.main import run as run_command
from tuner.data.class_names import CLASS_GROUPS, CLASS_NAMES
from tuner.errors import InputError, TunerError
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.predictions import PREDICTIONS, ImagePredictions
from tuner.report.page.page import render_page
from tuner.report.page.predicted import class_figure, confusion_figure, worst_cards
from tuner.report.page.source import read_source
from tuner.report.prediction_document import NUM_WORST, keep_document, read_document, to_text
from tuner.report.prediction_tables import TABLES, write_tables
from tuner.report.predictions import (
    calibration_bins,
    calibration_error,
    document_of,
    read_predictions,
)
from tuner.report.results import open_results
from tuner.report.statistics import wilson_interval

# Four images of classes 0, 0, 1, 2 of four: the first seed takes one 0 for a 1, the second
# both, and the 2 for a 1.
LABELS = [0, 0, 1, 2]
FIRST = said(LABELS, [0, 1, 1, 2], [0.9, 0.8, 0.6, 0.5], [0.9, 0.1, 0.6, 0.5])
SECOND = said(LABELS, [1, 2, 1, 1], [0.7, 0.4, 0.9, 0.95], [0.2, 0.3, 0.9, 0.01])
FOUR = {"data": {"num_classes": 4}}


@pytest.fixture
def search(tmp_path):
    return RunFolder(tmp_path, "inside")


def kept_of(search, *leaders, **more):
    return read_predictions(write_confirming(search, leaders, **more))


# ---------------------------------------------------------------------- kept as they are


def test_what_the_ledger_keeps_is_what_was_predicted():
    before = random_predictions(1000, 10, 0)
    detail = json.loads(json.dumps(before.to_detail(3, 2)))
    after = ImagePredictions.from_detail(detail)
    assert np.array_equal(after.labels, before.labels)
    assert np.array_equal(after.predicted, before.predicted)
    np.testing.assert_allclose(after.probability, before.probability, rtol=1e-6)
    np.testing.assert_allclose(after.true_probability, before.true_probability, rtol=1e-6)
    large = random_predictions(10_000, 100, 0).to_detail(1, 1)
    assert len(json.dumps(large)) < 140_000


@pytest.mark.parametrize(
    "harm",
    [
        {"images": 5},
        {"images": "x"},
        {"labels": "no base 64!"},
        {"labels": "AAAA"},
        {"log_true": 3},
    ],
)
def test_what_are_no_predictions_is_refused(harm):
    with pytest.raises(TunerError, match="cannot be read"):
        ImagePredictions.from_detail(FIRST.to_detail(1, 1) | harm)


def test_of_an_epoch_that_was_trained_twice_the_last_predictions_count(search):
    folder = write_confirming(search, [{7: FIRST}])
    with Ledger.create_or_open(folder.ledger, "confirm") as ledger:
        ledger.event(PREDICTIONS, SECOND.to_detail(1, 1))
    (one,) = read_predictions(folder).trials
    assert (one.place, one.trial, one.seed) == (1, 1, 7)
    assert one.images.predicted.tolist() == SECOND.predicted.tolist()


# ---------------------------------------------------------------------- figures


def test_each_class_has_its_mean_over_seeds_and_what_it_is_taken_for(search):
    document = document_of(kept_of(search, {0: FIRST, 1: SECOND}, environment=FOUR))
    (figures,) = document.leaders
    zero, one, two, three = figures.classes
    assert (zero.images, zero.accuracy, zero.taken_for, zero.taken_share) == (2, 0.25, "1", 0.5)
    assert (one.accuracy, one.taken_for, one.taken_share) == (1.0, "", None)
    assert (two.accuracy, two.taken_for) == (0.5, "1")
    assert (three.images, three.accuracy, three.low) == (0, None, None)  # the test set lacks it
    assert one.low == pytest.approx(wilson_interval(1.0, 1)[0])  # seeds agree: the images' alone
    assert (zero.low, zero.high) == (0.0, 1.0)
    assert figures.accuracy == 0.5
    pairs = [(c.true, c.predicted, c.taken, c.share) for c in figures.confusions]
    assert pairs == [("0", "1", 1.0, 0.5), ("0", "2", 0.5, 0.25), ("2", "1", 0.5, 0.5)]
    assert figures.matrix.shares == [
        [0.25, 0.5, 0.25, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.5, 0.5, 0.0],
        [None] * 4,
    ]
    assert "1 class without a test image" in document.sentences[0]


def test_the_worst_images_are_those_whose_wrong_class_got_most_over_the_seeds(search):
    document = document_of(kept_of(search, {0: FIRST, 1: SECOND}, environment=FOUR))
    worst = document.leaders[0].worst
    found = [(w.index, w.true, w.predicted, round(w.probability, 3), w.wrong) for w in worst]
    assert found == [(1, "0", "1", 0.6, 2), (3, "2", "1", 0.475, 1), (0, "0", "1", 0.35, 1)]
    assert worst[0].true_probability == pytest.approx(0.2, abs=1e-3)


def test_calibration_is_the_distance_of_confidence_and_accuracy_in_fifteen_bins():
    sure = np.array([0.99, 0.97, 0.95, 0.5, 0.48, 1.0])
    right = np.array([True, True, False, True, False, True])
    bins = calibration_bins(sure, right)
    assert [part.n for part in bins] == [2, 4]  # of 7/15 to 8/15, and of 14/15 to 1
    by_hand = 2 / 6 * abs(0.5 - 0.49) + 4 / 6 * abs(0.75 - (0.99 + 0.97 + 0.95 + 1) / 4)
    assert calibration_error(bins) == pytest.approx(by_hand)
    draws = np.random.default_rng(0).uniform(0, 1, (2, 200_000))
    assert calibration_error(calibration_bins(draws[0], draws[1] < draws[0])) < 0.01


def test_the_interval_of_a_calibration_error_never_leaves_0_to_1(search):
    apart = (
        said([0] * 4, [1] * 4, [1.0] * 4, [1e-9] * 4),
        said([0] * 4, [0] * 4, [0.9] * 4, [0.9] * 4),
    )
    (figures,) = document_of(kept_of(search, dict(enumerate(apart)))).leaders
    assert figures.calibration.error == pytest.approx(0.55)
    assert figures.calibration.low is None  # two seeds as different as these tell nothing


def test_fine_classes_are_joined_by_coarse_class_and_mistakes_within_one_are_counted(search):
    names, groups = CLASS_NAMES["cifar100"], CLASS_GROUPS["cifar100"]
    assert len(names) == len(groups) == 100
    assert set(groups) == set(CLASS_NAMES["cifar100_coarse"])
    assert {groups.count(group) for group in groups} == {5}
    maple, oak, otter = (names.index(name) for name in ("maple tree", "oak tree", "otter"))
    images = said([maple, maple, otter, oak], [oak, otter, otter, oak], [0.9, 0.8, 0.7, 0.6])
    (figures,) = document_of(kept_of(search, {0: images}, dataset="cifar100")).leaders
    assert figures.within_groups.share == 0.5
    assert figures.within_groups.by_chance == pytest.approx(4 / 99)
    assert figures.matrix.of_groups and len(figures.matrix.names) == 20
    trees = figures.matrix.names.index("trees")
    assert figures.matrix.shares[trees][trees] == pytest.approx(2 / 3, abs=1e-4)
    assert figures.confusions[0].true == "maple tree"


def test_more_classes_than_can_be_read_have_no_matrix_but_a_list(search):
    document = document_of(kept_of(search, {0: random_predictions(3000, 60, 0)}))
    assert document.leaders[0].matrix is None and len(document.leaders[0].confusions) == 20
    assert confusion_figure(document, ["1"]) is None
    figure = class_figure(document, ["1"])
    assert len(figure.traces[0]["x"]) == 30 and "of 60; classes.csv has all" in figure.note


def test_two_classes_and_one_seed_and_no_mistake_do(search):
    right = said([0, 1], [0, 1], [0.9, 0.8])
    document = document_of(kept_of(search, {5: right}, {5: right}))
    assert document.sentences[1] == "No image is taken for another class."
    assert document.leaders[0].worst == [] and worst_cards(document.leaders[0]) == []
    assert "under one seed" in to_text(document, 80)
    assert document.leaders[0].calibration.low is None


def test_the_text_fits_a_terminal(search):
    leader = {seed: random_predictions(500, 20, seed) for seed in range(3)}
    text = to_text(document_of(kept_of(search, leader, dataset="cifar100_coarse")), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "mean over 3 seeds" in text


# ---------------------------------------------------------------------- tables


def test_the_tables_have_every_image_seed_class_and_confusion(search):
    environment = {"data": {}, "images": {"class_names": ["=cat", "dog", "bird", "eel"]}}
    kept = kept_of(search, {0: FIRST, 1: SECOND}, {0: FIRST}, environment=environment)
    own = RunFolder(search.path, "confirm")
    write_tables(kept, own)
    images, classes, confusion = ((own.path / name).read_text().splitlines() for name in TABLES)
    assert images[0] == (
        "configuration,trial,seed,index,true_class,predicted_class,probability,true_probability"
    )
    assert len(images) == 1 + 3 * 4
    assert images[2] == "1,1,0,1,'=cat,dog,0.8,0.1"  # no formula to a spreadsheet
    assert classes[1].startswith("1,'=cat,2,2,0.25,0.0,1.0,dog,0.5")
    assert classes[4] == "1,eel,0,2,,,,,"
    assert "1,'=cat,bird,2,0.5,0.25" in confusion
    write_tables(read_predictions(write_confirming(RunFolder(search.path, "x"), [])), own)
    assert not any((own.path / name).exists() for name in TABLES)


def test_python_has_them_as_a_frame(tmp_path):
    search = inside_ledger.write(tmp_path)
    with pytest.raises(InputError, match="no predictions on test images are kept"):
        open_results(search.path).test_predictions()
    write_confirming(search, [{0: FIRST, 1: SECOND}])
    frame = open_results(search.path).test_predictions()
    right = frame.true_class == frame.predicted_class
    assert right.groupby(frame.seed).mean().tolist() == [0.75, 0.25]
    assert frame["index"].tolist() == [0, 1, 2, 3] * 2


# ---------------------------------------------------------------------- page and terminal

DOT = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63"
        "680000008200810dda83b80000000049454e44ae426082"
    )
).decode()


def confirmed_search(tmp_path, environment=None, pictures=True):
    """A confirmed search whose three leaders have predicted 200 images of 4 classes."""
    search = inside_ledger.write(tmp_path)
    inside_ledger.confirm(search)
    leaders = [{s: random_predictions(200, 4, 10 * p + s) for s in range(2)} for p in range(3)]
    own = write_confirming(search, leaders, environment=environment)
    document = document_of(read_predictions(own))
    first, *others = document.leaders
    if pictures:
        worst = [one.model_copy(update={"picture": DOT}) for one in first.worst]
        first = first.model_copy(update={"worst": worst})
    keep_document(document.model_copy(update={"leaders": [first, *others]}), own)
    return search


def test_the_page_shows_classes_confusions_calibration_and_the_worst_images(tmp_path):
    search = confirmed_search(tmp_path)
    source = read_source(search)
    page = render_page([source])
    assert page.count(f"data:image/png;base64,{DOT}") == NUM_WORST
    for words in ("Each class", "Calibration", "Confusion matrix", "Most frequent confusions"):
        assert f"{words}</" in page
    assert "What the search&#39;s best says of 200 test images, mean over 2 seeds:" in page
    assert "(Guo et al. 2017)" in page
    figure = class_figure(source.predicted, ["a", "b", "c"])
    assert [view.label for view in figure.views] == ["a", "b", "c"]


def test_the_terminal_tells_of_a_confirmation_only_while_the_search_stands(tmp_path, capsys):
    search = confirmed_search(tmp_path)
    assert run_command(["report", str(search.path)]) == 0
    assert "What the search's best says of 200 test images" in capsys.readouterr().out
    path = search.path / "confirm" / "confirmation.json"
    path.write_text(path.read_text().replace('"searched_metric": "val', '"searched_metric": "x'))
    assert run_command(["report", str(search.path)]) == 0
    assert "test images" not in capsys.readouterr().out


def test_hostile_class_names_stay_text(tmp_path):
    names = [*HOSTILE[:2], HOSTILE[6], HOSTILE[9]]
    environment = {"data": {}, "images": {"class_names": names}}
    page = render_page([read_source(confirmed_search(tmp_path, environment))])
    assert "<script>window" not in page and "<img src=x" not in page
    assert "&lt;script&gt;window.hacked=1&lt;/script&gt;" in page


@pytest.mark.parametrize("harm", ["", "{", '{"leaders": [], "sentences": []}', "picture", "place"])
def test_a_damaged_or_foreign_document_is_left_out(tmp_path, harm):
    search = confirmed_search(tmp_path)
    path = search.path / "confirm" / "predictions.json"
    changed = {
        "picture": path.read_text().replace(DOT, '\\"><script>', 1),
        "place": path.read_text().replace('"place":3', '"place":4'),
    }
    path.write_text(changed.get(harm, harm))
    assert (read_document(RunFolder(search.path, "confirm")) is None) == (
        harm in ("", "{", "picture")
    )
    assert read_source(search).predicted is None
    assert "Test images" not in render_page([read_source(search)])


def test_thirty_trials_of_ten_thousand_images_add_little_to_the_page(tmp_path):
    search = inside_ledger.write(tmp_path)
    inside_ledger.confirm(search)
    before = len(render_page([read_source(search)]))
    leaders = [{0: predicted.random_predictions(10_000, 100, n)} for n in range(3)]
    own = write_confirming(search, leaders, dataset="cifar100")
    keep_document(document_of(read_predictions(own)), own)
    assert len(render_page([read_source(search)])) - before < 200_000
