"""When a hyperparameter is used: what runs show is what there is."""

from __future__ import annotations

import pytest

from tests.models.programs import (
    PROGRAMS,
    blocks_of_layers,
    declared,
    late_question,
    long_range,
    networks,
    too_deep,
)


def used(declaration, values) -> set[str]:
    """The names that are used, given values for all."""
    known = {}
    for one in declaration.hyperparameters:
        if one.is_used(known):
            known[one.name] = values.get(one.name, one.default)
    return set(known)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_exactly_what_is_asked_for_is_used(program) -> None:
    declaration = declared(program)
    for asked in networks(program):
        assert used(declaration, asked) == set(asked)


def test_a_long_range_is_looked_into_where_something_changes() -> None:
    conditions = {one.name: one.conditions for one in declared(long_range).hyperparameters}
    assert conditions["units_0"] == ()
    assert conditions["units_30"] == ((("layers", tuple(range(31, 51))),),)
    assert conditions["pool"] == ((("size", tuple(range(318, 501))),),)


def test_an_error_says_nothing_of_what_would_have_followed() -> None:
    conditions = {one.name: one.conditions for one in declared(too_deep).hyperparameters}
    assert conditions["head"] == ()
    assert conditions["filters_3"] == ((("blocks", (4,)),),)


def test_a_name_comes_after_those_on_which_it_depends() -> None:
    for program in (blocks_of_layers, late_question):
        names = [one.name for one in declared(program).hyperparameters]
        for one in declared(program).hyperparameters:
            parents = {name for condition in one.conditions for name, _ in condition}
            assert all(names.index(parent) < names.index(one.name) for parent in parents)
