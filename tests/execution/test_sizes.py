"""Constraints over the size of a network: no method proposes what breaks one, and a plan counts."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace

import pytest

from tests.models import programs
from tests.search.cases import drive
from tuner.actions.plan import make_plan
from tuner.data.dataset import DatasetInfo
from tuner.errors import InputError
from tuner.execution import networks
from tuner.execution.current import trial_of
from tuner.execution.networks import check_networks
from tuner.experiment import parse_experiment
from tuner.experiment.sizes import cost_of
from tuner.models import FAMILIES, Cost
from tuner.models.own import family as own
from tuner.search import METHODS

INFO = DatasetInfo((32, 32, 3), 10, 50_000, 10_000, "npz:sha256:aa")
TEXT = """
model: {family: resnet, depth: {choice: [8, 14, 20, 32, 44]}, dropout: {choice: [0, 0.2]}}
data: {dataset: cifar10}
training: {epochs: 9, batch_size: {choice: [64, 128]}, learning_rate: RATE}
search: {method: METHOD, max_trials: TRIALS, constraints: [CONSTRAINTS]}
"""
RATE, ENDLESS = "{choice: [0.1, 0.01]}", "{min: 1e-4, max: 0.1, scale: log}"
# On 32x32x3 images and ten classes: 75.3k, 172k, 270k, 464k, 659k parameters.
SMALL = '"parameters <= 0.3e6"'


def experiment(constraints=SMALL, method="grid", trials="null", rate=RATE, model=""):
    text = TEXT.replace("METHOD", method).replace("TRIALS", str(trials)).replace("RATE", rate)
    text = text.replace("CONSTRAINTS", constraints)
    return parse_experiment(text.replace("family: resnet", f"family: resnet{model}"), "x.yaml")


def depths(configurations):
    return {configuration.model["depth"] for configuration in configurations}


def test_a_grid_leaves_out_what_is_too_large_and_counts_it():
    checked = check_networks(experiment(), INFO)
    assert depths(checked.experiment.space) == {8, 14, 20}
    assert len(checked.experiment.space) == 3 * 2 * 2 * 2
    assert checked.excluded == 2 * 2 * 2 * 2
    assert checked.left_out.configurations == 0
    (limit,) = checked.limits()
    assert (limit.networks, limit.num_left_out) == (5, 2)
    assert limit.kept.values == {"model.depth": 20}
    assert limit.left_out.sizes["parameters"] > 0.3e6 > limit.kept.sizes["parameters"]
    assert limit.text().startswith("parameters <= 0.3e6 leaves out 2 of 5 networks: 269,722 param")


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("rate", [RATE, ENDLESS])
@pytest.mark.parametrize("method", sorted(set(METHODS) - {"list"}))
@pytest.mark.usefixtures("dice")
def test_no_method_proposes_what_breaks_a_size(method, rate, is_whole, monkeypatch):
    if method == "grid" and rate == ENDLESS:
        return
    if not is_whole:
        monkeypatch.setattr(networks, "MAX_SIZED_NETWORKS", 2)
    given = experiment(method=method, trials=15, rate=rate)
    checked = check_networks(given, INFO)
    assert checked.is_whole is is_whole
    search = checked.search()
    proposed = drive(search.method)
    assert len({json.dumps(one.flat(), sort_keys=True) for one in proposed}) == 15
    assert depths(proposed) <= {8, 14, 20}
    assert all(cost_of(one, INFO).parameters <= 0.3e6 for one in proposed)


def test_many_networks_are_the_same_search_as_few(monkeypatch):
    whole = drive(check_networks(experiment(), INFO).search().method)
    monkeypatch.setattr(networks, "MAX_SIZED_NETWORKS", 2)
    checked = check_networks(experiment(), INFO)
    assert drive(checked.search().method) == whole
    (limit,) = checked.limits()
    assert not limit.is_all
    assert list(checked.notes())


def test_a_trial_of_before_that_breaks_a_size_is_of_the_experiment_no_more(monkeypatch):
    class Row:
        seed, key = 0, ""

        def __init__(self, configuration):
            self.configuration = configuration.flat()

    for most in (100, 2):
        monkeypatch.setattr(networks, "MAX_SIZED_NETWORKS", most)
        search = check_networks(experiment(), INFO).search()
        known = set()
        for configuration in experiment("").space:
            row = Row(configuration)
            row.key = search.trial(configuration, 0).key
            if trial_of(search, row):
                known.add(configuration.model["depth"])
        assert known == {8, 14, 20}


def test_sizes_and_hyperparameters_mix():
    text = '"parameters <= 0.3e6 or learning_rate == 0.01", "macs < 1e7 or batch_size == 64"'
    space = check_networks(experiment(text), INFO).experiment.space
    expected = 0
    for configuration in experiment("").space:
        cost, training = cost_of(configuration, INFO), configuration.training
        expected += (cost.parameters <= 0.3e6 or training["learning_rate"] == 0.01) and (
            cost.macs < 1e7 or training["batch_size"] == 64
        )
    assert len(space) == expected


def test_a_network_that_some_batch_size_lets_in_is_not_said_to_be_out():
    text = '"parameters <= 0.3e6 or batch_size == 64"'
    (limit,) = check_networks(experiment(text), INFO).limits()
    assert (limit.networks, limit.num_left_out) == (5, None)
    (limit,) = check_networks(experiment('"parameters <= 0.3e6 and epochs == 9"'), INFO).limits()
    assert (limit.networks, limit.num_left_out) == (5, 2)


def test_memory_is_that_of_the_batch_and_of_the_network_as_it_is_compiled():
    limits = check_networks(experiment('"memory_bytes <= 7e7"'), INFO).limits()
    assert limits[0].networks == 10  # five networks with two batch sizes
    assert set(limits[0].kept.values) == {"model.depth", "training.batch_size"}
    plan = make_plan(experiment('"memory_bytes <= 7e7"'), results_dir=_nowhere, data_dir=None)
    assert plan.structures
    assert max(structure.memory_bytes for structure in plan.structures) <= 7e7
    # With dropout in the program, whichever of its rates comes first.
    given = experiment("")
    family = FAMILIES["resnet"]
    off, on = (
        family.cost(family.config(family="resnet", depth=8, dropout=rate), (32, 32, 3), 10)
        for rate in (0.0, 0.2)
    )
    assert off.activations < on.activations
    assert cost_of(given.space[0], INFO).activations == on.activations


_nowhere = __import__("pathlib").Path("/nonexistent")


def test_a_list_leaves_its_large_entries_out():
    text = """
model: {family: resnet}
data: {dataset: cifar10}
training: {epochs: 9}
search: {method: list, configurations: {depth: [44, 8, 32, 20]}, constraints: ["parameters < 3e5"]}
"""
    checked = check_networks(parse_experiment(text, "x.yaml"), INFO)
    assert [c.model["depth"] for c in drive(checked.search().method)] == [8, 20]
    assert checked.excluded == 2


def test_a_picked_configuration_that_is_too_large_is_refused():
    text = TEXT.replace("METHOD", "random").replace("TRIALS", "9").replace("RATE", "0.1")
    start = "start: [{depth: 44, dropout: 0, batch_size: 64}], constraints: [CONSTRAINTS]"
    text = text.replace("constraints: [CONSTRAINTS]", start).replace("CONSTRAINTS", SMALL)
    with pytest.raises(InputError, match="a constraint excludes it") as caught:
        check_networks(parse_experiment(text, "x.yaml"), INFO)
    (problem,) = caught.value.problems
    assert problem.received == "parameters 658,586"
    assert problem.expected == "parameters <= 0.3e6"
    assert problem.where == "x.yaml:5:49"


@pytest.mark.parametrize("rate", [RATE, ENDLESS])
@pytest.mark.parametrize("most", [100, 2])
def test_where_nothing_is_left_the_nearest_network_is_said(rate, most, monkeypatch):
    monkeypatch.setattr(networks, "MAX_SIZED_NETWORKS", most)
    given = experiment('"parameters < 1e4"', method="random", trials=3, rate=rate)
    with pytest.raises(InputError, match="no configuration is left") as caught:
        check_networks(given, INFO)
    assert "(depth=8) is out" in caught.value.problems[0].received


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"parameter <= 3"', "parameter does not exist"),
        ("\"parameters <= 'big'\"", "'big' is no value of size.parameters"),
        ('"parameters"', "stands alone|is no comparison"),
        ('"parameters and macs < 3"', "need comparisons"),
    ],
)
def test_what_is_no_constraint_is_refused_before_anything_is_looked_at(text, words):
    with pytest.raises(InputError, match=words):
        experiment(text)


def test_a_hundred_thousand_random_configurations_are_planned_at_once():
    given = experiment(SMALL, method="random", trials=100_000, rate=ENDLESS)
    began = time.process_time()
    plan = make_plan(given, results_dir=_nowhere, data_dir=None)
    drawn = check_networks(given, INFO).search()
    for _ in itertools.islice(drawn.planned(), 2_000):
        pass
    assert time.process_time() - began < 5
    assert plan.total == 100_000
    assert plan.limits[0].num_left_out == 2


# ---------------------------------------------------------------------- a person's own

_NAMES = (f"sizes{n}:build" for n in itertools.count())


def layers(ask) -> None:
    ask("parameters", 1, 2, 3)


@pytest.fixture
def own_experiment(monkeypatch):
    """Networks of one's own whose `parameters` of a thousand each are a hyperparameter, too."""

    def make(constraints, uncounted=()):
        asked = []

        def ask(self, request):
            if request["ask"] == "declare":
                declared = programs.declared(layers)
                given = tuple(replace(d, structural=True) for d in declared.hyperparameters)
                return replace(declared, hyperparameters=given).to_json()
            asked.append(request["values"]["parameters"])
            cost = {"parameters": 1_000 * asked[-1], "macs": 10, "activations": 10}
            cost["uncounted"] = list(uncounted)
            return {"cost": cost, "notes": [], "precision": own.DEFAULT_PRECISION}

        name = next(_NAMES)
        monkeypatch.setattr(own.OwnProcess, "ask", ask)
        monkeypatch.setitem(own._KNOWN, name, own.OwnFamily(name, "tensorflow"))
        monkeypatch.setattr(own.OwnFamily, "is_current", lambda self: True)
        text = f"""
model: {{family: '{name}'}}
training: {{epochs: 9}}
search: {{constraints: [{constraints}]}}
"""
        return parse_experiment(text, "own.yaml"), asked

    return make


def test_an_own_network_is_counted_once_in_its_process(own_experiment):
    given, asked = own_experiment('"size.parameters <= 2000"')
    checked = check_networks(given, INFO)
    assert [c.model["parameters"] for c in checked.experiment.space] == [1, 2]
    assert sorted(asked) == [1, 2, 3]


def test_a_hyperparameter_that_is_called_like_a_size_is_told_apart(own_experiment):
    given, _ = own_experiment('"model.parameters <= 2"')
    assert len(check_networks(given, INFO).experiment.space) == 2
    with pytest.raises(InputError, match="parameters is ambiguous") as caught:
        own_experiment('"parameters <= 2"')
    assert caught.value.problems[0].expected == "model.parameters or size.parameters"


def test_multiply_adds_that_nobody_knows_are_refused(own_experiment):
    given, _ = own_experiment('"macs <= 50e6"', uncounted=["mixer (Mixer)"])
    with pytest.raises(InputError, match="macs cannot be counted") as caught:
        check_networks(given, INFO)
    assert "mixer (Mixer)" in caught.value.problems[0].received
    given, _ = own_experiment('"size.parameters <= 2000"', uncounted=["mixer (Mixer)"])
    assert len(check_networks(given, INFO).experiment.space) == 2
    assert Cost(1, 2, 3).uncounted == ()
