"""The record of speeds: what it keeps, and that nothing can break it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.execution.estimate.speeds import (
    MAX_SPEEDS,
    Speed,
    SpeedRecord,
    Speeds,
    Start,
    cache_folder,
    spread,
    this_machine,
)

SPEED = Speed(
    machine="cpu, 2 cores",
    device="CPU",
    sharing=1,
    backend="tensorflow",
    precision="float32",
    family="resnet",
    structure="aa",
    image_shape=(32, 32, 3),
    num_classes=10,
    batch_size=50,
    parameters=1000,
    macs=10_000,
    step_seconds=0.1,
    image_seconds=0.001,
    epoch_seconds=0.02,
    trial_seconds=0.3,
    compile_seconds=5.0,
    spread=0.1,
    epochs=4,
    measured_at="2026-01-01T00:00:00+00:00",
)
START = Start("cpu, 2 cores", "tensorflow", "CPU", 4.0, "2026-01-01T00:00:00+00:00")


def speed(**changed) -> Speed:
    return dataclasses.replace(SPEED, **changed)


@pytest.fixture
def record(tmp_path: Path) -> SpeedRecord:
    return SpeedRecord(tmp_path / "cache" / "speeds.json")


def test_what_is_added_is_read_back(record):
    assert record.read() == Speeds()
    assert record.add([SPEED], [START])
    assert record.read() == Speeds((SPEED,), (START,))


def test_a_newer_measurement_replaces_an_older_one_and_knows_its_compile_time(record):
    record.add([SPEED, speed(structure="bb")], [START])
    newer = speed(step_seconds=0.2, compile_seconds=None)
    record.add([newer], [dataclasses.replace(START, device="GPU")])
    found = record.read()
    assert [s.structure for s in found.speeds] == ["bb", "aa"]
    assert found.speeds[1] == dataclasses.replace(newer, compile_seconds=5.0)
    assert [start.device for start in found.starts] == ["GPU"]


@pytest.mark.parametrize(
    "changed",
    [{"sharing": 2}, {"device": "GPU"}, {"precision": "mixed_bfloat16"}, {"macs": 1}],
)
def test_other_circumstances_are_another_measurement(record, changed):
    record.add([SPEED, speed(**changed)], [])
    assert len(record.read().speeds) == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 99}', '{"version": 1, "speeds": 3}', "[" * 10_000]
)
def test_a_damaged_file_is_ignored_and_written_again(record, content):
    record.path.parent.mkdir()
    record.path.write_text(content)
    assert record.read() == Speeds()
    assert record.add([SPEED], [])
    assert record.read().speeds == (SPEED,)


@pytest.mark.parametrize("wrong", [{"step_seconds": -1}, {"macs": "x"}, {"image_shape": 3}])
def test_a_damaged_entry_costs_itself_alone(record, wrong):
    record.add([SPEED, speed(structure="bb")], [])
    content = json.loads(record.path.read_text())
    content["speeds"][0] |= wrong
    content["speeds"].append(3)
    record.path.write_text(json.dumps(content))
    assert [s.structure for s in record.read().speeds] == ["bb"]


def test_the_oldest_are_forgotten(record):
    record.add([speed(structure=f"{n}") for n in range(MAX_SPEEDS)], [])
    record.add([speed(structure="newest")], [])
    found = record.read().speeds
    assert (len(found), found[0].structure, found[-1].structure) == (MAX_SPEEDS, "1", "newest")
    assert record.path.stat().st_size < 1_000_000


def test_a_folder_that_cannot_be_written_harms_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    record = SpeedRecord(tmp_path / "file" / "speeds.json")
    assert not record.add([SPEED], [])
    assert record.read() == Speeds()


def test_writers_at_the_same_time_lose_nothing(record):
    code = (
        "import sys, pathlib\n"
        "from tests.execution.test_speeds import speed\n"
        "from tuner.execution.estimate.speeds import SpeedRecord\n"
        "record = SpeedRecord(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10):\n"
        "    assert record.add([speed(structure=f'{sys.argv[2]}-{n}')], [])\n"
    )
    command = [sys.executable, "-c", code, str(record.path)]
    writers = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(record.read().speeds) == 20


def test_the_cache_folder_is_the_persons_or_the_one_that_is_named():
    assert cache_folder({"TUNER_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/tuner")
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache" / "tuner"


def test_hidden_gpus_make_another_machine():
    assert this_machine({"CUDA_VISIBLE_DEVICES": ""}) != this_machine({})
    assert this_machine({"CUDA_VISIBLE_DEVICES": "1"}) == this_machine({})


def test_spread_is_half_the_middle_half():
    assert spread([1.0]) == 0.0
    assert spread([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.1)
