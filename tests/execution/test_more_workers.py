"""When a plan says that more workers would train more in the same time."""

from __future__ import annotations

import json
import os

import pytest

from tuner.execution import more_workers
from tuner.execution.estimate import Here, Speed, SpeedRecord
from tuner.execution.more_workers import worker_notes
from tuner.experiment.experiment import parse_experiment
from tuner.ledger.environment import Gpu
from tuner.ledger.estimate import Estimate, StructureTime

HOURS = Estimate(structures={"s": StructureTime(1.0, 100.0, multiply_adds=1e13)})
SECONDS = Estimate(structures={"s": StructureTime(1.0, 1.0, multiply_adds=1e9)})


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Of four cores and no GPU, with nothing measured."""
    monkeypatch.setattr(more_workers, "available_cores", lambda: 4)
    monkeypatch.setattr("tuner.execution.estimate.available_cores", lambda: 4)
    monkeypatch.setattr("tuner.execution.devices.available_cores", lambda: 4)
    monkeypatch.setattr("tuner.execution.estimate.installed_gpus", list)
    monkeypatch.setenv("TUNER_CACHE_DIR", str(tmp_path))


def experiment_of(**changes):
    return parse_experiment(json.dumps({"model": {"family": "resnet"}, **changes}), "x.yaml")


def notes(*, workers=1, most=9, estimate=HOURS, is_new=True, is_cluster=False, **changes):
    experiment = experiment_of(**changes)
    here = Here(workers, (), os.environ, experiment.resources, is_cluster=is_cluster)
    return list(worker_notes(experiment, here, estimate, most=most, is_new=is_new))


def keep(**epochs):
    """Seconds of an epoch of a ResNet with so many workers: `one=6.0`."""
    numbers = {"one": 1, "two": 2, "four": 4}
    SpeedRecord.at_home(os.environ).add(
        Speed(Here(numbers[n], (), os.environ).place(experiment_of()), "resnet", "a", 1e9, e, 1.0)
        for n, e in epochs.items()
    )


def test_nothing_measured_says_how_to_know():
    (note,) = notes()
    assert note.startswith("-j 4 may train more in the same time as -j 1 (")
    assert note.endswith("--measure with each of them tells")
    assert notes(workers=2, most=3)[0].startswith("-j 3 may train more in the same time as -j 2")


@pytest.mark.parametrize(
    "given",
    [
        {"estimate": SECONDS},
        {"is_new": False},
        {"is_cluster": True},
        {"workers": 4},
        {"most": 1},
        {"resources": {"cpu": 1}},
    ],
)
def test_nothing_is_said_where_it_would_not_help_or_be_heeded(given):
    assert notes(**given) == []


def test_of_a_gpu_nothing_is_said(monkeypatch):
    monkeypatch.setattr("tuner.execution.estimate.installed_gpus", lambda: [Gpu(0, "H100", 1, "5")])
    assert notes() == []


def test_what_was_measured_here_is_said_whichever_of_the_two_is_planned():
    keep(one=6.0, two=9.0, four=15.0)
    end = ", as both were measured here"
    said = "-j 4 would train about 1.6 times as much in the same time"
    assert notes(estimate=SECONDS) == [said + end]
    assert "-j 2 would train about 1.3 times" in notes(most=2)[0]
    assert notes(workers=4) == [
        f"-j 4 trains about 1.2 times as much in the same time as -j 2{end}"
    ]


def test_what_was_measured_to_gain_nothing_is_said_too():
    keep(one=6.0, two=11.8)
    assert notes()[0].startswith("-j 1 and -j 2 train about as much in the same time")
    keep(one=6.0, two=18.0)
    assert notes()[0].startswith("-j 1 trains about 1.5 times as much in the same time as -j 2")
    assert notes(workers=2)[0].startswith("-j 1 would train about 1.5 times as much")


def test_other_networks_say_nothing_of_these():
    keep(one=6.0, two=9.0)
    assert "may train" in notes(model={"family": "mlp"})[0]
