"""`init`, `plan`, `schema`, `doctor`: what comes before a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuner.cli.init import template_names, template_text
from tuner.experiment.experiment import parse_experiment

TINY = """\
name: tiny
data: {dataset: synthetic, train_images: 500}
model: {family: resnet, depth: {choice: [8, 14]}}
training: {epochs: 2, learning_rate: {choice: [0.1, 0.01]}}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.mark.parametrize("name", template_names())
def test_every_template_is_a_valid_experiment(name: str) -> None:
    text = template_text(name)
    assert text.startswith("# yaml-language-server: $schema=")
    experiment = parse_experiment(text, f"{name}.yaml")
    assert experiment.name == name
    assert experiment.description


def test_init_writes_a_starter_and_never_overwrites(tuner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tuner("init").status == 0
    path = tmp_path / "experiments" / "quickstart.yaml"
    text = path.read_text()
    assert "# Command:   tuner run experiments/quickstart.yaml\n" in text
    assert text.replace("experiments/", "") == template_text("quickstart")
    path.write_text("mine")
    said = tuner("init")
    assert said.status == 2
    assert "there already" in said.err
    assert path.read_text() == "mine"


def test_the_schema_that_a_starter_points_to_lies_beside_it(tuner, tmp_path: Path) -> None:
    tuner("init", tmp_path / "mine.yaml")
    first = (tmp_path / "mine.yaml").read_text().splitlines()[0]
    schema = tmp_path / first.partition("$schema=")[2]
    assert json.loads(schema.read_text()) == json.loads(tuner("schema").out)
    schema.write_text("{}")
    tuner("init", tmp_path / "other.yaml")
    assert schema.read_text() == "{}"


def test_init_takes_a_path_with_or_without_ending_or_a_folder(tuner, tmp_path: Path) -> None:
    assert tuner("init", tmp_path / "a", "--template", "random").status == 0
    assert tuner("init", tmp_path / "b.yml").status == 0
    assert tuner("init", tmp_path, "--template", "resnet-grid").status == 0
    said = tuner("init", tmp_path / "x.yaml", "--template", "densenet")
    assert said.status == 2
    assert "did you mean densenet-grid?" in said.err
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.yaml", "b.yml", "resnet-grid.yaml", "tuner.schema.json"}
    assert f"tuner run {tmp_path / 'a.yaml'}" in (tmp_path / "a.yaml").read_text()


def test_plan_says_what_would_run_and_writes_nothing(tuner, tiny: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    said = tuner("plan", tiny, "--results", results)
    assert said.status == 0
    assert said.out.startswith("tiny: 4 trials to run\n")
    assert "8 epochs to train in all" in said.out
    assert "2 structures to compile" in said.out
    assert not results.exists()


def test_plan_lists_every_trial(tuner, tiny: Path, tmp_path: Path) -> None:
    said = tuner("plan", tiny, "--list", "--results", tmp_path / "results")
    lines = said.out.split("\n\n")[-1].splitlines()
    assert len(lines) == 4
    assert all("to run" in line for line in lines)
    assert "depth 8, learning_rate 0.1" in lines[0]


def test_plan_json_and_dry_run_agree(tuner, tiny: Path, tmp_path: Path) -> None:
    options = ("-S", "training.epochs=3", "--json", "--results", tmp_path / "results")
    plan = json.loads(tuner("plan", tiny, *options).out)
    dry = json.loads(tuner("run", tiny, "--dry-run", *options).out)
    assert plan == dry
    assert (plan["total"], plan["to_run"], plan["epochs"]) == (4, 4, 12)
    assert len(plan["structures"]) == 2


def test_a_wrong_or_missing_experiment_is_one_message(tuner, tiny: Path, tmp_path: Path) -> None:
    tiny.write_text(TINY + "serach: {method: grid}\n")
    said = tuner("plan", tiny, "--results", tmp_path / "results")
    assert said.status == 2
    assert "tiny.yaml:5" in said.err
    assert "search" in said.err
    assert "Traceback" not in said.err
    said = tuner("plan", tmp_path / "absent.yaml")
    assert said.status == 2
    assert "absent.yaml" in said.err


def test_schema_is_a_json_schema(tuner) -> None:
    said = tuner("schema")
    assert said.status == 0
    document = json.loads(said.out)
    assert "model" in document["properties"]


def test_doctor_reports_versions_devices_data_and_disk(tuner, tmp_path: Path) -> None:
    options = ("--results", tmp_path / "none", "--data-dir", tmp_path)
    said = tuner("doctor", *options)
    assert said.status == 0
    for word in ("Versions", "keras", "Devices", "Data sets", "synthetic", "free for"):
        assert word in said.out
    document = json.loads(tuner("doctor", "--json", *options).out)
    assert document["free_bytes"] > 0
    assert {entry["name"] for entry in document["datasets"]} >= {"cifar100", "synthetic"}
    assert list(tmp_path.iterdir()) == []


def test_init_writes_no_file_that_its_own_commands_would_refuse(tuner, tmp_path: Path) -> None:
    said = tuner("init", tmp_path / "my exp.yaml")
    assert (said.status, list(tmp_path.iterdir())) == (2, [])
    assert "letters, digits" in said.err
    (tmp_path / "notes.txt").touch()
    assert "there already" not in tuner("init", tmp_path / "notes.txt" / "x.yaml").err
