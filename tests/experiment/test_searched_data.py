"""`data.augment` may be left open: trials share one program, and keep their keys."""

from __future__ import annotations

import pytest

from tuner.data.config import DataConfig
from tuner.experiment import parse_experiment

BASE = """
    name: augmented
    data: {dataset: synthetic, augment: AUGMENT}
    model: {family: resnet, depth: 20}
    training: {learning_rate: {choice: [0.1, 0.01]}}
"""
LISTS = ([], ["flip"], ["crop", "flip"])
OPEN = "{choice: [[], [flip], [flip, crop]]}"


@pytest.fixture
def searched(parse):
    return parse(BASE.replace("AUGMENT", OPEN))


def test_each_list_is_a_value_and_all_trials_share_one_program(searched) -> None:
    assert len(searched.space) == 6
    assert searched.space.names == ("training.learning_rate", "data.augment")
    values = [configuration.values["data.augment"] for configuration in searched.space]
    assert values == [*LISTS, *LISTS]
    trials = [searched.trial(configuration) for configuration in searched.space]
    assert [list(trial.data.augment) for trial in trials] == values
    assert len({trial.structure.key for trial in trials}) == 1
    assert list(searched.data.augment) == ["crop", "flip"]  # all that images are prepared for


def test_a_trial_is_the_one_of_an_experiment_that_does_just_this(parse, searched) -> None:
    for index, names in enumerate(LISTS):
        closed = parse(BASE.replace("AUGMENT", str(names)))
        assert searched.trial(searched.space[index]).key == closed.trial(closed.space[0]).key
        own = closed.trial(closed.space[0]).structure.key
        assert searched.trial(searched.space[index]).structure.key != own


def test_what_is_searched_is_no_part_of_the_terms_that_trials_must_share(parse, searched) -> None:
    assert "data.augment" not in searched.trial(searched.space[0]).context
    closed = parse(BASE.replace("AUGMENT", "[flip]"))
    assert closed.trial(closed.space[0]).context["data.augment"] == ["flip"]


def test_it_reads_back_and_its_configurations_can_be_closed(parse, searched) -> None:
    assert parse(searched.to_yaml()) == searched
    best = searched.space[4]
    text = searched.closed(best.flat(), seed=3, suffix="-best")
    closed = parse_experiment(text, "closed.yaml")
    assert closed.data == DataConfig(dataset="synthetic", augment=("flip",))
    assert not closed.searches_augment
    assert searched.space.find(best.flat()) == best


def test_it_can_be_constrained_started_and_listed(parse) -> None:
    text = BASE.replace("AUGMENT", OPEN)
    start = "search.start=[{learning_rate: 0.01, augment: [crop, flip]}]"
    experiment = parse(text, [start])
    assert experiment.start[0].values["data.augment"] == ["crop", "flip"]
    rows = "[{learning_rate: 0.1, augment: [cutout]}, {learning_rate: 0.01}]"
    listed = parse(
        BASE.replace("AUGMENT", "[flip]"), [f"search={{method: list, configurations: {rows}}}"]
    )
    values = [configuration.values["data.augment"] for configuration in listed.space]
    assert values == [["cutout"], ["flip"]]
    assert list(listed.data.augment) == ["flip", "cutout"]
    assert parse(listed.to_yaml()) == listed


def test_constraints_speak_of_augmentation(parse) -> None:
    constraint = "'crop' not in augment or learning_rate < 0.05"
    left = parse(BASE.replace("AUGMENT", OPEN), [f'search.constraints=["{constraint}"]']).space
    values = [(c.values["training.learning_rate"], c.values["data.augment"]) for c in left]
    assert values == [(0.1, []), (0.1, ["flip"])] + [
        (0.01, augment) for augment in ([], ["flip"], ["crop", "flip"])
    ]


@pytest.mark.parametrize(
    ("constraint", "what", "mend"),
    [
        ("'croop' in augment", "'croop' is in no list of data.augment", "crop?"),
        ("augment == 'crop'", "augment is a list, and 'crop' is none", "'crop' in data.augment"),
    ],
)
def test_a_constraint_that_would_decide_nothing_is_refused(refuse, constraint, what, mend) -> None:
    text = BASE.replace("AUGMENT", OPEN)
    (problem,) = refuse(text, [f'search.constraints=["{constraint}"]'])
    assert what in problem.what
    assert (problem.expected, problem.mend) == ("flip, crop", mend)


@pytest.mark.parametrize("comparison", ["== {}", "!= {}", "in [[], {}]"])
def test_a_list_that_is_no_option_is_refused_also_in_another_order(refuse, comparison) -> None:
    text = BASE.replace("AUGMENT", OPEN)
    for items, mend in (("['flip', 'crop']", "in which it is read: [crop, flip]"), ("['flp']", "")):
        constraint = f"augment {comparison.format(items)}"
        (problem,) = refuse(text, [f'search.constraints=["{constraint}"]'])
        assert "is no value of data.augment" in problem.what
        assert problem.expected == "[], [flip], [crop, flip]"
        assert mend in problem.mend


def test_a_constraint_over_augmentation_that_is_not_open_is_refused(refuse) -> None:
    text = BASE.replace("AUGMENT", "[flip]")
    (problem,) = refuse(text, ["search.constraints=[\"'crop' in augment\"]"])
    assert "data.augment is not open" in problem.what
    assert problem.mend.startswith("leave it open")


@pytest.mark.parametrize(
    ("override", "where", "what"),
    [
        ("data.augment={choice: [[crop, flip], [flip, crop]]}", "data.augment", "is the same as"),
        ("data.augment={choice: [[blur], []]}", "data.augment.0", "blur is not known"),
        ("data.augment={min: 1, max: 2}", "data.augment", "has the wrong type"),
        ("data.seed={choice: [1, 2]}", "data.seed", "cannot be left open"),
        ("data={choice: [{seed: 1}, {seed: 2}]}", "data", "cannot be left open"),
    ],
)
def test_what_cannot_be_searched_is_refused(refuse, override, where, what) -> None:
    found = refuse(BASE.replace("AUGMENT", "[]"), [override])
    assert any(what in problem.what and where in problem.what for problem in found), found
