"""Networks of a finished search, exported, averaged and looked into."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.execution.tiny import write_data
from tuner.actions.export import check_target
from tuner.cli.main import run as run_command
from tuner.errors import InputError
from tuner.experiment.experiment import load_experiment
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report.inside import read_feature_reuse
from tuner.report.results import open_results

DENSENET, RESNET, MLP, OWN = 1, 2, 3, 4
EXPERIMENT = """
name: tiny
data: {{dataset: {data}, validation: 24}}
model:
  choice:
    - {{family: densenet, num_blocks: 2, depth: 8, growth_rate: 3, dropout: 0.1}}
    - {{family: resnet, depth: 8, dropout: 0.2, stochastic_depth: 0.3}}
    - {{family: mlp, hidden_units: 8}}
    - {{family: "tests.models.own_nets:logits", num_layers: 2, dropout: 0.3, activation: relu,
        filters_0: 4, filters_1: 4}}
training: {{epochs: 2, batch_size: 16, learning_rate: 0.01}}
"""
# Loads every model where tuner cannot be imported, and predicts.
PLAIN_KERAS = """
import sys
sys.modules["tuner"] = None
import keras, numpy as np
images = np.load(sys.argv[1])
models = [keras.saving.load_model(path) for path in sys.argv[3:]]
np.savez(sys.argv[2], *[np.asarray(model(images)) for model in models])
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory, forked_workers):
    folder = tmp_path_factory.mktemp("taken_out")
    path = folder / "tiny.yaml"
    path.write_text(EXPERIMENT.format(data=write_data(folder)))
    assert run_command(["run", str(path), "-q", "--results", str(folder)]) == 0
    return folder


@pytest.fixture
def tuner(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()

    def call(*arguments, where=results):
        status = run_command([*map(str, arguments), "--results", str(where)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def copied(results, tmp_path):
    """The results, for a test that harms them."""
    shutil.copytree(results / "tiny", tmp_path / "results" / "tiny")
    return tmp_path / "results"


def random_images(count=16):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)


def test_plain_keras_predicts_the_same_without_tuner(results, tuner, tmp_path):
    files = []
    for trial in (DENSENET, RESNET, MLP, OWN):
        files.append(tmp_path / f"{trial}.keras")
        status, out, err = tuner("export", "tiny", trial, "-o", files[-1])
        assert (status, err) == (0, "")
        assert f"trial {trial}" in out and "logits of 4 classes" in out
    np.save(tmp_path / "images.npy", random_images())
    script = [sys.executable, "-c", PLAIN_KERAS, "images.npy", "out.npz", *map(str, files)]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as stored:
        for trial, key in zip((DENSENET, RESNET, MLP, OWN), stored.files, strict=True):
            model = open_with_models(results).trial(trial).load_model()
            expected = np.asarray(model(random_images()))
            np.testing.assert_allclose(stored[key], expected, rtol=1e-4, atol=1e-4)


def open_with_models(results):
    import tuner

    return tuner.open_results(results / "tiny")


@pytest.mark.parametrize("trial", [DENSENET, OWN])
def test_the_experiment_beside_it_is_the_same_trial(results, tuner, tmp_path, trial):
    path = tmp_path / "best.keras"
    assert tuner("export", "tiny", trial, "-o", path, "--json")[0] == 0
    experiment = load_experiment(tmp_path / "best.keras.yaml")
    (configuration,) = experiment.space
    with Ledger.open_read_only(RunFolder(results, "tiny").ledger) as ledger:
        row, record = ledger.row(trial), ledger.data_record
    again = experiment.trial(configuration, 0, record[experiment.data.dataset])
    assert again.key == row.key
    assert experiment.name == f"tiny-trial-{trial}"
    with zipfile.ZipFile(path) as archive:
        assert (
            archive.read("experiment.yaml").decode() == (tmp_path / "best.keras.yaml").read_text()
        )


def test_probabilities_and_own_layers_are_there_for_the_asking(tuner, tmp_path):
    import keras

    path = tmp_path / "best.keras"
    options = ["--probabilities", "--keep-layers", "--json"]
    status, out, err = tuner("export", "tiny", RESNET, "-o", path, *options)
    assert status == 0
    assert "needs `import tuner.layers` to load" in err
    document = json.loads(out)
    assert (document["gives"], document["needs"]) == ("probabilities", ["tuner.layers"])
    outputs = keras.saving.load_model(path).predict(random_images(), verbose=0)
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0, rtol=1e-5)


def test_only_what_export_wrote_is_replaced_and_only_when_asked(tuner, tmp_path):
    path, mine = tmp_path / "best.keras", tmp_path / "best.yaml"
    mine.write_text("model: {family: mlp}\n")
    assert tuner("export", "tiny", MLP, "-o", path)[0] == 0
    status, _, err = tuner("export", "tiny", MLP, "-o", path)
    assert status == 2 and "--force" in err
    assert tuner("export", "tiny", OWN, "-o", path, "--force")[0] == 0
    assert "trial-4" in (tmp_path / "best.keras.yaml").read_text()
    assert mine.read_text() == "model: {family: mlp}\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("best.keras", "best.keras.yaml", "best.yaml")
    ]


def test_what_somebody_else_wrote_is_never_replaced(tmp_path):
    """Nor an experiment that somebody has made of an exported one."""
    path, recipe = tmp_path / "best.keras", tmp_path / "best.keras.yaml"
    recipe.write_text("model: {family: mlp}\n")
    with pytest.raises(InputError, match="export` wrote it"):
        check_target(path, force=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("experiment.yaml", "model: {family: lenet}\n")
    with pytest.raises(InputError, match="export` wrote it"):
        check_target(path, force=True)
    recipe.write_text("model: {family: lenet}\n")
    check_target(path, force=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="export` wrote it"):
        check_target(path, force=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "best.h5"], "best.keras"),
        (["-o", "experiment.yaml"], "experiment.keras"),
        (["-o", "absent/best.keras"], "no such folder"),
        (["99", "-o", "x.keras"], "from 1 to 4"),
    ],
)
def test_what_cannot_be_exported_is_said_at_once(tuner, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    status, _, err = tuner("export", "tiny", *arguments)
    assert status == 2
    assert told in err
    assert not list(tmp_path.iterdir())


def forget(folder, number):
    with Ledger.create_or_open(folder.ledger, folder.name) as ledger:
        ledger.forget_checkpoints(ledger.checkpoints(number))


def test_a_trial_without_a_checkpoint_names_those_that_have_one(copied, tuner, tmp_path):
    forget(RunFolder(copied, "tiny"), DENSENET)
    status, _, err = tuner("export", "tiny", DENSENET, "-o", tmp_path / "x.keras", where=copied)
    assert status == 2
    assert "trial 1 is not kept" in err and "2, 3, 4" in err
    status, _, err = tuner("show", "tiny", DENSENET, "--features", where=copied)
    assert status == 2 and "trial 1 is not kept" in err


def test_a_damaged_checkpoint_gives_no_model(copied, tuner, tmp_path):
    folder = RunFolder(copied, "tiny")
    for file in folder.checkpoints.iterdir():
        file.write_bytes(b"PK" + file.read_bytes()[5:])
    status, _, err = tuner("export", "tiny", MLP, "-o", tmp_path / "x.keras", where=copied)
    assert status == 1
    assert "damaged" in err


def test_an_ensemble_is_of_the_members_that_were_validated(results, tuner):
    status, out, err = tuner("ensemble", "tiny", "--json", "--top", 3)
    assert status == 0
    assert err.count("predicts") == 3
    document = json.loads(out)
    with Ledger.open_read_only(RunFolder(results, "tiny").ledger) as ledger:
        best = ledger.top(3)
    assert [member["trial"] for member in document["members"]] == [row.number for row in best]
    assert document["num_images"] == 24
    for member, row in zip(document["members"], best, strict=True):
        assert member["accuracy"] == pytest.approx(row.score, abs=1e-6)
    assert document["accuracies"][0] == document["members"][0]["accuracy"]


def test_an_ensemble_says_plainly_what_it_is_worth(tuner):
    status, out, _ = tuner("ensemble", "tiny", "-q", "--top", 2)
    assert status == 0
    assert "The ensemble is" in out and "best member" in out
    assert "chose the members" in out
    assert max(map(len, out.splitlines())) <= 80


def test_an_ensemble_needs_two_networks_and_the_same_images(copied, tuner, results):
    folder = RunFolder(copied, "tiny")
    for number in (DENSENET, RESNET, MLP):
        forget(folder, number)
    status, _, err = tuner("ensemble", "tiny", where=copied)
    assert status == 2 and "two trained networks" in err
    data = results / "tiny.npz"
    before = data.read_bytes()
    with np.load(data) as stored:
        changed = {name: stored[name] for name in stored.files}
    changed["x_train"][0] += 1
    np.savez(data, **changed)
    try:
        status, _, err = tuner("ensemble", "tiny")
    finally:
        data.write_bytes(before)
    assert status == 2 and "the data set has changed" in err


def test_superseded_trials_are_no_members(copied, tuner):
    with Ledger.create_or_open(RunFolder(copied, "tiny").ledger, "tiny") as ledger:
        ledger.mark_current("after an edit", [])
    status, _, err = tuner("ensemble", "tiny", where=copied)
    assert status == 2 and "0 with a checkpoint" in err


def test_feature_reuse_of_a_trained_densenet(results, tuner):
    folder = RunFolder(results, "tiny")
    found = read_feature_reuse(folder, open_results(folder.path).trial(DENSENET))
    assert [block.targets[-1] for block in found] == ["transition", "classifier"]
    model = open_with_models(results).trial(DENSENET).load_model()
    network = next(layer for layer in model.layers if layer.name == "densenet")
    for number, block in enumerate(found, 1):
        layer = network.get_layer(f"block{number}").dense_layers[1]
        kernel = np.abs(np.asarray(layer.steps[0].convolution.kernel))
        channels = kernel.shape[2] - 3
        assert block.weights[0][1] == pytest.approx(kernel[:, :, :channels].mean(), rel=1e-5)
        assert block.weights[1][1] == pytest.approx(kernel[:, :, channels:].mean(), rel=1e-5)
    status, out, _ = tuner("show", "tiny", DENSENET, "--features")
    assert status == 0
    assert out.count("last column:") == 2 and "█" in out and "\x1b" not in out
    document = json.loads(tuner("show", "tiny", DENSENET, "--features", "--json")[1])
    assert document["features"][0]["weights"][0] == list(found[0].weights[0])


def test_networks_without_dense_blocks_have_no_feature_reuse(results, tuner):
    folder = RunFolder(results, "tiny")
    assert read_feature_reuse(folder, open_results(folder.path).trial(MLP)) is None
    status, _, err = tuner("show", "tiny", MLP, "--features")
    assert status == 2 and "densenet" in err
