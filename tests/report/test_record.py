from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence

import pytest

from tests.report import fixed_ledger
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.records import TrialRow
from tuner.report.record import rank, read_record

COMPLETED = TrialState.COMPLETED


def row(number: int, score: float | None, state: TrialState = COMPLETED) -> TrialRow:
    blank = dict.fromkeys(field.name for field in dataclasses.fields(TrialRow))
    known = {"number": number, "score": score, "state": state, "reason": "", "values": {}}
    return TrialRow(**(blank | known))


def numbers(rows: Sequence[TrialRow]) -> list[int]:
    return [found.number for found in rows]


def test_direction_decides_which_end_is_best() -> None:
    scores = (0.2, 0.3, 0.1, math.inf, -math.inf)
    rows = [row(number, score) for number, score in enumerate(scores, 1)]
    assert numbers(rank(rows, Objective("m", "max")).ranked) == [4, 2, 1, 3, 5]
    assert numbers(rank(rows, Objective("m", "min")).ranked) == [5, 3, 1, 2, 4]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_nan_and_missing_scores_are_never_ranked(direction: str) -> None:
    rows = [row(1, math.nan), row(2, 0.5), row(3, None)]
    found = rank(rows, Objective("m", direction))
    assert numbers(found.ranked) == [2]
    assert numbers(found.unranked) == [1, 3]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_ties_go_to_the_earlier_trial_whatever_the_order_of_rows(direction: str) -> None:
    rows = [row(3, 0.5), row(1, 0.5), row(2, 0.5)]
    assert numbers(rank(rows, Objective("m", direction)).ranked) == [1, 2, 3]


def test_only_completed_and_stopped_trials_are_ranked() -> None:
    rows = [row(number, 0.5, state) for number, state in enumerate(TrialState, start=1)]
    found = rank(rows, Objective("m", "max"))
    assert {r.state for r in found.ranked} == {TrialState.COMPLETED, TrialState.STOPPED}
    assert {r.state for r in found.unranked} == {TrialState.DIVERGED, TrialState.FAILED}
    assert {r.state for r in found.unfinished} == {TrialState.WAITING, TrialState.RUNNING}


def test_every_trial_is_in_exactly_one_part_and_order_does_not_depend_on_input() -> None:
    generator = random.Random(0)
    scores = [0.1, 0.2, 0.2, math.nan, None, math.inf]
    rows = [row(n, generator.choice(scores), generator.choice(list(TrialState))) for n in range(60)]
    shuffled = rows.copy()
    generator.shuffle(shuffled)
    for direction in ("max", "min"):
        found, again = (
            rank(rows, Objective("m", direction)),
            rank(shuffled, Objective("m", direction)),
        )
        everything = [*found.ranked, *found.unranked, *found.unfinished]
        assert sorted(numbers(everything)) == list(range(60))
        assert numbers(found.ranked) == numbers(again.ranked)
        assert numbers(found.unranked) == numbers(again.unranked)


def test_commands_name_results_as_they_must_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for parent, typed in {"results": "grid", "out": "out/grid"}.items():
        record = read_record(fixed_ledger.make(tmp_path / parent))
        assert record.command("confirm") == f"`tuner confirm {typed}`"
    monkeypatch.chdir(tmp_path / "out")
    record = read_record(RunFolder(tmp_path / "results", "grid"))
    assert record.command("retry") == f"`tuner retry {tmp_path / 'results' / 'grid'}`"


def test_what_was_confirmed_is_not_confirmed_again(record):
    assert record.can_be_confirmed
    tested = dataclasses.replace(record, objective=Objective("test_accuracy"))
    assert not tested.can_be_confirmed
