"""What every search method keeps: seeded, bounded, repeatable, never the same point twice.

The second half is kept by methods that plan ahead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from tests.search.cases import CASES, drive, made_up, proposals
from tuner.experiment import Configuration
from tuner.experiment.schema import SearchConfig
from tuner.search import METHODS, make_method

SEEDLESS = ("grid", "list")
pytestmark = pytest.mark.usefixtures("dice")


def test_every_method_is_here() -> None:
    assert {case.method for case in CASES.values()} == set(METHODS)
    assert set(get_args(SearchConfig.model_fields["method"].annotation)) == set(METHODS)


def test_every_proposal_is_a_configuration_of_the_space(case) -> None:
    experiment = case.experiment(50)
    for flat in proposals(make_method(experiment)):
        assert experiment.space.find(json.loads(flat)) is not None


def test_it_proposes_no_more_than_it_says(case) -> None:
    method = make_method(case.experiment(7))
    assert len(proposals(method)) <= (method.total or 7)


def can_build(configuration: Configuration) -> bool:
    """Of some networks of each family."""
    model = configuration.model
    return model.get("growth_rate") != 24 and model.get("depth") not in (20, 44)


def test_what_cannot_be_built_is_passed_over_and_others_take_its_place(case) -> None:
    """As many as it says, if there are so many, and the same in the order of a plan."""
    experiment = case.experiment(10)
    possible = make_method(experiment, can_build)
    found = [experiment.space.find(json.loads(flat)) for flat in proposals(possible)]
    assert all(configuration and can_build(configuration) for configuration in found)
    assert possible.exhausted
    left = sum(map(can_build, experiment.space)) if case.size else 10
    assert len(found) == min(10, left)
    if case.method not in ("hyperband", "bayesian", "tpe"):
        plan = drive(make_method(case.experiment(1_000)))
        assert drive(make_method(experiment, can_build)) == list(filter(can_build, plan))[:10]


def test_a_plan_without_what_cannot_be_built_is_taken_up_where_it_stood(planned) -> None:
    whole = drive(make_method(planned.experiment(8), can_build))
    method = make_method(planned.experiment(8), can_build)
    method.go_to(3)
    assert drive(method) == whole[3:]
    nothing = make_method(planned.experiment(8), lambda configuration: False)
    assert nothing.ask() is None
    assert nothing.exhausted


def test_the_same_seed_and_results_give_the_same_proposals(case) -> None:
    one, other = (proposals(make_method(case.experiment())) for _ in range(2))
    assert one == other


def test_another_seed_gives_other_proposals_where_chance_is_used(case) -> None:
    one, other = (proposals(make_method(case.experiment(seed=seed))) for seed in (0, 1))
    assert (one == other) == (case.method in SEEDLESS)


def test_another_process_with_another_hash_seed_proposes_the_same() -> None:
    program = """
import json, sys
import pytest

from tests.search.cases import CASES, Dice, proposals
from tuner.search import bayesian, make_method
bayesian.GaussianProcess = Dice
print(json.dumps([proposals(make_method(case.experiment())) for case in CASES.values()]))
"""
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "4711"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = [proposals(make_method(case.experiment())) for case in CASES.values()]
    assert json.loads(printed) == here


def test_a_plan_proposes_as_many_as_it_says_and_none_twice(planned) -> None:
    for trials in (1, 7, 32, 50):
        method = make_method(planned.experiment(trials))
        total = method.total
        found = [json.dumps(one.flat()) for one in drive(method)]
        assert total == len(found) == len(set(found)) == min(trials, planned.size or trials)


def test_results_do_not_change_a_plan(planned) -> None:
    one = proposals(make_method(planned.experiment()))
    worse = proposals(make_method(planned.experiment()), lambda *at: 1 - made_up(*at))
    assert one == worse
    assert not make_method(planned.experiment()).is_adaptive


def test_more_trials_keep_the_first_ones(planned) -> None:
    few, many = (proposals(make_method(planned.experiment(trials))) for trials in (5, 30))
    assert many[:5] == few


def test_a_plan_is_trained_to_the_end_and_drops_nothing(planned) -> None:
    method = make_method(planned.experiment(5))
    while (proposal := method.ask()) is not None:
        assert proposal.until is None
    assert not method.dropped()


def test_a_plan_that_is_taken_up_goes_on_where_it_stood(planned) -> None:
    experiment = planned.experiment()
    method = make_method(experiment)
    method.go_to(4)
    assert proposals(method) == proposals(make_method(experiment))[4:]


def test_asking_a_plan_is_quick_and_does_not_get_slower(planned) -> None:
    method = make_method(planned.experiment(1_000))
    seconds = []
    while not method.exhausted:
        start = time.perf_counter()
        method.ask()
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[len(seconds) // 2] < 0.005
