"""A family of one's own in an experiment: what it declares is open, what is written decides."""

from __future__ import annotations

import itertools
import os

import pytest

from tuner.errors import InputError
from tuner.experiment import parse_experiment
from tuner.models.own.family import own_family

RANDOM = "search: {method: random, max_trials: 8}"
LOGITS, COMPILED = "tests.models.own_nets:logits", "tests.models.own_nets:compiled"

pytestmark = pytest.mark.usefixtures("forked_workers")


def parse(text: str, overrides: tuple[str, ...] = ()):
    return parse_experiment(text, "own.yaml", overrides)


def experiment(model: str, rest: str = RANDOM):
    return parse(f"model: {model}\n{rest}\n")


def test_what_build_declares_and_nobody_writes_is_open():
    space = experiment(f"{{family: '{LOGITS}'}}").space
    assert set(space.names) == {
        *("model.num_layers", "model.filters_0", "model.activation", "model.dropout"),
        *("model.filters_1", "model.filters_2"),
    }
    by_layers = {b.model["num_layers"]: {a.name for a in b.axes} for b in space.branches}
    assert "model.filters_2" not in by_layers[2]
    assert "model.filters_2" in by_layers[3]


def test_what_is_written_is_as_it_is_written():
    text = f"{{family: '{LOGITS}', num_layers: 2, activation: tanh, dropout: {{choice: [0.1, 0.4]}}"
    told = experiment(text + ", filters_0: 5}", "training: {epochs: 1}")
    assert len(told.space) == 3 * 2  # filters_1 and dropout
    values = told.space[0].model
    assert (values["filters_0"], values["num_layers"], values["filters_2"]) == (5, 2, None)


def test_runtime_values_share_a_structure():
    told = experiment(f"{{family: '{LOGITS}', num_layers: 1, filters_0: 4, activation: relu}}")
    trials = [told.trial(told.space.sample(_Fixed(u))) for u in (0.1, 0.9)]
    assert trials[0].key != trials[1].key
    assert trials[0].structure == trials[1].structure


class _Fixed:
    def __init__(self, u: float) -> None:
        self.u = u

    def random(self) -> float:
        return self.u


def test_a_compiled_model_brings_its_optimizer():
    told = experiment(f"{{family: '{COMPILED}'}}")
    configuration = told.space.sample(_Fixed(0.5))
    assert configuration.training["optimizer"] == "compiled"
    assert "training.learning_rate" not in configuration.flat()
    assert "model.learning_rate" in configuration.flat()


def test_what_is_written_takes_the_place_of_compile():
    rest = (
        "training: {optimizer: adam, learning_rate: 0.1}\nsearch: {method: random, max_trials: 2}"
    )
    configuration = experiment(f"{{family: '{COMPILED}'}}", rest).space.sample(_Fixed(0.5))
    assert configuration.flat()["training.learning_rate"] == 0.1


@pytest.mark.parametrize(
    ("text", "what", "mend"),
    [
        (f"model: {{family: '{COMPILED}'}}\ntraining: {{beta_1: 0.5}}", "has no effect", "adam"),
        (f"model: {{family: '{LOGITS}'}}\ntraining: {{optimizer: compiled}}", "compiled", "sgd"),
        ("model: {family: resnet}\ntraining: {optimizer: compiled}", "compiled", "sgd"),
        (f"model: {{family: '{LOGITS}', num_layer: 2}}", "not known", "num_layers"),
        (f"model: {{family: '{LOGITS}', activation: rellu}}", "not known", "relu"),
        (f"model: {{family: '{LOGITS}', num_layers: many}}", "wrong type", ""),
        ("model: {family: 'tests.models.own_nets:raising'}", "no luck today", ""),
    ],
)
def test_a_mistake_has_a_message_with_its_line(text, what, mend):
    with pytest.raises(InputError) as caught:
        parse(text + "\nsearch: {method: random, max_trials: 2}")
    (problem,) = caught.value.problems
    told = str(caught.value)
    assert what in told
    assert mend in told
    assert problem.where.startswith("own.yaml:")


def test_a_choice_of_families_may_hold_one():
    text = f"{{choice: [{{family: resnet}}, {{family: '{LOGITS}', num_layers: 1}}]}}"
    families = {branch.model["family"] for branch in experiment(text).space.branches}
    assert families == {"resnet", LOGITS}


def test_names_of_every_sort_can_be_searched():
    pytest.importorskip("jax")
    told = experiment("{family: 'tests.models.own_nets:oddly_named', copy: 1}\nbackend: jax")
    configuration = told.space.sample(_Fixed(0.9))
    assert configuration.model["copy"] == 1
    assert {"model.num units", "model.head/units"} <= configuration.values.keys()
    family = own_family("tests.models.own_nets:oddly_named")
    assert told.trial(configuration).key
    widths = [8 * 8 * 3, *(w for n, w in configuration.model.items() if n != "family"), 4]
    parameters = sum(a * b + b for a, b in itertools.pairwise(widths))
    cost = family.cost(family.config(**configuration.model), (8, 8, 3), 4)
    assert cost.parameters == parameters


def test_editing_what_the_file_imports_makes_other_trials(tmp_path, monkeypatch):
    """Imported late, as it is: only when build runs."""
    (tmp_path / "edited_nets.py").write_text(
        "def build(hp):\n    from edited_blocks import stack\n    return stack(hp)\n"
    )
    source = tmp_path / "edited_blocks.py"
    source.write_text(
        "import keras\n\n\ndef stack(hp):\n"
        "    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(),\n"
        "                             keras.layers.Dense(hp.Int('units', 2, 3))])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    text = "model: {family: 'edited_nets:build'}"
    before = parse(text)
    key = before.trial(before.space[0]).key
    assert parse(text).trial(before.space[0]).key == key
    source.write_text(source.read_text().replace("2, 3", "2, 4"))
    after = parse(text)
    assert (len(before.space), len(after.space)) == (2, 3)
    assert after.trial(after.space[0]).key != key


def test_its_cost_is_that_of_the_built_network():
    family = own_family(COMPILED)
    cost = family.cost(family.config(), (8, 8, 3), 4)
    assert cost.parameters == 192 * 8 + 8 + 8 * 4 + 4
