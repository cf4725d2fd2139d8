"""The JSON Schema admits what the reader admits, and refuses common slips."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tuner.errors import InputError
from tuner.experiment import parse_experiment
from tuner.experiment.json_schema import json_schema
from tuner.experiment.schema import OBSERVING, TrainingConfig
from tuner.experiment.yaml import read_yaml
from tuner.models import FAMILIES

SHIPPED = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

GOOD = [
    "model: {family: resnet}",
    "model: {family: {choice: [resnet, plain]}, depth: {choice: [20, 32]}}",
    "model: {choice: [{family: resnet, depth: {choice: [20, 56]}}, {family: densenet}]}",
    "model: {choice: [{choice: [{family: resnet}, {family: plain}]}, {family: densenet}]}",
    "model: {family: densenet, dropout: {min: 0, max: 0.5, step: 0.1}}",
    "model: {family: plain}\ntraining: {choice: [{l2: 0}, {optimizer: sgd, momentum: 0}]}",
    "model: {family: resnet}\ntraining: {batch_size: {choice: [32, full]}}",
    "model: {family: resnet}\ntraining: {schedule: {choice: [cosine, {step: {at: [0.5], "
    "factor: {choice: [0.1, 0.2]}}}]}}",
    "model: {family: resnet}\ntraining: {class_weight: {0: 1, 1: {min: 1, max: 5, count: 3}}}",
    "model: {family: resnet}\ntraining: {class_weight: {choice: [null, balanced, {cat: 5}]}}",
    "model: {family: resnet}\ntraining: {optimizer: {choice: [rmsprop, nadam]}, rho: 0.5}",
    "model: {family: plain}\ntraining: {beta_2: {min: 0, max: 0.9, scale: reverse_log, count: 3}}",
    "model: {family: resnet}\ndata: {dataset: cifar10, validation: 0.1, augment: [crop]}\n"
    "search: {method: random, max_trials: 3, budget: 1h30m, constraints: [depth > 3]}",
    "model: {family: resnet}\nresources: {cpu: 2, gpu: 0.5}",
    "model: {family: resnet}\nresources: {cpu: null, gpu: 0}",
]
BAD = [
    "training: {epochs: 3}",
    "model: {family: resnt}",
    "model: {family: resnet, growth_rate: 12}",
    "model: {family: resnet, dropout: 1.0}",
    "model: {family: resnet, dropout: {choice: []}}",
    "model: {family: resnet, dropout: {min: 0}}",
    "model: {family: resnet, dropout: {min: 0, max: 0.5, count: 3, step: 0.1}}",
    "model: {family: resnet, dropout: {choice: [0, 0.1], count: 3}}",
    "model: {family: resnet}\ntraining: {epochs: 0}",
    "model: {family: resnet}\ntraining: {epochs: ten}",
    "model: {family: resnet}\ntraining: {schedule: {step: {at: [0.5], factor: 2}}}",
    "model: {family: resnet}\ntraining: {class_weight: even}",
    "model: {family: resnet}\ntraining: {class_weight: {0: -1}}",
    "model: {family: resnet}\ntraining: {class_weight: {min: 0, max: 1, count: 2}}",
    "model: {family: resnet}\nsearch: {method: radom}",
    "model: {family: resnet}\nsearch: {budget: 4}",
    "model: {family: resnet}\nsearch: {budget: 4 hours}",
    "model: {family: resnet}\nresources: {cpu: 0.5}",
    "model: {family: resnet}\nresources: {gpu: 2}",
    "model: {family: resnet}\nresources: {gpus: 1}",
    "model: {family: resnet}\nname: ../x",
    "model: {family: resnet}\nmodl: 3",
]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", GOOD)
def test_what_loads_is_admitted_as_it_was_written_and_as_it_was_resolved(text: str) -> None:
    experiment = parse_experiment(text, "x.yaml")
    for written in (text, experiment.to_yaml()):
        VALIDATOR.validate(read_yaml(written, "x.yaml").value)


@pytest.mark.parametrize("text", BAD)
def test_what_does_not_load_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_experiment(text, "x.yaml")
    assert not VALIDATOR.is_valid(read_yaml(text, "x.yaml").value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_experiments_are_admitted_and_begin_with_the_line_that_editors_read(
    path: Path,
) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=../docs/tuner.schema.json\n")
    VALIDATOR.validate(read_yaml(text, str(path)).value)


def test_every_value_of_a_trial_is_described_and_may_be_open() -> None:
    models = SCHEMA["$defs"]["model"]["anyOf"][0]["anyOf"]
    others = ["a function of your own", "several families"]
    assert [model["title"] for model in models] == [*FAMILIES, *others]
    sections = [SCHEMA["$defs"]["training"]["anyOf"][0], *models[: len(FAMILIES)]]
    assert set(sections[0]["properties"]) == set(TrainingConfig.model_fields)
    for section in sections:
        for name, schema in section["properties"].items():
            assert schema["description"], name
            if name != "family" and name not in OBSERVING:
                forms = [form.get("properties", {}) for form in schema["anyOf"]]
                assert any("choice" in form for form in forms), name


def test_the_committed_schema_is_the_one_that_the_command_prints() -> None:
    """Mend with: tuner schema > docs/tuner.schema.json"""
    committed = SHIPPED[0].parents[1] / "docs" / "tuner.schema.json"
    assert json.loads(committed.read_text("utf-8")) == json_schema()
