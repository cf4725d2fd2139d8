"""What a run that is played by a script shows of its speed."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from tests.execution.conftest import ScriptedPool, metrics
from tuner.data.config import DataConfig
from tuner.data.dataset import DatasetInfo
from tuner.execution.estimate.speeds import SpeedRecord
from tuner.execution.estimate.stopwatch import Setting, Stopwatch
from tuner.execution.messages import Compiled, Epoch, Finished, Rehearsal, Rehearse, TrainTrial
from tuner.experiment.experiment import parse_experiment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = "model: {family: resnet, depth: 8}\ndata: {dataset: synthetic}\ntraining: {batch_size: 50}"


class Timed(ScriptedPool):
    """Gives out one report after the other, each at its time."""

    def __init__(self, watch_times):
        super().__init__(lambda task: [])
        self.now = 0.0
        self.times = watch_times

    def send(self, worker, task):
        pass

    def receive(self, timeout_seconds):
        self.now, report = self.times.pop(0)
        return [(1, report)] if report else super().receive(timeout_seconds)


def task_of(kind=TrainTrial, **others):
    experiment = parse_experiment(TEXT, "x.yaml")
    configuration = next(experiment.space.structures())[0]
    return kind(
        number=1,
        model=configuration.model,
        training=configuration.training,
        switches=configuration.switches,
        precision="float32",
        seed=0,
        structure=experiment.trial(configuration).structure.key,
        **others,
    )


TRIAL = {"key": "k", "attempt": 1, "until": 3}


def watched(task, *times):
    """A worker that is ready after 5 seconds; 1,000 training and 200 validation images."""
    data = DataConfig(dataset="synthetic", validation=200)
    info = DatasetInfo((32, 32, 3), 10, 1_200, 100, "x")
    setting = Setting("here", "tensorflow", "float32", 1, data, info)
    pool = Timed([(5.0, None), *times])
    watch = Stopwatch(pool, setting, clock=lambda: pool.now)
    watch.start(1)
    watch.receive(0)
    watch.send(1, task)
    for _ in times:
        watch.receive(0)
    return watch


def epoch(number, seconds, value=0.5):
    return Epoch(1, number, metrics(value), seconds, validation_seconds=1.0)


def test_steps_images_compiling_and_what_lies_between_are_told_apart():
    watch = watched(
        task_of(**TRIAL),
        (9.0, Compiled(1, 3.0)),  # 1 second of the trial's own
        (31.0, epoch(1, 21.5)),  # half a second more
        (42.2, epoch(2, 11.0)),
        (53.4, epoch(3, 11.0)),
        (53.8, Finished(1)),
    )
    (speed,) = watch.speeds(NOW)
    # 20 steps in 10 seconds; the epoch after compiling, with 20.5, is left out.
    assert (speed.step_seconds, speed.epochs) == (pytest.approx(0.5), 2)
    assert speed.image_seconds == pytest.approx(1 / 200)
    assert speed.compile_seconds == 3.0
    assert speed.epoch_seconds == pytest.approx(0.2)
    assert speed.trial_seconds == pytest.approx(1 + 0.5 + 0.4)
    assert (speed.family, speed.batch_size, speed.device) == ("resnet", 50, "CPU")


def test_the_epoch_after_compiling_counts_where_there_is_no_other():
    watch = watched(task_of(**TRIAL), (9.0, Compiled(1, 3.0)), (20.0, epoch(1, 11.0)))
    assert watch.speeds(NOW)[0].step_seconds == pytest.approx(0.5)


def test_an_epoch_that_diverged_ended_early_and_tells_nothing():
    watch = watched(task_of(**TRIAL), (9.0, epoch(1, 11.0)), (9.1, epoch(2, 0.1, math.nan)))
    (speed,) = watch.speeds(NOW)
    assert speed.epochs == 1
    assert watched(task_of(**TRIAL), (9.1, epoch(1, 0.1, math.nan))).speeds(NOW) == []


def test_a_rehearsal_is_kept_as_what_it_is():
    rehearsal = Rehearsal(0.5, 0.005, 0.1, 0.2)
    watch = watched(
        task_of(Rehearse, seconds=4.0),
        (9.0, Compiled(1, 3.0)),
        (14.0, Finished(1, rehearsal=rehearsal)),
    )
    (speed,) = watch.speeds(NOW)
    assert (speed.step_seconds, speed.image_seconds, speed.trial_seconds) == (0.5, 0.005, 0.1)
    assert (speed.compile_seconds, speed.spread, speed.epochs) == (3.0, 0.2, 0)


def test_nothing_is_written_where_no_epoch_was_seen(tmp_path):
    record = SpeedRecord(tmp_path / "speeds.json")
    watched(task_of(**TRIAL), (9.0, Compiled(1, 3.0))).record(record, NOW)
    assert not record.path.exists()
    watched(task_of(**TRIAL), (20.0, epoch(1, 11.0))).record(record, NOW)
    found = record.read()
    assert [start.seconds for start in found.starts] == [5.0]
    assert len(found.speeds) == 1
