"""`show --follow`: what a second terminal sees of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.fixed_ledger import Clock
from tuner.actions.follow import FollowedTrial, follow_trial
from tuner.cli.show import follow_lines, frame
from tuner.errors import InputError
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.report.render import plain

CONFIGURATION = {"training.epochs": 3, "training.learning_rate": 0.1}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[RunFolder, Ledger]]:
    """A run that has begun two trials."""
    folder = RunFolder(tmp_path, "grid")
    folder.prepare()
    with folder.lock(), Ledger.create_or_open(folder.ledger, "grid", now=Clock()) as ledger:
        ledger.set_objective(Objective("val_accuracy", "max"))
        for number in (1, 2):
            values = {"training.learning_rate": 0.1 * number}
            ledger.add([NewTrial(f"key{number}", CONFIGURATION, values, 0, 0, "s")])
            ledger.start(number, worker=number)
        yield folder, ledger


def metrics(value: float) -> dict[str, float]:
    return {"loss": 1 - value, "accuracy": value, "val_loss": 2.0, "val_accuracy": value}


def finish(ledger: Ledger, number: int, score: float) -> None:
    outcome = Outcome(TrialState.COMPLETED, score, 3, metrics(score), 3.0, 1.0, "")
    ledger.finish(number, outcome)


def train(ledger: Ledger, number: int, *epochs: int) -> None:
    for epoch in epochs:
        ledger.record_epoch(number, epoch, metrics(epoch / 10), 1.0)


def stepping(ledger: Ledger, number: int):
    """Instead of a second that passes: some epochs, then the end."""
    steps = iter([(1,), (), (2, 3), None])

    def sleep(seconds: float) -> None:
        step = next(steps)
        if step is None:
            finish(ledger, number, 0.3)
        else:
            train(ledger, number, *step)

    return sleep


def test_every_epoch_is_told_once_and_the_end_ends_it(running) -> None:
    folder, ledger = running
    told = list(follow_lines(follow_trial(folder, 1, stepping(ledger, 1))))
    assert [line.split(",")[0] for line in told[:3]] == [
        f"trial 1: epoch {epoch}/3" for epoch in (1, 2, 3)
    ]
    assert "val_accuracy 0.2000" in told[1]
    assert told[3:] == ["Trial 1: completed after epoch 3/3, val_accuracy 0.3000 in epoch 3"]


def test_without_a_number_it_is_the_newest_that_runs_and_stays_so(running) -> None:
    folder, ledger = running
    looks = follow_trial(folder, None, stepping(ledger, 2))
    assert next(looks).row.number == 2
    ledger.add([NewTrial("key3", CONFIGURATION, {}, 0, 0, "s")])
    ledger.start(3, worker=1)
    assert {followed.row.number for followed in looks} == {2}


def test_it_waits_for_the_first_trial_of_a_run(running) -> None:
    folder, ledger = running
    ledger.interrupted()

    def sleep(seconds: float) -> None:
        ledger.start(1, worker=1)

    assert next(follow_trial(folder, None, sleep)).row.number == 1


def test_a_run_that_goes_away_ends_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "grid")
    folder.prepare()
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.add([NewTrial("key", CONFIGURATION, {}, 0, 0, "s")])
        ledger.start(1, worker=1)
        train(ledger, 1, 1)
    told = list(
        follow_lines(follow_trial(folder, 1, lambda seconds: pytest.fail("waits for nobody")))
    )
    assert told[-1].startswith("Trial 1: the run has ended, epoch 1/3")


def test_nothing_that_runs_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "grid")
    folder.prepare()
    Ledger.create_or_open(folder.ledger, "grid").close()
    with pytest.raises(InputError, match="nothing runs"):
        next(follow_trial(folder, None, lambda seconds: None))


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (120, 50)])
def test_a_frame_fits_its_terminal(running, size: tuple[int, int]) -> None:
    folder, ledger = running
    train(ledger, 1, 1, 2)
    followed: FollowedTrial = next(follow_trial(folder, 1, lambda seconds: None))
    width, height = size
    shown = frame(followed, width, height, plain)
    assert shown[0] == "Trial 1: running, epoch 2/3, val_accuracy 0.2000"
    assert len(shown) < height
    assert max(map(len, shown)) <= width
    assert "val_accuracy 0.1000" in "\n".join(shown)


def test_follow_on_a_pipe_prints_lines(tuner, results: Path) -> None:
    said = tuner("show", "grid", "2", "--follow", "--results", results)
    assert said.status == 0
    assert said.out.splitlines()[-1].startswith("Trial 2: completed after epoch 3/3")
