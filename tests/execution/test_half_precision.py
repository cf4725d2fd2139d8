"""When a plan suggests half precision, and when a run is warned of it."""

from __future__ import annotations

import json
import os

import pytest

from tuner.execution import half_precision
from tuner.execution.estimate import Here, Speed, SpeedRecord
from tuner.execution.half_precision import precision_notes
from tuner.experiment.experiment import parse_experiment
from tuner.ledger.environment import Gpu, cpu_instructions
from tuner.ledger.estimate import Estimate, StructureTime

FAST = frozenset({"avx2", "avx512_bf16"})
SLOW = frozenset({"avx2"})
HOURS = Estimate(structures={"s": StructureTime(1.0, 100.0, multiply_adds=1e13)})
SECONDS = Estimate(structures={"s": StructureTime(1.0, 1.0, multiply_adds=1e9)})


@pytest.fixture(autouse=True)
def measured(monkeypatch, tmp_path):
    monkeypatch.setattr(half_precision, "GAINS", {"resnet": 1.54, "densenet": 1.3, "mlp": 1.1})
    monkeypatch.setattr(half_precision, "WITHOUT_INSTRUCTIONS", {"mixed_bfloat16": 0.4})
    monkeypatch.setenv("TUNER_CACHE_DIR", str(tmp_path))


def notes(monkeypatch, instructions=FAST, *, estimate=HOURS, is_new=True, here=None, **changes):
    """Of an experiment with these names, on a processor with these instructions."""
    monkeypatch.setattr(half_precision, "cpu_instructions", lambda: instructions)
    content = {"model": {"family": "resnet"}, **changes}
    experiment = parse_experiment(json.dumps(content), "x.yaml")
    here = here or Here(1, (), os.environ)
    return list(precision_notes(experiment, here, estimate, is_new=is_new))


def test_a_plan_suggests_what_would_be_faster_on_this_processor(monkeypatch):
    (note,) = notes(monkeypatch)
    assert note.startswith("precision: mixed_bfloat16 would train about 1.5 times as fast on this ")
    both = {"choice": [{"family": "resnet"}, {"family": "densenet"}]}
    assert "about 1.3 times" in notes(monkeypatch, model=both)[0]


@pytest.mark.parametrize(
    "given",
    [
        {"instructions": SLOW},
        {"instructions": None},
        {"estimate": SECONDS},
        {"is_new": False},
        {"backend": "jax"},
        {"model": {"family": "mlp"}},
        {"model": {"family": "lenet"}},
        {"precision": "mixed_bfloat16"},
        {"here": Here(1, (), {}, is_cluster=True)},
    ],
)
def test_nothing_is_suggested_that_was_not_measured_to_be_worth_it(monkeypatch, given):
    assert notes(monkeypatch, **given) == []


def test_of_a_gpu_nothing_is_said(monkeypatch):
    monkeypatch.setattr("tuner.execution.estimate.installed_gpus", lambda: [Gpu(0, "H100", 1, "5")])
    assert notes(monkeypatch) == notes(monkeypatch, SLOW, precision="mixed_bfloat16") == []


def test_a_processor_without_the_instructions_is_slower_and_that_is_said(monkeypatch):
    (note,) = notes(monkeypatch, SLOW, precision="mixed_bfloat16", is_new=False)
    assert note == (
        "precision: mixed_bfloat16 takes about 2.5 times as long as float32 here: the processor "
        "has no instructions for it (avx512_bf16 or amx_bf16)"
    )


@pytest.mark.parametrize(("seconds", "expected"), [(2.0, "4.0 times as fast"), (7.5, "")])
def test_what_was_measured_here_counts_before_what_was_measured_elsewhere(
    monkeypatch, seconds, expected
):
    keep(resnet=8.0, in_half=seconds)
    assert expected in "".join(notes(monkeypatch))
    assert bool(expected) == bool(notes(monkeypatch))


def test_measured_to_be_slower_here_is_said_too(monkeypatch):
    keep(resnet=8.0, in_half=12.0)
    (note,) = notes(monkeypatch, precision="mixed_bfloat16")
    assert note.endswith(
        "takes about 1.5 times as long as float32 here: as both were measured here"
    )


def keep(*, resnet, in_half):
    """Epochs of a network in both precisions; of another one in float32 alone."""
    here = Here(1, (), os.environ)
    experiment = parse_experiment("model: {family: resnet}", "x.yaml")
    full, half = (here.place(experiment, p) for p in ("float32", "mixed_bfloat16"))
    SpeedRecord.at_home(os.environ).add(
        [
            Speed(full, "resnet", "a", 1e9, resnet, 1.0),
            Speed(half, "resnet", "b", 1e9, in_half, 1.0),
            Speed(full, "resnet", "c", 3e9, 1.0, 1.0),
            Speed(half, "densenet", "d", 1e9, 0.1, 1.0),
        ]
    )


def test_instructions_are_read_without_a_framework():
    found = cpu_instructions()
    assert found is None or all(name == name.lower() for name in found)
