"""Checkpoints as the scheduler keeps them: what goes on, what is kept, who is replaced."""

from __future__ import annotations

import dataclasses
from unittest import mock

import numpy as np
import pytest

from tests.execution.conftest import metrics
from tuner.execution.events import Notice, TrialStarted, WorkerLost
from tuner.execution.protocol import Epoch, Finished, Lost, Resumed, Saved
from tuner.execution.worker import Worker
from tuner.experiment.trial import TrialState
from tuner.ledger import checkpoint
from tuner.ledger.ledger import Ledger

ONE = """
name: grid
model: {family: resnet, depth: 8}
data: {dataset: synthetic}
training: {epochs: 4, batch_size: 64}
"""
SEVERAL = ONE.replace("batch_size: 64", "learning_rate: {choice: [1, 2, 3, 4, 5, 6, 7, 8]}")
VALUES = [0.1, 0.4, 0.2, 0.3]


@pytest.fixture
def folder(bench):
    return bench.folder / "checkpoints"


def epochs(task, folder, last, values=VALUES):
    """Epochs after the newest checkpoint that the task names, each saved."""
    first = task.checkpoints[0].epoch if task.checkpoints else 0
    reports = [Resumed(task.number, first)] if first else []
    for epoch in range(first + 1, last + 1):
        name = f"{task.number}-{epoch}-{task.attempt}.npz"
        saved = checkpoint.save(folder, name, {"epoch": np.array(epoch)}, {"key": task.key})
        metric = metrics(values[epoch - 1])
        reports.append(Epoch(task.number, epoch, metric, 1.0, checkpoint=saved))
    return reports


def done(task):
    return [Finished(task.number)]


def named(bench):
    with Ledger.open_read_only(bench.folder / "ledger.sqlite") as ledger:
        return ledger.checkpoints()


def kept(bench):
    """What the ledger names, which is what is there."""
    rows = named(bench)
    assert sorted(row.file for row in rows) == sorted(
        path.name for path in (bench.folder / "checkpoints").iterdir()
    )
    return [(row.number, row.epoch) for row in rows]


def test_newest_and_best_are_kept_while_it_trains_and_the_best_afterwards(bench, folder):
    seen = []

    def script(task):
        return [*epochs(task, folder, 4), *done(task)]

    def listener(event):
        if type(event).__name__ == "EpochEnded":
            seen.append([row.epoch for row in named(bench)])

    bench.run(script, text=ONE, listener=listener)
    assert seen == [[1], [2], [3, 2], [4, 2]]
    assert kept(bench) == [(1, 2)]


def test_a_dead_workers_trial_goes_on_after_its_last_epoch(bench, folder):
    def script(task):
        if not task.checkpoints:
            return [*epochs(task, folder, 3), Lost("killed")]
        return [*epochs(task, folder, 4), *done(task)]

    (row,) = bench.run(script, text=ONE)
    assert (row.state, row.score, row.best_epoch) == (TrialState.COMPLETED, 0.4, 2)
    assert [task.checkpoints[:1] and task.checkpoints[0].epoch for task in bench.pool.tasks] == [
        (),
        3,
    ]
    assert [e.epochs_done for e in bench.events if isinstance(e, TrialStarted)] == [0, 3]
    assert row.train_seconds == 4.0
    assert [epoch.epoch for epoch in bench.epochs()] == [1, 2, 3, 4]


def test_what_a_dead_worker_left_half_written_is_cleared_away(bench, folder):
    def script(task):
        if not task.checkpoints:
            reports = [*epochs(task, folder, 2), Lost("killed")]
            (folder / ".1-3-1.npz.77.tmp").touch()
            (folder / "1-3-1.npz").touch()
            (folder / "11-3-1.npz").touch()  # another trial's, about to be reported
            return reports
        left = {path.name for path in folder.iterdir()}
        assert left == {"1-2-1.npz", "11-3-1.npz"}
        (folder / "11-3-1.npz").unlink()
        return [*epochs(task, folder, 4), *done(task)]

    (row,) = bench.run(script, text=ONE)
    assert row.state is TrialState.COMPLETED


def test_an_interrupted_run_goes_on_in_the_next_one(bench, folder):
    def interrupted(task):
        bench.stop.set()
        return epochs(task, folder, 2)

    bench.run(interrupted, text=ONE)
    assert bench.rows()[0].state is TrialState.WAITING
    bench.stop.clear()
    (row,) = bench.run(lambda task: [*epochs(task, folder, 4), *done(task)], text=ONE)
    assert (row.state, row.score) == (TrialState.COMPLETED, 0.4)
    assert bench.pool.tasks[0].checkpoints[0].epoch == 2


def test_a_damaged_checkpoint_falls_back_and_says_so(bench, folder):
    def script(task):
        if not task.checkpoints:
            return [*epochs(task, folder, 3), Lost("killed")]
        told = Resumed(task.number, 2, ("1-3-1.npz: the checkpoint is damaged",))
        older = dataclasses.replace(task, checkpoints=task.checkpoints[1:])
        return [told, *epochs(older, folder, 4), *done(task)]

    (row,) = bench.run(script, text=ONE)
    assert (row.state, row.score, row.epochs) == (TrialState.COMPLETED, 0.4, 4)
    (notice,) = [event for event in bench.events if isinstance(event, Notice)]
    assert "epoch 2" in notice.text
    assert "damaged" in notice.text


def test_without_a_good_checkpoint_it_begins_anew(bench, folder):
    def script(task):
        if not task.checkpoints:
            return [*epochs(task, folder, 2), Lost("killed")]
        again = dataclasses.replace(task, checkpoints=())
        return [Resumed(task.number, 0, ("gone",)), *epochs(again, folder, 4), *done(task)]

    (row,) = bench.run(script, text=ONE)
    assert (row.score, row.epochs, row.train_seconds) == (0.4, 4, 4.0)


def test_deaths_count_only_while_a_trial_gets_no_further(bench, folder):
    def script(task):
        first = task.checkpoints[0].epoch if task.checkpoints else 0
        return [*epochs(task, folder, first + 1), *(done(task) if first == 3 else [Lost("killed")])]

    (row,) = bench.run(script, text=ONE)
    assert row.state is TrialState.COMPLETED
    assert row.attempt == 4


def test_a_trial_that_kills_two_workers_in_one_epoch_has_failed(bench, folder):
    def script(task):
        fresh = not task.checkpoints
        return [*(epochs(task, folder, 2) if fresh else []), Lost("killed by SIGKILL")]

    (row,) = bench.run(script, text=ONE)
    assert row.state is TrialState.FAILED
    assert "without getting further" in row.reason
    assert kept(bench) == [(1, 2)]  # to be tried again from there


def test_only_the_best_finished_trials_keep_a_checkpoint(bench, folder):
    def script(task):
        rate = task.training["learning_rate"]
        return [*epochs(task, folder, 4, [rate / 10, 0.0, 0.0, 0.0]), *done(task)]

    bench.run(script, text=SEVERAL)
    assert kept(bench) == [(4, 1), (5, 1), (6, 1), (7, 1), (8, 1)]


def test_a_diverged_trial_keeps_none(bench, folder):
    def script(task):
        bad = metrics(0.1) | {"loss": float("nan")}
        return [*epochs(task, folder, 2), Epoch(task.number, 3, bad, 1.0), *done(task)]

    (row,) = bench.run(script, text=ONE)
    assert row.state is TrialState.DIVERGED
    assert kept(bench) == []


def test_an_epoch_whose_checkpoint_could_not_be_written_still_counts(bench):
    def script(task):
        full = "No space left on device"
        reports = [Epoch(task.number, n, metrics(0.1), 1.0, not_saved=full) for n in range(1, 5)]
        return [*reports, *done(task)]

    (row,) = bench.run(script, text=ONE)
    assert row.state is TrialState.COMPLETED
    assert any(isinstance(e, Notice) and "No space left" in e.text for e in bench.events)


def test_a_worker_that_leaves_after_an_error_is_replaced_without_ado(bench):
    def script(task):
        if task.number == 1:
            failed = Finished(task.number, "boom", leaves=True)
            return [failed, Lost("exit status 0")]
        return [Epoch(task.number, n, metrics(0.1), 1.0) for n in range(1, 5)] + done(task)

    rows = bench.run(script, text=SEVERAL)
    assert [row.state for row in rows] == [TrialState.FAILED] + [TrialState.COMPLETED] * 7
    assert bench.pool.starts == [1, 1]
    assert not any(isinstance(event, WorkerLost) for event in bench.events)


def test_running_out_of_memory_is_explained(bench):
    def script(task):
        return [Finished(task.number, "ResourceExhaustedError: OOM", out_of_memory=True)]

    (row,) = bench.run(script, text=ONE)
    assert row.reason.startswith("out of memory with batch_size 64: ResourceExhausted")
    assert row.reason.endswith("(a smaller batch_size may fit)")


@pytest.mark.parametrize(
    "model, ways",
    [
        ("", "model.memory_efficient: true or a smaller batch_size"),
        (", memory_efficient: true", "a smaller batch_size"),
    ],
)
def test_what_may_fit_is_said_of_a_short_memory(bench, model, ways):
    def script(task):
        return [Lost("killed by SIGKILL (out of memory?); see worker-1.log")]

    text = ONE.replace("family: resnet, depth: 8", f"family: densenet, depth: 10{model}")
    (row,) = bench.run(script, text=text)
    assert row.state is TrialState.FAILED
    assert row.reason.startswith("its worker died 2 times without getting further: killed by SIGK")
    assert row.reason.endswith(f"see worker-1.log ({ways} may fit)")


def test_a_worker_that_says_nothing_is_killed_and_its_trial_goes_on(bench, folder):
    def script(task):
        if not task.checkpoints:
            return epochs(task, folder, 1)
        return [*epochs(task, folder, 4), *done(task)]

    (row,) = bench.run(script, text=ONE, listener=lambda event: _later(bench, event))
    assert row.state is TrialState.COMPLETED
    assert row.attempt == 2


def _later(bench, event):
    if type(event).__name__ == "EpochEnded" and event.epoch == 1:
        bench.pool.on_empty = lambda: setattr(bench, "now", bench.now + 100.0)


def test_a_state_that_is_written_later_is_kept_if_it_is_needed(bench, folder):
    """Epochs 1 to 3 without; the best of them comes with the fourth's checkpoint."""

    def script(task):
        bare = [Epoch(task.number, n, metrics(VALUES[n - 1]), 1.0) for n in (1, 2, 3)]
        return [*bare, saved(task, folder, 2), saved(task, folder, 3), *last(task, folder)]

    bench.run(script, text=ONE)
    assert kept(bench) == [(1, 2)]


def test_a_trial_that_dies_goes_back_to_its_last_checkpoint_and_records_each_epoch_once(
    bench, folder
):
    def script(task):
        if task.attempt == 1:
            bare = [Epoch(task.number, n, metrics(VALUES[n - 1]), 1.0) for n in (2, 3)]
            return [*epochs(task, folder, 1), *bare, Lost("killed")]
        return [*epochs(task, folder, 4), *done(task)]

    (row,) = bench.run(script, text=ONE)
    assert [task.checkpoints[0].epoch for task in bench.pool.tasks[1:]] == [1]
    assert (row.epochs, row.score, row.best_epoch) == (4, 0.4, 2)


def test_states_of_a_trial_that_a_rule_has_stopped_are_kept_to_continue_it(bench, folder):
    text = ONE + "search: {stop: {rule: threshold, value: 0.9, epochs: 2}}\n"

    def script(task):
        bare = [Epoch(task.number, n, metrics(VALUES[n - 1]), 1.0) for n in (1, 2)]
        late = [Epoch(task.number, 3, metrics(0.99), 1.0), saved(task, folder, 3)]
        return [*bare, *late, saved(task, folder, 2), *done(task)]

    (row,) = bench.run(script, text=text)
    assert (row.state, row.epochs) == (TrialState.STOPPED, 2)
    assert kept(bench) == [(1, 2)]


def saved(task, folder, epoch):
    name = f"{task.number}-{epoch}-{task.attempt}.npz"
    content = checkpoint.save(folder, name, {"epoch": np.array(epoch)}, {"key": task.key})
    return Saved(task.number, epoch, content)


def last(task, folder):
    state = saved(task, folder, 4).checkpoint
    return [Epoch(task.number, 4, metrics(VALUES[3]), 1.0, checkpoint=state), *done(task)]


def test_a_worker_says_that_it_begins_at_the_beginning_where_no_checkpoint_is_known(tmp_path):
    """A repair may have forgotten one; the epochs behind it are trained again."""
    worker, sent = Worker.__new__(Worker), []
    worker._send = sent.append
    task = mock.Mock(number=3, checkpoints=(), seed=5)
    worker._begin(task, mock.Mock())
    assert sent == [Resumed(3, 0)]
