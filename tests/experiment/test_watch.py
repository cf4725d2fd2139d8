"""`training.watch`: kept of a trial, no part of what it is."""

from __future__ import annotations

import pytest

from tuner.errors import InputError

BASE = """
    model: {family: resnet, depth: {choice: [8, 14]}}
    training: {epochs: 3, watch: [gradients]}
    data: {dataset: synthetic}
"""


def test_it_reaches_the_worker_and_neither_structure_nor_record(parse) -> None:
    watched, other = parse(BASE), parse(BASE, ["training.watch=[]"])
    trial, same = (each.trial(each.space[0]) for each in (watched, other))
    assert list(trial.configuration.training["watch"]) == ["gradients"]
    assert trial.structure.key == same.structure.key
    assert trial.key == same.key
    assert trial.configuration.flat() == same.configuration.flat()


@pytest.mark.parametrize(
    "override",
    [
        "training.watch={choice: [[gradients], []]}",
        "training={choice: [{watch: [gradients], epochs: 3}, {epochs: 4}]}",
    ],
)
def test_it_cannot_be_left_open(parse, override: str) -> None:
    with pytest.raises(InputError, match="watch: cannot be left open: it changes no outcome"):
        parse(BASE, [override])


def test_a_list_of_configurations_cannot_name_it(parse) -> None:
    listed = "{method: list, configurations: [{depth: 8, watch: [gradients]}]}"
    with pytest.raises(InputError, match="watch"):
        parse(BASE, [f"search={listed}"])


def test_a_constraint_cannot_name_it(parse) -> None:
    with pytest.raises(InputError, match="watch"):
        parse(BASE, ["search.constraints=['watch == 1']"])
