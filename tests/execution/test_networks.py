"""What cannot be built is left out of the search, counted and named; refused if nothing can be."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.models import programs
from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError
from tuner.execution import networks
from tuner.execution.networks import check_networks
from tuner.experiment import parse_experiment
from tuner.experiment.constraints import Exclusion
from tuner.models.own import family as own
from tuner.search import METHODS

INFO = DatasetInfo((8, 8, 3), 4, 100, 0, "npz:sha256:aa")
_NAMES = (f"networks{n}:build" for n in itertools.count())
KERAS_SAYS = "ValueError: Computed output size would be zero."


def blocks(ask) -> None:
    for n in range(ask("blocks", 1, 2, 3, 4, 5)):
        ask(f"filters_{n}", 4, 8)
    ask("rate", 0.1, 0.2, 0.3)


class Builds:
    """What stands for the process: it cannot build more blocks than that."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, 0
        self.declaration = programs.declared(blocks)
        given = [replace(d, structural=d.name != "rate") for d in self.declaration.hyperparameters]
        self.declaration = replace(self.declaration, hyperparameters=tuple(given))

    def ask(self, process, request):
        if request["ask"] == "declare":
            return self.declaration.to_json()
        self.asked += 1
        if request["values"]["blocks"] > self.most:
            raise InputError(own.Problem("build cannot be run", "model.family", KERAS_SAYS))
        cost = {"parameters": 10, "macs": 10, "activations": 10}
        return {"cost": cost, "notes": [], "precision": own.DEFAULT_PRECISION}


@pytest.fixture
def experiment(monkeypatch):
    """An experiment over blocks; its builds know how often they were asked."""

    def make(most: int, model: str = "", method: str = "grid", **search):
        builds, name = Builds(most), next(_NAMES)
        monkeypatch.setattr(own.OwnProcess, "ask", lambda self, request: builds.ask(self, request))
        monkeypatch.setitem(own._KNOWN, name, own.OwnFamily(name, "tensorflow"))
        monkeypatch.setattr(own.OwnFamily, "is_current", lambda self: True)
        if method not in ("grid", "list"):
            search.setdefault("max_trials", 20)
        settings = "".join(f", {name}: {value}" for name, value in search.items())
        text = f"""
model: {{family: '{name}'{model}}}
training: {{epochs: 9}}
search: {{method: {method}{settings}}}
"""
        return parse_experiment(text, "blocks.yaml"), builds

    return make


def test_a_finite_space_is_what_can_be_built(experiment) -> None:
    given, builds = experiment(3)
    checked = check_networks(given, INFO)
    assert len(given.space) == 3 * (2 + 4 + 8 + 16 + 32)
    assert len(checked.experiment.space) == 3 * (2 + 4 + 8)
    assert max(c.model["blocks"] for c in checked.experiment.space) == 3
    assert builds.asked == 2 + 4 + 8 + 16 + 32  # rates make no other network
    assert checked.left_out.configurations == 3 * (16 + 32)
    count, reason = checked.left_out.notes()
    assert count == "144 configurations (48 networks) cannot be built and are left out"
    assert reason.startswith("blocks=4, filters_0=4, ")
    assert reason.endswith(
        "…: build cannot be run: ValueError: Computed output size would be zero."
    )
    named = checked.left_out.to_json()["networks"][0]
    assert named["values"]["model.blocks"] == 4


def test_the_present_trials_keep_their_keys(experiment) -> None:
    given, _ = experiment(3)
    checked = check_networks(given, INFO)
    before = {given.trial(c).key for c in given.space if c.model["blocks"] <= 3}
    assert {checked.experiment.trial(c).key for c in checked.experiment.space} == before


def test_inside_a_branch_combinations_are_left_out(experiment) -> None:
    given, _ = experiment(3, ", blocks: {choice: [2, 3, 9]}, filters_0: 4, filters_1: 4")
    checked = check_networks(given, INFO)
    assert {c.model["blocks"] for c in checked.experiment.space} == {2, 3}


def test_where_nothing_can_be_built_the_first_error_is_said_with_its_line(experiment) -> None:
    given, _ = experiment(0)
    with pytest.raises(InputError, match="build cannot be run") as caught:
        check_networks(given, INFO)
    assert caught.value.problems[0].where == "blocks.yaml:2:9"


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"list"}))
@pytest.mark.usefixtures("dice")
def test_of_many_networks_each_is_looked_at_when_its_turn_comes(
    experiment, monkeypatch, method: str
) -> None:
    """The same configurations as where all were looked at before, and no failed one."""
    from tests.search.cases import drive

    given, _ = experiment(3, method=method)
    whole = check_networks(given, INFO).search()
    monkeypatch.setattr(networks, "MAX_OWN_NETWORKS", 10)
    given, builds = experiment(3, method=method)
    checked = check_networks(given, INFO)
    assert not checked.is_whole
    assert builds.asked <= 2
    search = checked.search()
    found = {tuple(c.values.values()) for c in drive(search.method)}
    assert max(values[0] for values in found) <= 3
    expected = len(whole.experiment.space) if method == "grid" else 20
    assert len(found) == expected
    assert checked.left_out_so_far().networks
    assert not checked.left_out_so_far().is_all


def test_a_plan_looks_at_what_comes_first_and_a_run_says_the_same(experiment, monkeypatch) -> None:
    monkeypatch.setattr(networks, "MAX_OWN_NETWORKS", 10)
    told = []
    for _ in range(2):
        given, builds = experiment(3, method="random", max_trials=10)
        checked = check_networks(given, INFO)
        told.append(list(checked.looked_ahead(checked.search()).notes()))
        assert builds.asked < 62
    assert told[0] == told[1]
    assert told[0][0].endswith("cannot be built and are left out, so far")


def test_no_more_is_looked_at_than_a_search_that_learns_may_propose(
    experiment, monkeypatch
) -> None:
    monkeypatch.setattr(networks, "MAX_OWN_NETWORKS", 10)
    given, builds = experiment(5, method="bayesian", max_trials=3)
    checked = check_networks(given, INFO)
    checked.looked_ahead(checked.search())
    assert builds.asked <= 4


def test_what_was_trained_is_not_built_again(experiment, monkeypatch) -> None:
    monkeypatch.setattr(networks, "MAX_OWN_NETWORKS", 10)
    given, builds = experiment(5, method="random", max_trials=30)
    checked = check_networks(given, INFO)
    before = builds.asked
    rows = [given.trial(c).configuration.flat() for c in given.space]
    for flat in rows:
        checked.networks.trust(flat)
    assert len(list(checked.search().planned())) == 30
    assert builds.asked == before


def test_options_of_our_own_that_cannot_take_the_images_are_left_out() -> None:
    text = """
model: {choice: [{family: lenet}, {family: resnet, depth: 8}]}
training: {learning_rate: {min: 0.01, max: 0.1, scale: log}}
search: {method: random, max_trials: 5}
"""
    small = replace(INFO, image_shape=(4, 4, 3))
    checked = check_networks(parse_experiment(text, "x.yaml"), small)
    assert {b.model["family"] for b in checked.experiment.space.branches} == {"resnet"}
    assert checked.left_out.configurations is None
    ((values, reason),) = checked.left_out.networks
    assert values == {"model.family": "lenet"}
    assert "4x4" in reason
    with pytest.raises(InputError):
        check_networks(parse_experiment("model: {family: lenet}", "x.yaml"), small)


@pytest.mark.usefixtures("forked_workers")
def test_a_build_that_raises_for_some_values_is_asked_and_told_of() -> None:
    name = "tests.models.own_nets:sometimes"
    text = f"model: {{family: '{name}', num_layers: 1, filters_0: 4, dropout: 0.1}}"
    checked = check_networks(parse_experiment(text, "x.yaml"), INFO)
    assert {c.model["units"] for c in checked.experiment.space} == {1, 3}
    assert len(checked.experiment.space) == checked.left_out.configurations * 2 == 4
    assert "RuntimeError: two is not possible" in list(checked.left_out.notes())[1]


def test_an_exclusion_holds_for_single_values_and_for_grids() -> None:
    import numpy as np

    from tuner.experiment.constraints import as_array

    out = Exclusion(
        ("a", "b"), frozenset({((False, 1), (False, "x")), ((True, True), (False, "y"))})
    )
    assert not out({"a": 1, "b": "x"})
    assert out({"a": True, "b": "x"})
    a, b = as_array([1, 2]).reshape(-1, 1), as_array(["x", "y"]).reshape(1, -1)
    assert np.array_equal(out({"a": a, "b": b}), [[False, True], [True, True]])
    assert not out({"a": as_array([True]), "b": "y"})[0]


def test_of_a_list_the_rest_is_run(experiment) -> None:
    listed = "[{blocks: 5}, {blocks: 1}, {blocks: 4}, {blocks: 2}]"
    model = "".join(f", filters_{n}: 4" for n in range(5)) + ", rate: 0.1"
    given, _ = experiment(3, model, "list", configurations=listed)
    checked = check_networks(given, INFO)
    assert [c.model["blocks"] for c in checked.search().planned()] == [1, 2]
    assert checked.left_out.configurations == 2
    assert [values["model.blocks"] for values, _ in checked.left_out.networks] == [5, 4]


def test_what_a_person_picked_and_cannot_be_built_is_refused_and_not_left_out() -> None:
    text = (
        "model: {family: lenet, kernel_size: {choice: [3, 5]}}\n"
        "search: {start: [{kernel_size: 3}, {kernel_size: 5}]}\n"
    )
    with pytest.raises(InputError) as caught:
        check_networks(parse_experiment(text, "x.yaml"), INFO)
    (problem,) = caught.value.problems
    assert problem.what.startswith("search.start[1]: the images are too small")
    assert problem.where == "x.yaml:2:36"
