"""The scheduler's promises, on workers that play a script: no framework, no waiting."""

from __future__ import annotations

import itertools

import pytest

from tests.execution.conftest import (
    GRID,
    ScriptedPool,
    diverging,
    dying,
    good,
    raising,
    silent,
)
from tuner.errors import InputError, Problem, TunerError
from tuner.execution.events import EpochEnded, TrialEnded, TrialStarted, WorkerLost, WorkerReady
from tuner.execution.protocol import MAX_PROGRAMS, Lost, Programs, Ready, SetupFailed
from tuner.execution.queue import TrialQueue
from tuner.execution.recorder import Recorder
from tuner.experiment.trial import TrialState
from tuner.ledger.records import UNRANKED_STATES


def states(rows):
    return [row.state for row in rows]


def all_at_once(pool, timeout_seconds):
    """What a pool receives where many workers report at the same time."""
    reports, pool._reports = pool._reports, []
    return reports


def test_a_grid_runs_every_combination_once_and_knows_the_best(bench):
    rows = bench.run()
    assert bench.ending == "done"
    assert states(rows) == [TrialState.COMPLETED] * 6
    names = ("model.depth", "training.learning_rate")
    found = [tuple(row.configuration[name] for name in names) for row in rows]
    assert sorted(found) == sorted(itertools.product((8, 14), (0.1, 0.01, 0.001)))
    best = max(rows, key=lambda row: row.score)
    assert best.score == pytest.approx(0.5 - 0.001 + 0.02)
    assert best.best_epoch == 2
    assert bench.pool.closed


def test_an_edited_experiment_runs_only_what_is_new(bench):
    before = bench.run()
    assert bench.run() == before
    assert bench.pool.tasks == []
    rows = bench.run(text=GRID.replace("0.001]", "0.001, 0.5]"))
    assert len(rows) == 8
    assert {task.training["learning_rate"] for task in bench.pool.tasks} == {0.5}
    # A value that is closed is that of the trial that had it open.
    closed = GRID.replace("{choice: [8, 14]}", "14")
    bench.run(text=closed.replace("{choice: [0.1, 0.01, 0.001]}", "0.01"))
    assert bench.pool.tasks == []


def test_replicates_differ_in_their_seed_alone(bench):
    rows = bench.run(text=GRID + "search: {replicates: 2, seed: 7}")
    assert len(rows) == 12
    assert {row.seed for row in rows} == {7, 8}
    assert rows[0].configuration == rows[1].configuration


def test_nan_is_diverged_with_its_epoch_and_the_others_go_on(bench):
    rows = bench.run(lambda task: diverging(task) if task.number == 2 else good(task))
    assert states(rows).count(TrialState.COMPLETED) == 5
    assert rows[1].state is TrialState.DIVERGED
    assert rows[1].reason == "loss is nan in epoch 1"
    assert rows[1].score is None


def test_an_exception_is_failed_with_its_reason_and_the_others_go_on(bench):
    rows = bench.run(lambda task: raising(task) if task.number == 2 else good(task))
    assert (rows[1].state, rows[1].reason) == (TrialState.FAILED, "ValueError: no such thing")
    assert states(rows).count(TrialState.COMPLETED) == 5
    bench.run()
    assert bench.pool.tasks == []  # failures do not run again unasked


def test_a_retry_runs_what_has_no_score_again_and_nothing_else(bench):
    bench.run(lambda task: {1: diverging, 2: raising}.get(task.number, good)(task))
    rows = bench.run(retry=UNRANKED_STATES)
    assert [task.number for task in bench.pool.tasks] == [1, 2]
    assert states(rows) == [TrialState.COMPLETED] * 6


def test_fail_fast_stops_at_the_first_failure(bench):
    rows = bench.run(raising, fail_fast=True)
    assert bench.ending == "failed"
    assert len(rows) == 1


def test_a_worker_that_dies_is_replaced_and_its_trial_starts_again(bench):
    deaths = iter([dying])
    rows = bench.run(lambda task: next(deaths, good)(task))
    assert states(rows) == [TrialState.COMPLETED] * 6
    assert rows[0].attempt == 2
    assert bench.pool.starts == [1, 1]
    assert [e.reason for e in bench.events if isinstance(e, WorkerLost)] == ["killed by SIGKILL"]
    assert [(e.number, e.epoch) for e in bench.epochs()][:3] == [(1, 1), (1, 2), (2, 1)]


def test_a_trial_whose_worker_dies_twice_is_failed(bench):
    rows = bench.run(lambda task: dying(task) if task.number == 1 else good(task))
    assert rows[0].state is TrialState.FAILED
    assert "died 2 times" in rows[0].reason
    assert states(rows).count(TrialState.COMPLETED) == 5


@pytest.mark.parametrize(
    ("report", "error", "told"),
    [
        (Lost("exit status 1; see the log"), TunerError, "worker 1 cannot start: exit status 1"),
        (SetupFailed("bad", (Problem("damaged", "train"),)), InputError, "train: damaged"),
    ],
)
def test_a_worker_that_cannot_start_ends_the_run(bench, monkeypatch, report, error, told):
    def start(pool, worker):
        pool._reports.append((worker, report))

    monkeypatch.setattr("tests.execution.conftest.ScriptedPool.start", start)
    with pytest.raises(error, match=told):
        bench.run()
    assert bench.pool.closed


def test_stopping_keeps_what_is_finished_and_the_rest_runs_later(bench):
    def listener(event):
        if isinstance(event, TrialEnded) and event.number == 2:
            bench.stop.set()

    rows = bench.run(listener=listener)
    assert bench.ending == "interrupted"
    assert states(rows)[:2] == [TrialState.COMPLETED] * 2
    assert TrialState.RUNNING not in states(rows)
    bench.stop.clear()
    rows = bench.run()
    assert states(rows) == [TrialState.COMPLETED] * 6
    assert len(bench.pool.tasks) == 4


def test_an_interrupted_trial_keeps_its_number_and_starts_from_its_beginning(bench):
    def listener(event):
        if isinstance(event, EpochEnded):
            bench.stop.set()

    rows = bench.run(lambda task: good(task)[:1], listener=listener)
    assert [(row.number, row.state, row.epochs) for row in rows] == [(1, TrialState.WAITING, 0)]
    bench.stop.clear()
    rows = bench.run()
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6]
    assert len(bench.epochs()) == 12


def test_no_trial_starts_after_the_budget_of_epochs(bench):
    rows = bench.run(budget_epochs=3)
    assert bench.ending == "budget"
    assert [row.epochs for row in rows] == [2, 2]


def test_no_trial_starts_after_the_budget_and_the_running_one_ends(bench):
    def listener(event):
        if isinstance(event, TrialStarted) and event.number == 2:
            bench.now = 100.0

    rows = bench.run(listener=listener, budget_seconds=60)
    assert bench.ending == "budget"
    assert states(rows) == [TrialState.COMPLETED] * 2


def test_workers_are_given_the_structure_that_they_hold(bench):
    order = GRID.replace("[8, 14]", "[8, 14, 20]") + "search: {method: random, max_trials: 9}"
    bench.run(text=order)
    structures = [task.structure for task in bench.pool.tasks]
    assert len(list(itertools.groupby(structures))) == 3


def test_several_workers_share_the_trials(bench):
    rows = bench.run(workers=3)
    assert states(rows) == [TrialState.COMPLETED] * 6
    assert {row.worker for row in rows} == {1, 2, 3}
    keys = [row.key for row in rows]
    assert len(set(keys)) == 6


def test_a_minimized_objective_takes_the_lowest_value(bench):
    rows = bench.run(text=GRID + "objective: {metric: val_loss}")
    assert [row.score for row in rows] == [1.0] * 6
    assert [row.best_epoch for row in rows] == [1] * 6


def test_a_worker_that_says_nothing_can_still_be_interrupted(bench):
    def listener(event):
        if isinstance(event, TrialStarted):
            bench.stop.set()

    rows = bench.run(silent, listener=listener)
    assert bench.ending == "interrupted"
    assert states(rows) == [TrialState.WAITING]


def test_a_worker_is_not_believed_to_hold_more_programs_than_it_keeps():
    programs = Programs()
    for number in range(MAX_PROGRAMS + 2):
        programs.use(number, lambda: None)
    programs.use(3, lambda: None)
    programs.use("new", lambda: None)
    assert len(programs) == MAX_PROGRAMS
    assert [number for number in range(MAX_PROGRAMS + 2) if number not in programs] == [0, 1, 2]


def test_a_report_behind_others_is_not_lost_when_the_run_ends(bench):
    def listener(event):
        if isinstance(event, EpochEnded):
            bench.stop.set()

    rows = bench.run(listener=listener)
    assert states(rows) == [TrialState.COMPLETED]


def test_the_threads_of_its_worker_are_recorded_with_a_trial(bench, monkeypatch):
    def start(pool, worker):
        ready = Ready("CPU", 0.1, {"dataset": "x"}, threads=worker)
        pool._reports.append((worker, ready))

    monkeypatch.setattr(ScriptedPool, "start", start)
    rows = bench.run(workers=2)
    assert {row.threads for row in rows} == {1, 2}
    assert all(row.threads == row.worker for row in rows)
    assert {e.threads for e in bench.events if isinstance(e, WorkerReady)} == {1, 2}


def test_a_thousand_idle_workers_cost_nothing(bench, monkeypatch):
    asked = []
    ask = TrialQueue.next
    monkeypatch.setattr(TrialQueue, "next", lambda queue, held: asked.append(1) or ask(queue, held))
    rows = bench.run(workers=200)
    assert states(rows) == [TrialState.COMPLETED] * 6
    reports = 200 + 6 * 3
    assert len(asked) <= reports + 6


def test_what_a_failed_commit_took_back_is_run_the_next_time(bench, monkeypatch):
    start = Recorder.start

    def fill_disk(recorder, worker, running, **others):
        if running.number == 5:
            recorder.ledger._connection.execute("ROLLBACK")  # as SQLite does by itself
            raise TunerError("the disk is full")
        start(recorder, worker, running, **others)

    # The lost ones are in a block of the plan that no later run would look at again.
    monkeypatch.setattr("tuner.search.search.LOOK_AHEAD", 4)
    monkeypatch.setattr(ScriptedPool, "receive", all_at_once)
    monkeypatch.setattr(Recorder, "start", fill_disk)
    with pytest.raises(TunerError, match="full"):
        bench.run(workers=6)
    assert bench.rows() == []
    monkeypatch.setattr(Recorder, "start", start)
    assert states(bench.run()) == [TrialState.COMPLETED] * 6


def test_what_has_come_to_its_limit_is_told_of_a_trial_that_loses_its_workers(bench):
    def script(task):
        return [Lost("is gone", machine_went=task.attempt > 1)]

    row = bench.run(script, fail_fast=True)[0]
    assert row.reason == "its machine went 10 times without getting further: is gone"
