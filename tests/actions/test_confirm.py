"""`tuner confirm`: the leaders under fresh seeds, all training images, and the test set once."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.execution.conftest import GRID, Bench
from tests.execution.tiny import write_data
from tests.report.predicted import random_predictions, said, write_confirming
from tuner.actions.confirm import (
    SEEDS_APART,
    PlannedConfirmation,
    _less_training,
    confirming,
    keep_predictions,
    leaders,
)
from tuner.cli.main import run as run_command
from tuner.data.config import DataConfig, FinalDataConfig, final_data
from tuner.data.images import load_images
from tuner.errors import InputError
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.objective import Objective
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report.confirmation import SearchedLeader, confirmation, to_text
from tuner.report.prediction_document import read_document
from tuner.report.results import open_results
from tuner.search import Search


@pytest.fixture
def searched(tmp_path):
    bench = Bench(tmp_path, GRID + "search: {replicates: 2}")
    bench.run()
    return parse_experiment(bench.text, "grid.yaml"), tmp_path / "ledger.sqlite"


def test_leaders_are_configurations_by_their_mean_score(searched):
    experiment, path = searched
    with Ledger.open_read_only(path) as ledger:
        found = leaders(experiment, ledger, 3)
    rates = [leader.configuration.training["learning_rate"] for leader in found]
    assert rates == [0.001, 0.001, 0.01]
    assert [len(leader.scores) for leader in found] == [2, 2, 2]
    assert found[0].configuration.model["depth"] == 8  # ties go to the earlier one


def test_the_confirming_trials_share_no_seed_and_no_key_with_the_search(searched):
    experiment, path = searched
    with Ledger.open_read_only(path) as ledger:
        known = ledger.by_key()
        chosen = leaders(experiment, ledger, 2)
    found = confirming(experiment, chosen, seeds=3)
    trials = [found.trial(c, r, "data:1") for c in found.space for r in range(3)]
    assert len({trial.key for trial in trials}) == 6
    assert known.keys().isdisjoint(trial.key for trial in trials)
    assert {trial.seed for trial in trials} == {SEEDS_APART, SEEDS_APART + 1, SEEDS_APART + 2}
    assert found.objective.metric == "test_accuracy"
    assert [c.values for c in found.space] == [leader.configuration.values for leader in chosen]


def test_configurations_that_differ_in_the_epochs_alone_are_one_where_epochs_are_given(tmp_path):
    bench = Bench(tmp_path, GRID.replace("epochs: 2", "epochs: {choice: [2, 3]}"))
    bench.run()
    experiment = parse_experiment(bench.text, "grid.yaml")
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        assert len(leaders(experiment, ledger, 20)) == 12
        chosen = leaders(experiment, ledger, 20, epochs=1)
    assert len(chosen) == 6
    assert {leader.configuration.training["epochs"] for leader in chosen} == {3}
    found = confirming(experiment, chosen, seeds=1, epochs=1)
    assert len({found.trial(c, 0, "data:1").key for c in found.space}) == 6


def test_trials_on_other_data_have_no_part_in_it(tmp_path):
    bench = Bench(tmp_path, GRID)
    bench.run()
    edited = GRID.replace("dataset: synthetic", "dataset: synthetic, train_images: 500")
    bench.run(text=edited)
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        found = leaders(parse_experiment(edited, "grid.yaml"), ledger, 20)
    assert [len(leader.scores) for leader in found] == [1] * 6


def test_what_the_search_tried_first_is_not_trained_in_the_place_of_a_leader(searched):
    experiment, path = searched
    with Ledger.open_read_only(path) as ledger:
        *chosen, last = leaders(experiment, ledger, 6)
    begun = replace(experiment, start=(last.configuration,))
    found = confirming(begun, chosen, seeds=1)
    trained = [trial.configuration.values for trial in Search(found, "data:1").trials()]
    assert trained == [leader.configuration.values for leader in chosen]


def test_fewer_epochs_than_the_warm_up_takes_are_refused(tmp_path):
    bench = Bench(tmp_path, GRID.replace("epochs: 2", "epochs: 3\n  warmup_epochs: 2"))
    bench.run()
    experiment = parse_experiment(bench.text, "grid.yaml")
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        assert leaders(experiment, ledger, 3, epochs=2)
        with pytest.raises(InputError, match="2 epochs of warm-up do not fit"):
            leaders(experiment, ledger, 3, epochs=1)


def test_a_warm_up_of_a_configuration_that_does_not_lead_does_not_matter(tmp_path):
    open_warmup = "epochs: 3\n  warmup_epochs: {choice: [0, 2]}"
    bench = Bench(tmp_path, GRID.replace("epochs: 2", open_warmup))
    bench.run()
    experiment = parse_experiment(bench.text, "grid.yaml")
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        (best,) = leaders(experiment, ledger, 1, epochs=1)
        assert best.configuration.training["warmup_epochs"] == 0


def test_training_images_that_have_changed_since_the_search_are_said(searched):
    experiment, path = searched
    with Ledger.open_read_only(path) as ledger:
        chosen = leaders(experiment, ledger, 1)
    before = {"data": {"content": "a", "train_images": "100 (1 per class)"}}
    found = confirming(experiment, chosen, seeds=1)
    planned = PlannedConfirmation(experiment, tuple(chosen), found, 12, before)
    assert _less_training(planned, before) == ""
    after = {"data": {"content": "b", "train_images": "80 (1 per class)"}}
    assert _less_training(planned, after) == (
        "on 80 of 100 images, on images or labels that have changed since the search"
    )


def test_nothing_to_confirm_is_said(tmp_path):
    with pytest.raises(InputError, match="nothing to confirm"):
        confirming(parse_experiment(GRID, "grid.yaml"), [], seeds=3)


def test_an_experiment_cannot_ask_for_the_test_set():
    text = "model: {family: lenet}\ndata: {validation: test}\n"
    with pytest.raises(InputError, match="a search never sees the test images"):
        parse_experiment(text, "x.yaml")


def test_all_training_images_are_trained_on_and_the_test_images_stand_aside(tmp_path):
    data = DataConfig(dataset=str(write_data(tmp_path, 40)), validation=24)
    images = load_images(final_data(data), None)
    assert len(images.x_train) == 120
    assert len(images.x_validation) == 40
    fewer = load_images(final_data(data, 60), None)
    assert np.bincount(fewer.y_train).tolist() == [15] * 4
    assert isinstance(final_data(data), FinalDataConfig)


def test_confirm_reports_test_figures_and_continues_where_it_stood(
    tmp_path, monkeypatch, capsys, forked_workers
):
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path, 40)
    (tmp_path / "x.yaml").write_text(
        "data: {dataset: tiny.npz, validation: 24}\n"
        "model: {family: mlp, hidden_units: 8}\n"
        "training: {epochs: 2, batch_size: 16, learning_rate: {choice: [0.001, 0.01, 0.1]}}\n"
    )
    assert run_command(["run", "x.yaml", "-q"]) == 0
    capsys.readouterr()
    options = ["confirm", "x", "--top", "2", "-q", "--json"]
    assert run_command([*options, "--seeds", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run_command([*options, "--seeds", "2"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert [len(leader["test"]) for leader in both["leaders"]] == [2, 2]
    for one, two in zip(first["leaders"], both["leaders"], strict=True):
        assert one["test"].items() <= two["test"].items()
    assert both["leaders"][1]["difference"]["verdict"] == "not decidable with 2 seeds"
    search = RunFolder(tmp_path / "results", "x")
    assert json.loads((search.path / "confirm" / "confirmation.json").read_text()) == both
    assert "Confirmed on the test set" in search.report.read_text()
    folder = RunFolder(tmp_path / "results" / "x", "confirm")
    _check_predictions(search, folder, both)
    with Ledger.open_read_only(folder.ledger) as ledger:
        assert len(ledger.rows()) == 4
        epochs = ledger.epochs(1)
    # The test set is looked at after the last epoch alone, and nothing is held out.
    assert [sorted(n for n in row.metrics if "_" in n and n[:3] != "top") for row in epochs] == [
        [],
        ["test_accuracy", "test_loss", "test_top5_accuracy"],
    ]
    environment = json.loads(folder.environment.read_text())
    assert environment["data"]["train_images"].startswith("120")
    assert environment["data"]["test_images"].startswith("40")
    with Ledger.create_or_open(folder.ledger, "confirm") as ledger:
        ledger._update(1, threads=64)
    assert run_command(["confirm", "x", "--top", "2", "--seeds", "2", "-q"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the search's best on the test set" in text
    assert "trained with different numbers of threads" in text
    assert (first["test_readings"], both["test_readings"]) == (1, 1)  # more seeds go on
    assert (both["less_training"], both["sentences"][-1][:12]) == ("", "Of the other")
    assert run_command(["export", "x/confirm", "best", "-o", "final.keras"]) == 0
    assert "not on all training images" in capsys.readouterr().err
    recipe = parse_experiment((tmp_path / "final.keras.yaml").read_text(), "final.keras.yaml")
    assert recipe.data.validation == 24
    less = ["--top", "1", "--seeds", "1", "--epochs", "1", "--train-images", "80"]
    assert run_command(["confirm", "x", "-q", "--json", *less]) == 0
    shorter = json.loads(capsys.readouterr().out)
    assert shorter["less_training"] == "1 of 2 epochs, on 80 of 96 images"
    assert "not comparable: here it trained 1 of 2 epochs" in shorter["sentences"][1]
    assert "has been read 2 times" in shorter["sentences"][-1]
    assert run_command(["report", "x"]) == 0
    assert "has been read 2 times" in " ".join(capsys.readouterr().out.split())


def _check_predictions(search: RunFolder, folder: RunFolder, printed: dict[str, Any]) -> None:
    """What is kept of each test image is what was scored, in the order of the data."""
    frame = open_results(search.path).test_predictions()
    assert len(frame) == 4 * 40
    right = (frame.true_class == frame.predicted_class).groupby(frame.trial).mean()
    loss = (-np.log(frame.true_probability)).groupby(frame.trial).mean()
    with Ledger.open_read_only(folder.ledger) as ledger:
        scored = {row.number: row.metrics for row in ledger.rows()}
    assert right.to_dict() == pytest.approx({n: m["test_accuracy"] for n, m in scored.items()})
    assert loss.to_dict() == pytest.approx({n: m["test_loss"] for n, m in scored.items()}, rel=1e-3)
    test = np.load("tiny.npz")
    for _, one in frame.groupby("trial"):
        assert one.true_class.astype(int).tolist() == test["y_test"].tolist()
    document = read_document(folder)
    assert document is not None and printed["predictions"] == document.sentences
    worst = document.leaders[0].worst
    assert worst and worst[0].probability >= worst[-1].probability
    for image in worst:
        picture = Image.open(io.BytesIO(base64.b64decode(image.picture)))
        assert np.array_equal(np.asarray(picture), test["x_test"][image.index])
    assert "data:image/png;base64," in search.report.read_text()
    assert len((folder.path / "predictions.csv").read_text().splitlines()) == 1 + 4 * 40


def test_pictures_need_the_data_and_nothing_else_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search = RunFolder(tmp_path, "x")
    own = write_confirming(search, [{0: random_predictions(40, 4, 0)}])
    data = final_data(DataConfig(dataset="./gone.npz", validation=24))
    planned = SimpleNamespace(experiment=SimpleNamespace(name="confirm", data=data))
    document, problem = keep_predictions(planned, search, None, is_over=True)
    assert "the worst test images cannot be shown" in problem and "gone.npz" in problem
    assert document == read_document(own) and not document.leaders[0].worst[0].picture
    assert (own.path / "classes.csv").exists()
    assert keep_predictions(planned, search, None, is_over=False)[1] == ""  # interrupted: later


def test_the_worst_images_of_a_folder_name_their_files(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for n in range(4):
                pixels = rng.integers(0, 256, (120, 60), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pets" / part / name / f"{n}.png")
    labels = [0] * 4 + [1] * 4
    wrong = said(labels, [0, 0, 0, 1, 1, 0, 1, 1], [0.9] * 3 + [0.8, 0.9, 0.7, 0.9, 0.9], [0.1] * 8)
    search = RunFolder(tmp_path, "x")
    write_confirming(search, [{0: wrong}])
    data = final_data(DataConfig(dataset=str(tmp_path / "pets"), validation=2))
    planned = SimpleNamespace(experiment=SimpleNamespace(name="confirm", data=data))
    document, problem = keep_predictions(planned, search, None, is_over=True)
    assert problem == ""
    worst = document.leaders[0].worst
    assert [one.file for one in worst] == ["test/cat/3.png", "test/dog/1.png"]
    picture = Image.open(io.BytesIO(base64.b64decode(worst[0].picture)))
    assert (picture.size, picture.mode) == ((48, 96), "L")  # small enough for a page


def test_that_an_older_tuner_kept_no_predictions_is_said(tmp_path):
    search = RunFolder(tmp_path, "x")
    own = write_confirming(search, [{0: random_predictions(40, 4, 0)}])
    planned = SimpleNamespace(experiment=SimpleNamespace(name="confirm", data=None))
    assert keep_predictions(planned, search, None, is_over=False)[1] == ""
    with Ledger.create_or_open(own.ledger, "confirm") as ledger:
        ledger._connection.execute("DELETE FROM events WHERE kind = 'predictions'")
    document, problem = keep_predictions(planned, search, None, is_over=True)
    assert document is None and "an older tuner has trained them" in problem
    assert read_document(own) is None and not (own.path / "predictions.csv").exists()


def test_data_without_test_images_cannot_confirm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    folder = RunFolder(tmp_path / "results", "grid")
    folder.prepare()
    text = GRID.replace("dataset: synthetic", "dataset: tiny.npz, validation: 24")
    Bench(folder.path, text).run()
    folder.experiment.write_text(text)
    assert run_command(["confirm", "grid"]) == 2
    assert "there are no test images" in capsys.readouterr().err


def test_a_narrow_terminal_shows_the_verdict_and_below_it_the_other_values():
    values = {f"training.a_rather_long_name_{n}": 0.1 for n in range(4)}
    leaders = [SearchedLeader(values, 0.5, 1), SearchedLeader(dict.fromkeys(values, 0.2), 0.4, 1)]
    found = confirmation(
        "x",
        leaders,
        [{1: 0.4, 2: 0.41}, {1: 0.3, 2: 0.32}],
        seeds=2,
        metric="test_accuracy",
        objective=Objective(),
        trials=9,
    )
    text = to_text(found, 80)
    assert "too few seeds" in text
    assert "0.4050 ± 0.0635" in text  # t(1) x 0.0071 / sqrt(2)
    assert "\n1  a_rather_long_name_2 0.1, a_rather_long_name_3 0.1\n2  a_rather" in text
    assert "0.4050 ± 0.0635" in to_text(found, 60)  # names go before what was found
    assert max(map(len, text.splitlines())) <= 80
    assert "a_rather_long_name_3" in to_text(found, 200).splitlines()[2]
