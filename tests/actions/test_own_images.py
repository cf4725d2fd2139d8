"""A folder of a person's own images, from the plan to the exported network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tuner.cli.main import run as run_command

NAMES = ("north\nwest", "étang", "9 lives")
EXPERIMENT = """
data: {dataset: pets/, validation: 0.25, image_size: [4, 6], normalize: false}
model: {family: mlp, hidden_units: 4}
training: {epochs: 1, batch_size: 8}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, forked_workers):
    """`pets/` beside the experiment, and a run of it from another folder."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 3)):
        for name in NAMES:
            place = folder / "pets" / part / name
            place.mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 256, (5 + n, 7, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{n}.png")
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        patch.setenv("TUNER_CACHE_DIR", str(folder / "cache"))
        (folder / "elsewhere").mkdir()
        patch.chdir(folder / "elsewhere")
        assert run_command(["run", "../tiny.yaml", "-q", "--results", "../results"]) == 0
        yield folder


@pytest.fixture
def tuner(project, capsys):
    capsys.readouterr()

    def call(*arguments):
        assert run_command([*map(str, arguments), "--results", "../results"]) == 0
        return capsys.readouterr()

    return call


def test_the_plan_says_what_was_read(project, tuner):
    said = tuner("plan", "../tiny.yaml").out
    assert "36 images of 4x6x3, pixels 0..255, 3 classes (9 lives, north" in said
    assert f"étang), 9 test images; from {project}/pets\n" in said
    data = json.loads(tuner("plan", "../tiny.yaml", "--json").out)["data"]
    assert data["class_names"] == ["9 lives", "north\nwest", "étang"]
    assert data["class_counts"] == [12, 12, 12]
    assert data["source"] == f"{project}/pets"


def test_the_page_and_the_record_say_so_too(project):
    record = json.loads((project / "results/tiny/environment.json").read_text())
    assert record["images"]["source"] == f"{project}/pets"
    page = (project / "results/tiny/report.html").read_text()
    assert f"{project}/pets" in page
    assert "étang" in page


def test_the_results_are_confirmed_and_exported_from_anywhere(project, tuner, tmp_path):
    assert "test_accuracy" in tuner("confirm", "tiny", "--top", "1", "--seeds", "1", "-q").out
    said = tuner("export", "tiny", "-o", tmp_path / "best.keras")
    assert said.err == ""  # it is the same trial
    assert "from pixels in 0..255, (batch, 4, 6, 3), to logits of 3 classes (9 lives, " in said.out
    (classes,) = (
        t for t in (tmp_path / "best.keras.yaml").read_text().splitlines() if "9 lives" in t
    )
    assert classes.startswith("# Its outputs are the classes 0 9 lives, 1 north")
    assert "étang" in classes
    assert f"from {project}/pets" in tuner("plan", tmp_path / "best.keras.yaml").out
