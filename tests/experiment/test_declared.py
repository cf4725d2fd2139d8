"""The space of what a build function declares: no value where it is not used, none lost."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from tests.models import programs
from tests.models.programs import PROGRAMS, networks
from tuner.errors import InputError
from tuner.experiment import Experiment, parse_experiment
from tuner.models.own import family as own

_NAMES = (f"programs{n}:build" for n in itertools.count())


@pytest.fixture
def experiment(monkeypatch):
    """An experiment over a program that stands for a build function."""

    def make(program, model: str = "", search: str = "") -> Experiment:
        declaration, name = programs.declared(program), next(_NAMES)
        monkeypatch.setattr(own.OwnProcess, "ask", lambda self, request: declaration.to_json())
        monkeypatch.setitem(own._KNOWN, name, own.OwnFamily(name, "tensorflow"))
        monkeypatch.setattr(own.OwnFamily, "is_current", lambda self: True)
        text = f"model: {{family: '{name}'{model}}}\n{search}"
        return parse_experiment(text, "declared.yaml")

    return make


def values_of(configuration) -> frozenset:
    model = configuration.model
    return frozenset((n, v) for n, v in model.items() if n != "family" and v is not None)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_grid_has_every_network_once_and_no_other(experiment, program) -> None:
    space = experiment(program).space
    expected = [frozenset(asked.items()) for asked in networks(program)]
    assert Counter(map(values_of, space)) == Counter(expected)


def test_a_grid_over_two_kinds_and_their_layers_has_56_networks(experiment) -> None:
    assert len(experiment(programs.kinds).space) == 56
    assert len(experiment(programs.kinds, ", kind: cnn, cnn_layers: 2").space) == 8


def test_values_are_shown_only_where_they_are_used(experiment) -> None:
    for configuration in experiment(programs.kinds).space:
        shown = {n.removeprefix("model."): v for n, v in configuration.values.items()}
        assert frozenset(shown.items()) == values_of(configuration)


def test_what_is_not_used_has_no_value(experiment) -> None:
    space = experiment(programs.kinds).space
    flat = next(c.flat() for c in space if c.model["kind"] == "cnn")
    assert not [name for name in flat if "units" in name or "mlp" in name]
    assert space.index(flat) is not None
    # As older ledgers have them.
    assert space.index({**flat, "model.units_0": None}) == space.index(flat)


def test_a_constraint_leaves_alone_what_has_not_its_names(experiment) -> None:
    search = 'search: {constraints: ["units_0 + units_1 < 100"]}'
    space = experiment(programs.kinds, search=search).space
    assert len(space) == 2 * (2 + 3 + 2 * 3) + 28
    assert space.excluded == 2 * (1 + 2)


def test_what_is_written_open_decides_as_what_is_declared(experiment) -> None:
    space = experiment(programs.kinds, ", kind: mlp, mlp_layers: {choice: [1, 3]}").space
    assert len(space) == (2 + 8) * 2
    space = experiment(programs.kinds, ", units_1: {choice: [5, 6, 7]}").space
    values = [c.model["units_1"] for c in space if c.model["kind"] == "mlp"]
    assert len(space) == 2 * (2 + 2 * 3 + 4 * 3) + 28
    assert Counter(values) == {None: 4, 5: 12, 6: 12, 7: 12}


def test_beyond_what_is_declared_the_nearest_value_decides(experiment) -> None:
    space = experiment(programs.kinds, ", kind: mlp, mlp_layers: {min: 2, max: 5}").space
    assert Counter(c.model["mlp_layers"] for c in space) == {2: 8, 3: 16, 4: 16, 5: 16}
    beyond = experiment(programs.kinds, ", kind: mlp, mlp_layers: 9").space
    assert len(beyond) == 16
    (note,) = beyond.branches[0].notes
    assert note.startswith("model.mlp_layers has values that build does not declare")
    assert not experiment(programs.kinds, ", kind: mlp, mlp_layers: 2").space.branches[0].notes


def test_a_constraint_leaves_alone_what_is_written_as_null(experiment) -> None:
    search = """search:
  method: list
  constraints: ["units_1 <= units_0"]
  configurations: {mlp_layers: [1, 2, 2], units_0: [8, 8, 8], units_1: [null, 4, 16]}
"""
    space = experiment(programs.kinds, ", kind: mlp, dropout: true", search).space
    assert [c.model["units_1"] for c in space] == [None, 4]


def test_an_open_value_that_is_never_used_is_an_error_with_its_line(experiment) -> None:
    with pytest.raises(InputError, match="units_1: has no effect") as caught:
        experiment(programs.kinds, ", kind: cnn, units_1: {choice: [5, 6]}")
    assert caught.value.problems[0].where.startswith("declared.yaml:1:")


def test_too_many_branches_are_refused_with_what_mends_it(experiment) -> None:
    def switches(ask) -> None:
        for n in range(12):
            if ask(f"on_{n}", False, True):
                ask(f"size_{n}", 1, 2)

    with pytest.raises(InputError, match="more than 1,000 branches") as caught:
        experiment(switches)
    assert "write some values" in caught.value.problems[0].mend


def depths(ask) -> None:
    for n in range(ask("num_layers", *range(2, 21))):
        ask(f"units_{n}", 4, 8, 16)


SEARCH = "search: {method: random, max_trials: 5}"


def test_a_draw_gives_every_depth_the_same_share(experiment) -> None:
    space = experiment(depths, search=SEARCH).space
    rng = random.Random(0)
    drawn = Counter(space.sample(rng).model["num_layers"] for _ in range(1900))
    assert set(drawn) == set(range(2, 21))
    assert all(60 < count < 140 for count in drawn.values())


def test_a_share_is_that_of_the_scale_on_which_the_parent_lies(experiment) -> None:
    space = experiment(depths, ", num_layers: {min: 2, max: 20, scale: log}", SEARCH).space
    rng = random.Random(0)
    drawn = Counter(space.sample(rng).model["num_layers"] for _ in range(2000))
    assert drawn[2] > 300 > drawn[10]
    low, middle = sum(drawn[n] for n in range(2, 6)), sum(drawn[n] for n in range(6, 21))
    assert 0.6 < low / middle < 1.6
