from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path

import pytest

from tuner.errors import TunerError
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.checkpoint import SavedCheckpoint
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import SEVERAL, EpochRow, NewTrial, Outcome


def new(key: str, **changes: object) -> NewTrial:
    values = {"training.learning_rate": 0.1}
    configuration = {"model.family": "resnet", "model.depth": 20, **values}
    fields = {
        "key": key,
        "configuration": configuration,
        "values": values,
        "replicate": 0,
        "seed": 7,
        "structure": "abc",
        "parameters": 272474,
        "macs": 40_600_000,
    }
    return NewTrial(**(fields | changes))


def completed(score: float | None, **changes: object) -> Outcome:
    metrics = {"val_accuracy": score if score is not None else math.nan}
    fields = {"state": TrialState.COMPLETED, "score": score, "best_epoch": 1, "metrics": metrics}
    return Outcome(**(fields | changes))


def run_trial(ledger: Ledger, key: str, outcome: Outcome) -> int:
    (number,) = ledger.add([new(key)])
    ledger.start(number, worker=0)
    ledger.finish(number, outcome)
    return number


def test_a_trial_lives_from_waiting_to_completed(ledger: Ledger, path: Path) -> None:
    assert ledger.add([new("a"), new("b")]) == [1, 2]
    ledger.start(1, worker=3, attempt=2)
    ledger.record_epoch(1, 1, {"val_accuracy": 0.25, "loss": 3.5}, 1.5)
    ledger.record_epoch(1, 2, {"val_accuracy": 0.5, "loss": 3.0}, 1.25)
    outcome = Outcome(
        TrialState.COMPLETED, 0.5, 2, {"val_accuracy": 0.5, "loss": 3.0}, 2.75, 4.5, ""
    )
    ledger.finish(1, outcome)

    with Ledger.open_read_only(path) as reader:
        first, second = reader.rows()
        assert (first.number, first.key, first.state) == (1, "a", TrialState.COMPLETED)
        assert (first.score, first.best_epoch, first.epochs) == (0.5, 2, 2)
        assert (first.worker, first.attempt) == (3, 2)
        assert first.metrics == {"val_accuracy": 0.5, "loss": 3.0}
        assert (first.train_seconds, first.compile_seconds) == (2.75, 4.5)
        assert (first.parameters, first.macs) == (272474, 40_600_000)
        assert first.configuration["model.depth"] == 20
        assert first.values == {"training.learning_rate": 0.1}
        assert first.started_at is not None
        assert first.finished_at is not None
        assert first.started_at < first.finished_at
        assert second.state is TrialState.WAITING
        assert reader.epochs(1) == [
            EpochRow(1, 1, {"val_accuracy": 0.25, "loss": 3.5}, 1.5),
            EpochRow(1, 2, {"val_accuracy": 0.5, "loss": 3.0}, 1.25),
        ]
        assert reader.counts()[TrialState.COMPLETED] == 1
        assert reader.counts()[TrialState.FAILED] == 0
        assert reader.by_key()["b"] == (2, TrialState.WAITING)


def test_a_reason_may_be_any_text(ledger: Ledger) -> None:
    number = run_trial(ledger, "a", Outcome(TrialState.FAILED, reason="bad byte \udc80 in a name"))
    row = ledger.row(number)
    assert row is not None
    assert row.reason == "bad byte ? in a name"


def test_nan_and_infinities_round_trip_as_valid_json(ledger: Ledger, path: Path) -> None:
    ledger.add([new("a", values={"training.x": [1.5, math.inf]})])
    ledger.start(1, 0)
    metrics = {"loss": math.nan, "val_loss": math.inf, "accuracy": -math.inf, "n": 0.1}
    ledger.record_epoch(1, 1, metrics, 1.0)
    ledger.finish(1, Outcome(TrialState.DIVERGED, math.nan, None, metrics, reason="loss is nan"))

    found = ledger.row(1)
    assert found is not None
    assert found.score is None
    assert found.values == {"training.x": [1.5, math.inf]}
    for seen in (found.metrics, ledger.epochs(1)[0].metrics):
        assert math.isnan(seen["loss"])
        assert (seen["val_loss"], seen["accuracy"], seen["n"]) == (math.inf, -math.inf, 0.1)

    raw = sqlite3.connect(path)
    text = raw.execute("SELECT metrics FROM epochs").fetchone()[0]
    raw.close()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)


def test_the_top_is_ordered_by_score_and_ties_go_to_the_earlier(ledger: Ledger) -> None:
    for key, score in (("a", 0.2), ("b", 0.9), ("c", math.nan), ("d", 0.9), ("e", 0.5)):
        run_trial(ledger, key, completed(score))
    assert [row.number for row in ledger.top(3)] == [2, 4, 5]
    ledger.set_objective(Objective("val_accuracy", "min"))
    assert [row.number for row in ledger.top(9)] == [1, 5, 2, 4]


def test_failed_and_diverged_trials_keep_no_score_and_an_infinite_one_is_kept(ledger):
    run_trial(ledger, "a", Outcome(TrialState.FAILED, 0.9, reason="boom"))
    run_trial(ledger, "b", Outcome(TrialState.DIVERGED, 0.8, reason="loss is nan in epoch 1"))
    assert ledger.top(5) == []
    assert [row.reason for row in ledger.rows([TrialState.FAILED])] == ["boom"]
    run_trial(ledger, "c", completed(math.inf))
    assert ledger.top(1)[0].score == math.inf


def test_interrupted_requeues_what_was_running_and_drops_its_epochs(ledger: Ledger) -> None:
    ledger.add([new("a"), new("b"), new("c")])
    ledger.start(1, 0)
    ledger.record_epoch(1, 1, {"loss": 1.0}, 1.0)
    ledger.start(2, 0)
    ledger.record_epoch(2, 1, {"loss": 1.0}, 1.0)
    ledger.finish(2, completed(0.5))

    assert ledger.interrupted() == 1
    assert [row.state.name for row in ledger.rows()] == ["WAITING", "COMPLETED", "WAITING"]
    assert [(row.number, row.epoch) for row in ledger.epochs()] == [(2, 1)]
    assert ledger.rows()[0].epochs == 0
    assert ledger.interrupted() == 0


def test_a_requeued_trial_is_as_new(ledger: Ledger) -> None:
    run_trial(ledger, "a", completed(0.5, reason="x", train_seconds=3.0))
    ledger.record_epoch(1, 1, {"loss": 1.0}, 1.0)
    ledger.requeue(1)
    row = ledger.row(1)
    assert row is not None
    assert (row.state, row.score, row.epochs, row.metrics) == (TrialState.WAITING, None, 0, {})
    assert (row.reason, row.train_seconds, row.finished_at) == ("", None, None)
    assert ledger.epochs(1) == []


def test_a_second_report_of_an_epoch_replaces_the_first(ledger: Ledger) -> None:
    ledger.add([new("a")])
    ledger.record_epoch(1, 1, {"loss": 2.0}, 1.0)
    ledger.record_epoch(1, 1, {"loss": 1.0}, 1.0)
    assert [row.metrics["loss"] for row in ledger.epochs(1)] == [1.0]


def test_the_same_key_twice_is_refused_and_nothing_of_it_is_kept(ledger: Ledger) -> None:
    with pytest.raises(TunerError, match="there already"):
        ledger.add([new("a"), new("a")])
    assert ledger.rows() == []


def test_a_trial_that_does_not_exist_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(TunerError, match="no trial 5"):
        ledger.finish(5, completed(0.5))
    assert ledger.row(5) is None


def test_names_hold_what_was_searched_also_what_an_edit_opens(ledger, path):
    ledger.add([new("a")])
    assert ledger.value_names == ("training.learning_rate",)
    later = {"model.family": "resnet", "model.depth": 32, "training.learning_rate": 0.1}
    ledger.close()
    with Ledger.create_or_open(path, "grid") as again:
        again.add([new("b", configuration=later)])
        assert again.value_names == ("training.learning_rate",)  # a default is no search
        values = {"training.learning_rate": 0.1, "model.depth": 20}
        again.mark_current("edited", [1, 2], searched={1: values})
        assert again.value_names == ("training.learning_rate", "model.depth")
        again.finish(2, completed(0.1))
        assert again.metric_names == ("val_accuracy",)
        first = again.row(1)
        assert first is not None
        assert first.values == values


def test_a_changed_objective_scores_every_trial_again(ledger: Ledger) -> None:
    ledger.set_objective(Objective("val_accuracy", "max"))
    ledger.add([new("a")])
    for epoch, (accuracy, loss) in enumerate([(0.3, 2.0), (0.2, math.nan), (0.1, 1.0)], start=1):
        ledger.record_epoch(1, epoch, {"val_accuracy": accuracy, "val_loss": loss}, 1.0)
    ledger.finish(1, completed(0.3))
    ledger.set_objective(Objective("val_loss", "min"))
    row = ledger.row(1)
    assert row is not None
    assert (row.score, row.best_epoch) == (1.0, 3)
    assert ledger.objective == Objective("val_loss", "min")


def test_what_a_run_sets_out_to_do_is_noted(ledger: Ledger) -> None:
    assert ledger.last_run == {}
    run_trial(ledger, "a", completed(0.5))
    ledger.begin_run(total=12, done=1, workers=1)
    run = ledger.last_run
    assert (run["total"], run["done"], run["epochs_before"]) == (12, 1, 0)
    ledger.event("worker_lost", {"worker": 0})
    assert [event.kind for event in ledger.events()] == ["run", "worker_lost"]
    assert ledger.events()[1].detail == {"worker": 0}


def test_a_reader_cannot_write(ledger: Ledger, path: Path) -> None:
    with Ledger.open_read_only(path) as reader, pytest.raises(TunerError, match="readonly"):
        reader.event("x")


def test_a_trial_knows_its_threads_and_whether_they_changed_on_the_way(ledger: Ledger) -> None:
    one, other = ledger.add([new("a"), new("b")])
    ledger.start(one, worker=1, threads=2)
    ledger.start(one, worker=1, threads=1)  # from its beginning
    ledger.record_epoch(one, 1, {"val_accuracy": 0.5}, 1.0)
    assert ledger.threads() == {1: 1}
    ledger.start(one, worker=2, threads=1)
    ledger.start(other, worker=1, threads=None)  # on a GPU
    ledger.record_epoch(other, 1, {"val_accuracy": 0.5}, 1.0)
    assert [row.threads for row in ledger.rows()] == [1, None]
    ledger.start(one, worker=1, threads=4)
    assert [row.threads for row in ledger.rows()] == [SEVERAL, None]
    assert ledger.threads() == {SEVERAL: 1}


def test_changes_together_are_one_commit_each_whole_or_not_at_all(
    ledger: Ledger, path: Path
) -> None:
    def seen() -> list[tuple[int, int]]:
        with Ledger.open_read_only(path) as other:
            return [(row.number, row.epochs) for row in other.rows()]

    with ledger.together():
        ledger.add([new("a"), new("b")])
        ledger.record_epoch(1, 1, {"loss": 1.0}, 1.0)
        with pytest.raises(TunerError):
            ledger.add([new("c"), new("b")])  # the second is there already
        assert ledger.rows()[0].epochs == 1
        assert seen() == []
    assert seen() == [(1, 1), (2, 0)]
    with pytest.raises(ZeroDivisionError), ledger.together():
        ledger.record_epoch(2, 1, {"loss": 1.0}, 1.0)
        raise ZeroDivisionError
    assert seen() == [(1, 1), (2, 1)]
    with ledger.together():
        pass


def steps_of_a_trial(path: Path, trials: int) -> int:
    """What SQLite does for one trial more, among so many that were stopped and can go on."""
    with Ledger.create_or_open(path, "grid") as ledger:
        with ledger.together():
            numbers = ledger.add([new(f"key {n}") for n in range(trials)])
            for number in numbers:
                saved = SavedCheckpoint(f"{number}.npz", "0" * 64, 10)
                ledger.record_epoch(number, 1, {"val_accuracy": 0.1}, 1.0, saved)
                ledger.finish(number, Outcome(TrialState.STOPPED, 0.1, 1, {"val_accuracy": 0.1}))
        ledger.finish(*last_of(ledger, "warm"), 5)  # which reads once what earlier runs have left
        steps = [0]

        def step() -> int:
            steps[0] += 1
            return 0

        ledger._connection.set_progress_handler(step, 1)
        ledger.finish(*last_of(ledger, "one"), 5)
        return steps[0]


def last_of(ledger: Ledger, key: str) -> tuple[int, Outcome]:
    (number,) = ledger.add([new(key)])
    ledger.start(number, worker=1)
    saved = SavedCheckpoint(f"{number}.npz", "0" * 64, 10)
    ledger.record_epoch(number, 1, {"val_accuracy": 0.5}, 1.0, saved)
    return number, completed(0.5)


def test_a_trial_more_costs_the_same_among_many(tmp_path: Path) -> None:
    few = steps_of_a_trial(tmp_path / "few.sqlite", 10)
    many = steps_of_a_trial(tmp_path / "many.sqlite", 500)
    assert many < 1.2 * few


def test_a_stopped_trial_that_goes_on_keeps_the_checkpoint_of_its_best_epoch(
    ledger: Ledger,
) -> None:
    ledger.add([new("a")])
    ledger.start(1, worker=1)
    for epoch, value in ((1, 0.9), (2, 0.8)):
        saved = SavedCheckpoint(f"1-{epoch}.npz", "0" * 64, 10)
        ledger.record_epoch(1, epoch, {"val_accuracy": value}, 1.0, saved, kept=[1])
    ledger.finish(1, Outcome(TrialState.STOPPED, 0.9, 1, {"val_accuracy": 0.8}), 1)
    ledger.requeue(1)
    assert ledger.rows()[0].score is None
    ledger.finish(*last_of(ledger, "better"), 1)  # of the best one alone all is kept
    assert [row.epoch for row in ledger.checkpoints(1)] == [2, 1]
