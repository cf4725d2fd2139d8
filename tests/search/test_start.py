"""Configurations that a person picks come first, in every method, and are none the other for it."""

from __future__ import annotations

import json

import pytest

from tests.search.cases import ADAPTIVE, CASES, EPOCHS, drive, key, made_up, proposals
from tuner.errors import InputError
from tuner.execution.queue import History, TrialQueue
from tuner.experiment import Experiment, parse_experiment
from tuner.search import Search, make_method
from tuner.search.method import Result
from tuner.search.planned import StartedPlan

pytestmark = pytest.mark.usefixtures("dice")

FINITE = (
    "{family: densenet, growth_rate: 24, l2: 1e-4, batch_size: 64}",
    "{model.family: resnet, depth: 32, dropout: 0, training.l2: 0, batch_size: 32}",
)
ENDLESS = ("{depth: 32, learning_rate: 0.02, l2: 0}", "{depth: 20, learning_rate: 0.1, l2: 0.005}")
LISTED = ("{depth: 56, learning_rate: 0.3}", "{depth: 32, learning_rate: 0.1, l2: 0}")


def picked_for(case) -> tuple[str, ...]:
    return LISTED if case.method == "list" else FINITE if case.size else ENDLESS


def with_start(case, trials: int | None, start) -> Experiment:
    text = case.source(trials).replace("seed:", f"start: [{', '.join(start)}], seed:")
    if case.method == "list":
        text = case.source(trials) + f"  start: [{', '.join(start)}]\n"
    return parse_experiment(text, "x.yaml")


def tried(method) -> list[str]:
    return list(dict.fromkeys(key(configuration) for configuration in drive(method)))


def test_they_come_first_and_then_what_would_have_come_without_repeating(case) -> None:
    experiment = with_start(case, 12, picked_for(case))
    first = [key(configuration) for configuration in experiment.start]
    keys = tried(make_method(experiment))
    assert keys[:2] == first
    assert len(keys) == len(set(keys)) == min(12, case.size or 12)
    if case.method not in ("hyperband", "bayesian", "tpe"):
        plain = [key(c) for c in drive(make_method(case.experiment(12)))]
        assert keys[2:] == [other for other in plain if other not in first][: len(keys) - 2]


def test_with_as_many_trials_as_there_are_points_every_point_comes_once(case) -> None:
    if case.size:
        keys = tried(make_method(with_start(case, 1_000, picked_for(case))))
        assert sorted(keys) == sorted(tried(make_method(case.experiment(1_000))))


def test_a_start_counts_within_max_trials(case) -> None:
    if case.method != "hyperband":
        assert len(tried(make_method(with_start(case, 1, picked_for(case))))) == 1


def test_they_are_the_same_trials_as_those_of_the_space(case) -> None:
    experiment, plain = with_start(case, 12, picked_for(case)), case.experiment(12)
    for configuration in experiment.start:
        other = plain.space.find(json.loads(json.dumps(configuration.flat())))
        assert other is not None
        assert experiment.trial(configuration).key == plain.trial(other).key
        assert canonical_types(configuration.flat()) == canonical_types(other.flat())
    assert parse_experiment(experiment.to_yaml(), "y.yaml") == experiment


def canonical_types(flat) -> dict[str, type]:
    return {name: type(value) for name, value in flat.items()}


@pytest.mark.parametrize("adaptive", ADAPTIVE.values(), ids=ADAPTIVE)
def test_added_later_they_come_next_and_what_was_done_is_learnt_from(adaptive) -> None:
    before = drive(make_method(adaptive.experiment(5)))[:5]
    experiment = with_start(adaptive, 12, picked_for(adaptive))
    first = [key(configuration) for configuration in experiment.start]
    results = []
    for configuration in {key(c): c for c in before}.values():
        curve = tuple(made_up(configuration, epoch) for epoch in range(1, EPOCHS + 1))
        results.append(Result(configuration, max(curve), curve))
    method = make_method(experiment)
    method.restore(results)
    known = {key(result.configuration) for result in results}
    keys = tried(method)
    assert keys[:2] == [one for one in first if one not in known] or not known.isdisjoint(first)
    assert known.isdisjoint(keys)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("{depth: 20, learning_rate: 0.1}", "l2 is left open"),
        ("{depth: 44, learning_rate: 0.1, l2: 0}", "model.depth: 44 is not in the search space"),
        ("{depth: 20, learning_rate: 5, l2: 0}", "5 is not in the search space"),
        ("{depth: 20, learning_rate: 0.1, l2: 0, epochs: 3}", "training.epochs: 3 is not"),
        ("{depht: 20, learning_rate: 0.1, l2: 0}", "depht does not exist"),
        ("{depth: {choice: [20]}, learning_rate: 0.1, l2: 0}", "is not in the search space"),
        ("{family: densenet, learning_rate: 0.1, l2: 0, depth: 20}", "densenet is not"),
        ("{depth: 32, learning_rate: 0.1, l2: 0.01}", "a constraint excludes it"),
        (f"{ENDLESS[0]}, {ENDLESS[0]}", "is the same configuration as [0]"),
        ("5", "wrong type"),
    ],
)
def test_what_is_not_of_the_space_is_refused_with_its_line(start, words) -> None:
    source = CASES["random without end"].source(10).replace("depth * l2 < 0.2", "depth * l2 < 0.3")
    source = source.replace("seed:", f"\n  start: [{start}], seed:")
    with pytest.raises(InputError) as caught:
        parse_experiment(source, "x.yaml")
    (problem,) = caught.value.problems
    assert words in problem.what
    assert problem.where.startswith("x.yaml:5:")
    assert "search.start" in problem.what


def test_a_grid_that_is_taken_up_goes_on_behind_its_start() -> None:
    experiment = with_start(CASES["grid"], 12, FINITE)
    whole = proposals(make_method(experiment))
    for position in range(12):
        method = make_method(experiment)
        method.go_to(position)
        assert proposals(method) == whole[position:]


def test_a_large_grid_knows_of_each_place_whether_it_proposes_it() -> None:
    experiment = with_start(CASES["grid"], 12, FINITE)
    plan = make_method(experiment)
    assert isinstance(plan, StartedPlan)
    proposed = {key(configuration) for configuration in plan}
    for rank, configuration in enumerate(experiment.space):
        assert plan.has_rank(rank) == (key(configuration) in proposed)


def test_a_worker_that_holds_a_later_structure_gets_the_start_first() -> None:
    """In the order in which they were picked, though they do not share a structure."""
    search = Search(with_start(CASES["grid"], 12, FINITE))
    queue = TrialQueue(search, History({}, {}))
    held: set[str] = set()
    given = []
    while (assignment := queue.next(held)) is not None:
        given.append(key(assignment.trial.configuration))
        held.add(assignment.trial.structure.key)
    assert given[:2] == [key(configuration) for configuration in search.experiment.start]
    assert len(given) == len(set(given)) == 12
