"""Hyperband: the paper's numbers, who goes on, and runs that were interrupted anywhere."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.search.surface import GRID, Row, Simulation, Surface, experiment_of, name_of
from tuner.errors import InputError
from tuner.experiment import Experiment, parse_experiment
from tuner.search import make_method
from tuner.search.hyperband import Halving, Hyperband
from tuner.search.method import Result
from tuner.search.planned import DrawnPlan

ENDLESS = GRID.replace(", count: 7", "")


def small(trials: int = 17, seed: int = 0, text: str = GRID) -> Experiment:
    """Nine epochs: brackets of 9, 5 and 3 configurations, and again."""
    return experiment_of(f"{{method: hyperband, max_trials: {trials}, seed: {seed}}}", 9, text)


def hyperband(experiment: Experiment) -> Hyperband:
    method = make_method(experiment)
    assert isinstance(method, Hyperband)
    return method


# --------------------------------------------------------------------- the brackets


def test_brackets_are_those_of_algorithm_1() -> None:
    """R = 81, η = 3. The paper's table 1 rounds down before it multiplies: 81, 27, 9, 6, 5."""
    halving = Halving(epochs=81, min_epochs=1, reduction=3)
    sizes = [halving.size(bracket) for bracket in range(7)]
    assert sizes == [81, 34, 15, 8, 5, 81, 34]
    table = [[(r.size, r.epochs) for r in halving.rungs(b, sizes[b])] for b in range(5)]
    assert table == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


def test_rungs_are_whole_epochs_and_none_is_below_the_least() -> None:
    halving = Halving(epochs=40, min_epochs=2, reduction=3)
    assert [[r.epochs for r in halving.rungs(b, halving.size(b))] for b in range(3)] == [
        [4, 13, 40],
        [13, 40],
        [40],
    ]
    for epochs, least, reduction in itertools.product(range(4, 60), (1, 2), (2, 3, 4)):
        halving = Halving(epochs, least, reduction)
        rungs = [rung.epochs for rung in halving.rungs(0, halving.size(0))]
        assert rungs[0] >= min(least, epochs)
        assert rungs[-1] == epochs
        assert sorted(set(rungs)) == rungs


def test_planned_epochs_by_hand() -> None:
    """9 to epoch 1, 3 of them to 3, 1 to 9; 5 to 3, 1 of them to 9; 3 to 9."""
    assert hyperband(small()).planned_epochs == 9 + 3 * 2 + 6 + 5 * 3 + 6 + 3 * 9
    # Of the first bracket 4 only: 4 to epoch 1, 1 to 3 and to 9.
    assert hyperband(small(4)).planned_epochs == 4 + 2 + 6


@pytest.mark.parametrize("trials", [1, 2, 8, 17, 30, 60])
def test_as_many_epochs_are_trained_as_planned(trials: int) -> None:
    experiment = small(trials, text=TAME)
    run = Simulation(experiment, Surface(0, 9)).run()
    assert run.trained_epochs == hyperband(experiment).planned_epochs
    assert run.method.total == len(run.rows) == trials
    assert run.method.exhausted


TAME = GRID.replace("max: 1e-1", "max: 1e-2")  # nothing diverges


# ----------------------------------------------------------------------- who goes on


def drive(method: Hyperband, scores: list[float]) -> list[tuple[int, int | None]]:
    """One worker; the configuration that comes k-th always has score k."""
    asked, numbers = [], {}
    while (proposal := method.ask()) is not None:
        number = numbers.setdefault(name_of(proposal.configuration), len(numbers))
        asked.append((number, proposal.until))
        value, epochs = scores[number], proposal.until or 9
        method.tell(
            Result(proposal.configuration, value, (value,) * epochs, proposal.until is None)
        )
    return asked


def test_the_best_of_a_rung_go_on_best_first_and_bracket_follows_bracket() -> None:
    scores = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5, 0.1, 0.2, 0.3, 0.2, 0.1, 0, 0, 0]
    method = hyperband(small())
    assert drive(method, scores) == [
        *((number, 1) for number in range(9)),
        *((1, 3), (3, 3), (5, 3), (1, None)),
        *((number, 3) for number in range(9, 14)),
        (11, None),
        *((number, None) for number in range(14, 17)),
    ]
    assert method.exhausted
    reasons = [reason for _, reason in method.dropped()]
    assert len(reasons) == 6 + 2 + 4
    assert reasons[0] == "hyperband: 0.6 by epoch 1 is 4th of 9 in its bracket, the best 3 go on"
    assert reasons[6] == "hyperband: 0.8 by epoch 3 is 2nd of 3 in its bracket, the best goes on"
    assert not method.dropped()


def test_a_tie_goes_to_the_earlier_and_a_loss_is_better_when_lower() -> None:
    method = hyperband(small(9))
    assert drive(method, [0.5] * 9)[9:] == [(0, 3), (1, 3), (2, 3), (0, None)]
    text = GRID + "objective: {metric: val_loss}\n"
    method = hyperband(small(9, text=text))
    assert drive(method, [float(9 - n) for n in range(9)])[9:] == [
        *((8, 3), (7, 3), (6, 3), (8, None)),
    ]


def test_a_value_at_a_rung_is_the_best_up_to_it() -> None:
    method = hyperband(small(9))
    curves = [[0.1], [0.2], [0.3], [0.9, 0.1, 0.1], [0.8, 0.1, 0.85], [0.7, 0.1, 0.95]]
    for number in range(9):
        proposal = method.ask()
        curve = tuple(curves[number][:1]) if number < 6 else (0.0,)
        method.tell(Result(proposal.configuration, curve[0], curve, ended=False))
    found = []
    for curve in curves[3:]:
        proposal = method.ask()
        found.append(proposal.configuration)
        method.tell(Result(proposal.configuration, max(curve), tuple(curve), ended=False))
    assert method.ask().configuration == found[2]


def test_what_ends_before_its_rung_is_neither_promoted_nor_dropped() -> None:
    method = hyperband(small(9))
    proposed = [method.ask().configuration for _ in range(9)]
    for number, configuration in enumerate(proposed):
        if number < 7:  # diverged in its first epoch, failed, or stopped by a rule at the rung
            curve = (0.9,) if number == 0 else ()
            method.tell(Result(configuration, 0.9 if number == 0 else None, curve))
        else:
            method.tell(Result(configuration, 0.1, (0.1,), ended=False))
    found = [method.ask(), method.ask()]
    assert [proposal.configuration for proposal in found] == proposed[7:]
    assert [proposal.until for proposal in found] == [3, 3]
    assert not method.dropped()


def test_a_bracket_of_which_everything_fails_is_over() -> None:
    experiment = small(17)
    method = hyperband(experiment)
    count = 0
    while (proposal := method.ask()) is not None:
        method.tell(Result(proposal.configuration, None))
        count += 1
    assert count == 17
    assert method.exhausted
    assert not method.dropped()


def test_a_small_space_ends_early() -> None:
    text = "model: {family: resnet}\ntraining: {epochs: 9, l2: LIST}\nsearch: SEARCH\n"
    finite = small(50, text=text.replace("LIST", "{choice: [0, 1e-4, 1e-3, 1e-2]}"))
    endless = small(50, text=text.replace("l2: LIST", "batch_size: {min: 1, max: 12, scale: log}"))
    for experiment, size in ((finite, 4), (endless, 12)):
        run = Simulation(experiment, Surface(0, 9)).run()
        assert len(run.rows) == run.method.total == size
        assert run.method.exhausted
        assert run.trained_epochs == hyperband_epochs(size)


def hyperband_epochs(size: int) -> int:
    return Halving(epochs=9, min_epochs=1, reduction=3).planned_epochs(size)


# -------------------------------------------------------------------- several workers


def test_while_a_rung_waits_the_next_bracket_begins_and_promotions_come_first() -> None:
    method = hyperband(small())
    first = [method.ask() for _ in range(9)]
    ahead = [method.ask() for _ in range(2)]
    assert [proposal.until for proposal in first + ahead] == [1] * 9 + [3] * 2
    for proposal in first:
        method.tell(Result(proposal.configuration, 0.5, (0.5,), ended=False))
    assert [method.ask().configuration for _ in range(3)] == [
        proposal.configuration for proposal in first[:3]
    ]
    assert method.ask().until == 3  # the next bracket goes on
    rest = [method.ask() for _ in range(5)]
    assert [proposal.until for proposal in rest] == [3, 3, None, None, None]
    assert method.ask() is None
    assert not method.exhausted


@pytest.mark.parametrize("text", [GRID, ENDLESS], ids=["finite", "endless"])
def test_the_number_of_workers_changes_no_outcome(text: str) -> None:
    experiment = small(40, text=text)
    surface = Surface(0, 9, noise=0.05)
    alone = Simulation(experiment, surface).run()
    assert "diverged" in {row.state for row in alone.rows.values()}
    for workers in (2, 5, 64):
        assert Simulation(experiment, surface, workers).run().outcome() == alone.outcome()


def test_the_order_of_arrival_changes_no_promotion() -> None:
    found = set()
    for seed in range(10):
        method, rng = hyperband(small(9)), random.Random(seed)
        proposed = [method.ask().configuration for _ in range(9)]
        for number in rng.sample(range(9), 9):
            value = [0.3, 0.3, 0.1, 0.3, 0.2, 0.3, 0.1, 0.2, 0.1][number]
            method.tell(Result(proposed[number], value, (value,), ended=False))
        found.add(tuple(proposed.index(method.ask().configuration) for _ in range(3)))
    assert found == {(0, 1, 3)}


# ---------------------------------------------------------------------- interruptions


def copied(run: Simulation) -> list[Row]:
    return list(run.rows.values())


@pytest.mark.parametrize("search", ["", ", stop: {rule: patience, epochs: 2}"])
@pytest.mark.parametrize("text", [GRID, ENDLESS], ids=["finite", "endless"])
def test_an_interruption_anywhere_changes_no_proposal(text: str, search: str) -> None:
    experiment = experiment_of(f"{{method: hyperband, max_trials: 22{search}}}", 9, text)
    surface = Surface(1, 9, noise=0.05)
    whole = Simulation(experiment, surface).run()
    for epochs in range(1, whole.trained_epochs):
        for crash in (False, True):
            part = Simulation(experiment, surface).run(epochs, crash_before_verdict=crash)
            again = Simulation(experiment, surface, rows=copied(part))
            rest = again.run()
            known = len(part.asked)
            # What was in flight is asked for again, unless it had come to its rung.
            if rest.asked and rest.asked[0] == part.asked[-1]:
                known -= 1
            assert part.asked[:known] + rest.asked == whole.asked
            assert rest.outcome() == whole.outcome()
            assert rest.trained_epochs + epochs == whole.trained_epochs


def test_interruptions_of_several_workers_change_no_outcome() -> None:
    experiment = small(40)
    surface, rng = Surface(2, 9, noise=0.05), random.Random(0)
    whole = Simulation(experiment, surface).run()
    for _ in range(30):
        run, cuts = Simulation(experiment, surface, workers=5), 0
        while not run.run(rng.randint(1, 40)).method.exhausted:
            run, cuts = Simulation(experiment, surface, workers=5, rows=copied(run)), cuts + 1
        rest = Simulation(experiment, surface, workers=5, rows=copied(run)).run()
        assert cuts
        assert rest.outcome() == whole.outcome()


def test_what_was_decided_but_not_recorded_is_dropped_after_a_restart_and_once() -> None:
    experiment = small(9)
    proposed = [hyperband(experiment).ask().configuration]
    method = hyperband(experiment)
    proposed = [method.ask().configuration for _ in range(9)]
    results = [Result(c, n / 10, (n / 10,), ended=False) for n, c in enumerate(proposed)]
    again = hyperband(experiment)
    again.restore(results)
    assert [proposed.index(c) for c, _ in again.dropped()] == [5, 4, 3, 2, 1, 0]
    assert not again.dropped()
    recorded = [Result(r.configuration, r.score, r.curve, n < 6) for n, r in enumerate(results)]
    third = hyperband(experiment)
    third.restore(recorded)
    assert not third.dropped()
    assert [proposed.index(third.ask().configuration) for _ in range(3)] == [8, 7, 6]


def test_more_trials_go_on_where_the_last_bracket_was_cut_short() -> None:
    surface = Surface(0, 9)
    few = Simulation(small(12), surface).run()
    more = Simulation(small(30), surface, rows=copied(few)).run()
    assert len(more.rows) == 30
    assert more.method.exhausted
    assert all(row.has_ended for row in more.rows.values())


def test_results_of_other_configurations_are_left_alone() -> None:
    other = DrawnPlan(small(text=ENDLESS).space, 17, seed=5)
    strangers = [Result(configuration, 0.5, (0.5,) * 9) for configuration in other]
    method = hyperband(small(17, text=ENDLESS))
    method.restore(strangers)
    assert drive(method, [0.5] * 17) == drive(hyperband(small(17, text=ENDLESS)), [0.5] * 17)


# --------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("training", "search", "words", "expected"),
    [
        ("{epochs: {choice: [9, 27]}}", "", "training.epochs: is left open", "one number"),
        ("{choice: [{epochs: 9}, {epochs: 27}]}", "", "training.epochs: is left open", ""),
        ("{epochs: 2}", "", "training.epochs: 2 leave hyperband no epoch", "1 * 3"),
        ("{epochs: 9}", ", min_epochs: 4", "training.epochs: 9 leave", "4 * 3"),
    ],
)
def test_epochs_that_make_no_brackets_are_refused(training, search, words, expected):
    text = (
        f"model: {{family: resnet}}\ntraining: {training}\n"
        f"search: {{method: hyperband, max_trials: 9{search}}}\n"
    )
    with pytest.raises(InputError) as caught:
        make_method(parse_experiment(text, "x.yaml"))
    problem = caught.value.problems[0]
    assert problem.what.startswith(words)
    assert expected in problem.expected
    assert problem.where.startswith("x.yaml:2")


def test_asking_is_quick_with_many_configurations() -> None:
    import time

    experiment = small(2_000, text=ENDLESS)
    start = time.perf_counter()
    run = Simulation(experiment, Surface(0, 9)).run()
    assert len(run.rows) == 2_000
    start = time.perf_counter()
    hyperband(experiment).restore([run._result(row) for row in run.rows.values()])
    assert time.perf_counter() - start < 2
