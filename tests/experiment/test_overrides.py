"""-S a.b=VALUE: closes and opens values, and points at itself when it is wrong."""

from __future__ import annotations

import pytest

TEXT = """
    name: a
    model: {family: resnet, depth: {choice: [20, 32]}}
    training: {epochs: 3, learning_rate: {min: 1e-4, max: 1e-2, scale: log, count: 3}}
"""


@pytest.mark.parametrize(
    ("overrides", "size"),
    [
        (["training.epochs=5"], 6),
        (["model.depth=20"], 3),
        (["model.depth={choice: [20, 32, 44, 56]}"], 12),
        (["model.depth={choice:[20,32]}"], 6),
        (["training.learning_rate.count=5"], 10),
        (["training.learning_rate=1e-3", "training.l2={choice: [0, 1e-4]}"], 4),
        (["model={choice: [{family: plain}, {family: densenet}]}"], 6),
        (["model.depth.choice.1=44"], 6),
        (["search.max_trials=2"], 6),
        (["search={method: random, max_trials: 2}"], 6),
        (["data.augment=[crop]"], 6),
        (["model.depth=20", "model.depth={choice: [20, 26, 32]}"], 9),
    ],
)
def test_values_are_closed_opened_and_replaced(parse, overrides, size) -> None:
    assert len(parse(TEXT, overrides).space) == size


def test_the_last_of_two_overrides_counts_and_the_resolved_file_keeps_it(parse) -> None:
    experiment = parse(TEXT, ["training.epochs=5", "training.epochs=6"])
    assert experiment.document["training"]["epochs"] == 6
    assert experiment.space[0].training["epochs"] == 6
    assert parse(experiment.to_yaml()) == experiment


@pytest.mark.parametrize(
    ("override", "words", "mend"),
    [
        ("model.dpth=3", "model.dpth: is not known", "depth?"),
        ("trainng.epochs=3", "trainng: is not known", "training?"),
        ("epochs=3", "epochs: is not known", "training.epochs?"),
        ("model.depth=21", "21 is not possible here", "20 or 26"),
        ("model.depth", "needs a name, = and a value", ""),
        ("model.depth=", "needs a name, = and a value", "write null for no value"),
        ("=3", "an empty name", ""),
        ("model..depth=3", "an empty name", ""),
        ("model.depth={choice:", "not readable", "single quotes"),
        ("model.depth=[20", "not readable", "single quotes"),
        ("model.depth={min:20,max:32}", "wrong type", "a space after each colon"),
        ("training.epochs.x=3", "training.epochs is 3, which has no x", ""),
        ("model.depth.choice.7=3", "model.depth.choice is a list", ""),
        ("model.0=3", "which has no 0", ""),
        ("training.l2=*a", "alias", ""),
        ("training.l2=!!float 3", "tag", ""),
        ("training.l2=.nan", "not a finite number", ""),
        ("description=a: b", "wrong type", "put it in quotes"),
    ],
)
def test_a_wrong_override_is_shown_as_it_was_typed(refuse, override, words, mend) -> None:
    problem = refuse(TEXT, [override])[0]
    assert problem.where == f"-S {override}"
    assert words in problem.what
    assert mend in problem.mend


def test_an_option_of_a_choice_of_mappings_is_named_by_its_index(parse, refuse) -> None:
    text = "model: {choice: [{family: resnet, depth: 20}, {family: plain}]}"
    assert parse(text, ["model.choice.0.depth=32"]).space[0].model["depth"] == 32
    problem = refuse(text, ["model.depth=32"])[0]
    assert problem.mend == "name the option, as model.choice.0.depth"


def test_a_weight_is_named_by_the_number_of_its_class(parse) -> None:
    text = "model: {family: lenet}\ntraining: {class_weight: {0: 1, 1: 5}}"
    found = parse(text, ["training.class_weight.1=8"]).space[0].training["class_weight"]
    assert {str(name): weight for name, weight in found.items()} == {"0": 1, "1": 8}
    opened = parse(text, ["training.class_weight.1={choice: [8, 9]}"]).space
    assert {c.values["training.class_weight.1"] for c in opened} == {8, 9}


def test_all_wrong_overrides_are_told_at_once(refuse) -> None:
    assert len(refuse(TEXT, ["model.depth", "training.l2=*a", "training.epochs.x=3"])) == 3
