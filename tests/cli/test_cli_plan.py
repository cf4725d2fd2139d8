"""What `tuner plan` prints of time and disk, and what a run says of it afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tuner.cli.plan import measured_text, print_plan
from tuner.cli.run import say_how_it_ended
from tuner.data.images import check
from tuner.execution.estimate import Here, SpeedRecord, networks_of, remaining_work
from tuner.execution.events import RunEnded
from tuner.execution.rehearsal import Measured
from tuner.experiment.experiment import load_experiment
from tuner.ledger.estimate import Estimate, StructureTime
from tuner.search import Search

TEXT = """\
name: tiny
data: {dataset: synthetic, train_images: 500, validation: 100}
model: {family: resnet, depth: {choice: [8, 14]}}
training: {epochs: 2, batch_size: 50, learning_rate: {choice: [0.1, 0.01]}}
"""

UNKNOWN = """\
tiny: 4 trials to run
  8 epochs to train in all
  time unknown: nothing like it has run on this machine (`tuner plan --measure`
    tries it)
  about 12.9 MB on disk, 12.8 MB of it checkpoints

2 structures to compile, once each
  A structure is what shapes the compiled program: depth, width, batch size,
  optimizer and the like. Trials that differ only in the rest, as learning rate
  or dropout, share one.
  depth  configurations  params   MACs   memory
      8               2   81.1k  12.2M  30.8 MB
     14               2    178k  26.4M  55.3 MB
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpeedRecord:
    """An empty record of the test's own."""
    monkeypatch.setenv("TUNER_CACHE_DIR", str(tmp_path / "cache"))
    return SpeedRecord.at_home(os.environ)


def test_the_table_of_structures_fits_and_keeps_what_tells_them_apart(record, tmp_path, capsys):
    path = tmp_path / "many.yaml"
    path.write_text(
        "name: many\ndata: {dataset: synthetic}\nsearch: {method: random, max_trials: 9}\nmodel:\n"
        "  choice:\n    - {family: lenet, kernel_size: {choice: [3, 5]}}\n"
        "    - {family: mlp, hidden_units: {choice: [16, 64]}, num_layers: {choice: [1, 2]}}\n"
        "    - {family: densenet, depth: 7, num_blocks: 1, growth_rate: {choice: [4, 8]}, "
        "bottleneck: false}\ntraining: {epochs: 1, optimizer: {choice: [sgd, adam]}}\n"
    )
    print_plan(load_experiment(path), 1, tmp_path, None, as_json=False)
    table = capsys.readouterr().out.partition("share one.")[2].splitlines()
    assert max(map(len, table)) <= 80 and "…" not in "".join(table)
    head = " ".join(table[1].split() + table[2].split())
    assert all(name in head for name in ("family", "optimizer", "hidden_", "params"))
    told = " ".join(line.strip() for line in table)
    assert "Not shown at this width: depth, num_blocks, bottleneck, configurations, MACs" in told


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT)
    return path


def networks_in(path: Path):
    experiment = load_experiment(path)
    search = Search(experiment)
    return networks_of(
        search, remaining_work(search), check(experiment.data, None, backend="tensorflow")
    )


def keep_speeds(record: SpeedRecord, path: Path, number: int) -> None:
    """Epochs of 21 seconds, compiling in 10, for the first structures of a file."""
    place = Here(1, (), os.environ).place(load_experiment(path))
    networks = list(networks_in(path).values())[:number]
    record.add(network.speed(place, 21.0, 10.0) for network in networks)


def test_an_unknown_time_says_how_to_know_it(tuner, tiny, record, tmp_path):
    assert tuner("plan", tiny, "--results", tmp_path).out == UNKNOWN
    assert json.loads(tuner("plan", tiny, "--results", tmp_path, "--json").out)["time"] is None


def test_a_known_time_has_a_basis(tuner, tiny, record, tmp_path):
    keep_speeds(record, tiny, 2)
    # 2 x 10 compile + 4 trials x 2 epochs x 21 = 188 seconds
    lines = tuner("plan", tiny, "--results", tmp_path).out.splitlines()
    assert lines[2] == "  about 3m 10s (these structures ran here before)"
    found = json.loads(tuner("plan", tiny, "--results", tmp_path, "--json").out)["time"]
    assert found["seconds"] == pytest.approx(188)
    assert (found["measured"], found["scaled"], found["workers"]) == (2, 0, 1)


def test_what_was_scaled_is_said(tuner, tiny, record, tmp_path):
    keep_speeds(record, tiny, 1)
    lines = tuner("plan", tiny, "--results", tmp_path).out.splitlines()
    assert lines[2].endswith(" (1 of 2 structures ran here before; others by their size)")


def test_with_other_workers_on_a_device_the_time_is_unknown(tuner, tiny, record, tmp_path):
    keep_speeds(record, tiny, 2)
    assert "time unknown" in tuner("plan", tiny, "-j", "2", "--results", tmp_path).out


def test_a_rule_makes_it_the_most(tuner, tiny, record, tmp_path):
    keep_speeds(record, tiny, 2)
    tiny.write_text(TEXT + "search: {stop: {rule: asha}}")
    said = tuner("plan", tiny, "--results", tmp_path)
    assert "  at most about 3m 10s (" in said.out
    assert "time and epochs are at most these, and at least 5 epochs" in " ".join(said.out.split())


def test_a_stopping_rule_keeps_checkpoints_of_what_it_stops(tuner, tiny, record, tmp_path):
    """Of 8 trials: 2 of the running one and 5 best ones; of the 3 others newest and best."""
    tiny.write_text(TEXT.replace("[0.1, 0.01]", "[0.1, 0.01, 0.02, 0.03]"))
    options = ("--json", "--results", tmp_path)
    plain = json.loads(tuner("plan", tiny, *options).out)
    rule = ("-S", "search.stop={rule: asha}")
    stopped = json.loads(tuner("plan", tiny, *rule, *options).out)
    sizes = [structure["checkpoint_bytes"] for structure in plain["structures"]]
    assert sizes == [structure["parameters"] * 4 * 3 for structure in plain["structures"]]
    assert plain["checkpoint_bytes"] == 7 * max(sizes)
    assert stopped["checkpoint_bytes"] == 7 * max(sizes) + 2 * 3 * sum(sizes) // 2
    assert plain["disk_bytes"] > plain["checkpoint_bytes"]


def test_thousands_of_structures_are_not_all_worked_out(tuner, tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text(
        "data: {dataset: synthetic}\n"
        "model: {family: densenet, depth: 40, growth_rate: {min: 1, max: 500}}\n"
        "training: {batch_size: {choice: [1, 2, 3, 4, 5, 6]}}\n"
    )
    said = tuner("plan", path, "--results", tmp_path).out
    assert "more than 2,000 structures to compile" in said
    assert "… and many more (--json has 200)" in said


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        (Measured(0, 3), "ready; 3 structures to measure"),
        ({}, "[1/3] resnet, 12.2M MACs, batch 50: compiled in 4.20s, 35.0s an epoch"),
        (
            {"reason": "ValueError: no\nmore"},
            "[1/3] resnet, 12.2M MACs, batch 50: not measured: ValueError: no",
        ),
    ],
)
def test_measuring_is_one_line_a_structure(tiny, measured, text):
    if isinstance(measured, dict):
        network = next(iter(networks_in(tiny).values()))
        measured = Measured(1, 3, network, 4.2, 35.0, **measured)
    assert measured_text(measured) == text


@pytest.mark.parametrize(
    ("seconds", "is_most", "text"),
    [
        (
            720.0,
            False,
            "done in 14m 10s, 1.2 times the estimate (12m 00s)\nresults in r/x",
        ),
        (850.0, False, "done in 14m 10s, as estimated\nresults in r/x"),
        (
            1700.0,
            True,
            "done in 14m 10s, 0.5 times the estimate (at most 28m 20s)\nresults in r/x",
        ),
    ],
)
def test_a_run_says_how_far_off_its_estimate_was(seconds, is_most, text, capsys):
    found = Estimate(1, {"s": StructureTime(1, 1, epoch_seconds=seconds)}, is_most=is_most)
    ended = RunEnded("done", {}, None, 850.0, 4, found)
    say_how_it_ended(Path("r/x"), ended, "tuner run", quiet=False)
    assert capsys.readouterr().err.strip() == text


def test_without_an_estimate_nothing_is_compared(capsys):
    say_how_it_ended(Path("r/x"), RunEnded("done", {}, None, 12.0, 4), "tuner run", quiet=False)
    assert capsys.readouterr().err.strip() == "done in 12.0s\nresults in r/x"
