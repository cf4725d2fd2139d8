"""An experiment as a whole: loading, defaults, and its document's round trip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuner.errors import InputError
from tuner.experiment import load_experiment, parse_experiment
from tuner.experiment.schema import Resources, SearchConfig

SHIPPED = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
TEXTS = [
    "model: {family: resnet}",
    """
    name: a-b.c_1
    description: 'a: "b" # c — λ 😀'
    backend: jax
    data: {dataset: synthetic, validation: 0.1, augment: [flip, crop], train_images: 1000}
    model: {choice: [{family: resnet, depth: {choice: [20, 56]}},
                     {family: densenet, growth_rate: 12, dropout: {choice: [0, 0.2]}}]}
    training:
      optimizer: {choice: [adam, sgd]}
      momentum: {choice: [0, 0.9]}
      beta_2: {min: 0.9, max: 0.9995, scale: reverse_log, count: 3}
      epsilon: 1e-8
      schedule: {choice: [constant, {step: {at: [0.5, 0.75], factor: {choice: [0.1, 0.2]}}}]}
    objective: {metric: val_loss}
    search: {seed: 3, replicates: 2, constraints: ["depth < 50"], budget: 90m}
    resources: {cpu: 2, gpu: 0.5}
    """,
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_resolved_document_loads_back_as_the_same_experiment(parse, text) -> None:
    experiment = parse(text)
    again = parse(experiment.to_yaml())
    assert again == experiment
    assert again.to_yaml() == experiment.to_yaml()
    keys = [[e.trial(point, 1, "f").key for point in e.space] for e in (experiment, again)]
    assert keys[0] == keys[1]


def test_resources_take_the_place_of_those_in_the_file_one_by_one(parse) -> None:
    experiment = parse("model: {family: resnet}\nresources: {cpu: 2, gpu: 0.5}")
    changed = experiment.with_resources(1, None)
    assert changed.resources == Resources(cpu=1, gpu=0.5)
    assert parse(changed.to_yaml()) == changed
    assert experiment.with_resources(None, None) == experiment
    assert changed.where("resources.cpu") == "cpus_per_worker"
    assert changed.where("resources.gpu") == "x.yaml:2:21"
    with pytest.raises(InputError, match=r"gpus_per_worker: 2\.5 is too large"):
        experiment.with_resources(None, 2.5)


def test_defaults_are_those_of_the_contract(parse) -> None:
    experiment = parse("model: {family: resnet}")
    assert experiment.name == "x"
    assert (experiment.backend, experiment.precision) == ("tensorflow", "float32")
    assert (experiment.objective.metric, experiment.objective.direction) == ("val_accuracy", "max")
    assert experiment.search == SearchConfig()
    assert experiment.resources == Resources() == Resources(cpu=None, gpu=None)
    assert (experiment.search.method, experiment.search.replicates) == ("grid", 1)
    assert len(experiment.space) == 1
    assert experiment.space[0].values == {}
    assert experiment.space[0].training == {
        "epochs": 40, "batch_size": 64, "optimizer": "adam", "learning_rate": 1e-3, "beta_1": 0.9,
        "beta_2": 0.999, "epsilon": 1e-7, "momentum": 0.9, "nesterov": False,
        "weight_decay": 0.004, "rho": 0.9, "centered": False, "initial_accumulator_value": 0.1,
        "l2": 0.0, "label_smoothing": 0.0, "class_weight": None, "shuffle": True,
        "schedule": "constant",
        "warmup_epochs": 0.0, "watch": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("val_loss", "min"), ("loss", "min"), ("accuracy", "max"), ("val_top5_accuracy", "max")],
)
def test_a_metric_has_a_natural_direction(parse, metric, direction) -> None:
    text = "model: {family: resnet}\nobjective: {metric: %s%s}"
    assert parse(text % (metric, "")).objective.direction == direction
    assert parse(text % (metric, ", direction: max")).objective.direction == "max"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_experiments_load_and_keep_their_keys_through_a_round_trip(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert parse_experiment(experiment.to_yaml(), str(path)) == experiment


def test_a_file_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"x" * 4_000_001)
    for name, words in (
        *(("large.yaml", "too large"), ("none.yaml", "No such file")),
        *((".", "cannot be read"), ("a\0b.yaml", "cannot be read")),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load_experiment(tmp_path / name)
        assert caught.value.problems[0].where == str(tmp_path / name)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfmodel: {family: resnet}\n")
    assert load_experiment(tmp_path / "a.yaml").name == "a"


def test_no_framework_is_imported_and_states_need_no_schema() -> None:
    program = """
import sys
from tuner.experiment.trial import TrialState
assert "pydantic" not in sys.modules
import tuner.search, tuner.experiment.json_schema
experiment = tuner.experiment.parse_experiment("model: {family: resnet}", "x")
experiment.trial(tuner.search.make_method(experiment).ask().configuration).key
heavy = {"keras", "tensorflow", "jax", "keras_tuner", "pandas", "scipy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_data_file_lies_beside_the_experiment_or_else_in_the_present_folder(
    tmp_path, monkeypatch
):
    here, beside = tmp_path / "here", tmp_path / "beside"
    here.mkdir()
    beside.mkdir()
    monkeypatch.chdir(here)
    text = "data: {dataset: four.npz}\nmodel: {family: mlp}"
    source = str(beside / "x.yaml")
    assert parse_experiment(text, source).data.dataset == "four.npz"
    (here / "four.npz").write_bytes(b"")
    assert parse_experiment(text, source).data.dataset == str(here / "four.npz")
    (beside / "four.npz").write_bytes(b"")
    experiment = parse_experiment(text, source)
    assert experiment.data.dataset == str(beside / "four.npz")
    assert parse_experiment(experiment.to_yaml(), str(here / "y.yaml")) == experiment
