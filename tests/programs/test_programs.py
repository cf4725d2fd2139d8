"""Programs as people write them run as they are, and export what they trained.

The laws: all trials come to their end, the network learns four coloured quadrants, the recorded
accuracy is that of plain Keras on the exported model, and no plan differs from its run.
"""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from tuner.cli.main import run as run_command
from tuner.data.config import DataConfig
from tuner.data.images import load_images
from tuner.report.results import open_results

PROGRAMS = {
    "loops": "build_model",
    "scopes": "build_model",
    "shared_names": "build_model",
    "deferred": "build_model",
    "one_hot": "build_model",
    "old_name": "hypermodel",
    "fitting": "MyHyperModel",
    "own_layer": "build_model",
    "pretrained": "build_model",
    "subclassed": "build_model",
    "branches": "build_model",
}
CHANCE = 0.25
EXPERIMENT = """
name: {name}
data: {{dataset: four.npz, validation: 100}}
model: {{family: "tests.programs.{name}:{function}"}}
training: {{epochs: {epochs}}}
search: {{method: random, max_trials: {trials}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """8x8 images of four classes, each with a brighter quadrant."""
    folder = tmp_path_factory.mktemp("programs")
    rng = np.random.default_rng(1)
    labels = np.arange(480) % 4
    images = rng.integers(0, 120, (480, 8, 8, 3))
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 60
    arrays = {"x_train": images.astype(np.uint8), "y_train": labels}
    np.savez(folder / "four.npz", **arrays)
    return folder


@pytest.fixture
def tuner(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    capsys.readouterr()

    def call(*arguments):
        status = run_command([*map(str, arguments), "--results", str(folder)])
        said = capsys.readouterr()
        assert status == 0, said.err
        return said.out

    return call


@pytest.mark.filterwarnings("ignore")  # what old programs warn of is theirs
@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_as_it_is_and_exports_what_it_trained(folder, tuner, name):
    path = folder / f"{name}.yaml"
    is_large = name == "pretrained"
    sizes = {"epochs": 1, "trials": 1} if is_large else {"epochs": 4, "trials": 2}
    path.write_text(EXPERIMENT.format(name=name, function=PROGRAMS[name], **sizes))
    assert json.loads(tuner("plan", path, "--json"))["total"] == sizes["trials"]
    tuner("run", path, "-q")
    results = open_results(folder / name)
    assert list(results.trials()["state"]) == ["completed"] * sizes["trials"]
    best = results.best()
    if not is_large:  # one epoch teaches a large network nothing
        assert best.score > CHANCE + 0.2
    tuner("export", name, "best", "-o", folder / f"{name}-best.keras")
    model = keras.saving.load_model(folder / f"{name}-best.keras")
    assert recorded_accuracy(results, best) == pytest.approx(accuracy(model, folder), abs=0.011)


def recorded_accuracy(results, best):
    epochs = results.epochs()
    epochs = epochs[epochs["trial"] == best.number]
    return epochs.set_index("epoch")["val_accuracy"].loc[best.best_epoch]


def accuracy(model, folder):
    data = load_images(DataConfig(dataset=str(folder / "four.npz"), validation=100), None)
    outputs = np.asarray(model(data.x_validation.astype("float32"), training=False))
    return float(np.mean(outputs.argmax(-1) == data.y_validation))
