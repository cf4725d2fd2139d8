"""What every search method keeps: seeded, bounded, repeatable, never the same point twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from tuner.experiment import Experiment
from tuner.search import make_method


def proposals(experiment: Experiment, score: float | None = None) -> list[str]:
    method = make_method(experiment)
    found = []
    while (configuration := method.ask()) is not None:
        found.append(json.dumps(configuration.flat(), sort_keys=True))
        method.tell(configuration, score, 3)
    assert method.exhausted
    assert method.ask() is None
    return found


def test_it_proposes_as_many_as_it_says_and_none_twice(case) -> None:
    for trials in (1, 7, 32, 50):
        experiment = case.experiment(trials)
        total = make_method(experiment).total
        found = proposals(experiment)
        assert total == len(found) == len(set(found)) == min(trials, case.size or trials)


def test_every_proposal_is_a_configuration_of_the_space(case) -> None:
    experiment = case.experiment(50)
    for flat in proposals(experiment):
        assert experiment.space.find(json.loads(flat)) is not None


def test_the_same_seed_gives_the_same_proposals(case) -> None:
    assert proposals(case.experiment()) == proposals(case.experiment())


def test_another_seed_gives_other_proposals_where_chance_is_used(case) -> None:
    one, other = (proposals(case.experiment(seed=seed)) for seed in (0, 1))
    assert (one == other) == (case.method == "grid")


def test_results_do_not_change_a_plan(case) -> None:
    experiment = case.experiment()
    assert proposals(experiment) == proposals(experiment, score=0.9)


def test_more_trials_keep_the_first_ones(case) -> None:
    few, many = proposals(case.experiment(5)), proposals(case.experiment(30))
    assert many[:5] == few


def test_another_process_with_another_hash_seed_proposes_the_same(case) -> None:
    program = """
import json, sys
from tuner.experiment import parse_experiment
from tuner.search import make_method
method = make_method(parse_experiment(sys.argv[1], "x.yaml"))
while (point := method.ask()) is not None:
    print(json.dumps(point.flat(), sort_keys=True))
"""
    printed = subprocess.run(
        [sys.executable, "-c", program, case.source()],
        env=os.environ | {"PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.splitlines() == proposals(case.experiment())


def test_asking_is_quick_and_does_not_get_slower(case) -> None:
    method = make_method(case.experiment(1_000))
    seconds = []
    while not method.exhausted:
        start = time.perf_counter()
        method.ask()
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[len(seconds) // 2] < 0.005
