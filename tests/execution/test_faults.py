"""What goes wrong on a shared machine: short forms of what `benchmarks.reliability` does."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.reliability import disk_full, kills, long_run, memory, resume
from benchmarks.reliability.disk import can_mount
from benchmarks.reliability.search import write_data

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc, inotify and fork")


def test_after_kills_at_random_moments_nothing_is_lost_changed_or_done_twice(tmp_path, environ):
    text = kills.grid_text(tmp_path, "tensorflow", quick=True)
    figures = kills.measure(3, environ, tmp_path, text=text, seed=3)
    assert figures.made.total() == 3
    assert figures.broken == []


def test_an_interrupted_trial_ends_as_one_that_was_not_to_the_last_bit(tmp_path, environ):
    text = resume.EXPERIMENT.format(
        backend="tensorflow",
        data=resume.write_images(tmp_path, 240),
        # Compiled in a third of the time that the benchmark's takes.
        model="{family: lenet, kernel_size: 3, activation: relu, batch_normalization: true, "
        "dropout: 0.2}",
        epochs=5,
        optimizers=json.dumps(["adam"]),
    )
    [row] = resume.measure(tmp_path, environ, text, 5, ["SIGKILL of the worker"])
    _, _, after, same_metrics, same_state, lost = row
    assert 1 <= after < 5
    assert same_metrics == "yes"
    assert same_state.endswith("arrays: yes")
    assert lost == "nothing"


def test_running_out_of_memory_fails_that_trial_alone_and_says_so(tmp_path, environ):
    text = memory.EXPERIMENT.format(
        backend="tensorflow",
        data=write_data(tmp_path, 200),
        blocks=f"[1, {memory.ABSURD}, 2]",
        batch_sizes="[8]",
    )
    _, view, status = memory.searched(tmp_path, environ, text)
    before, bad, after = memory.by_appetite(view).values()
    assert status == 3
    assert bad["state"] == "failed"
    assert "out of memory" in bad["reason"]
    # Appetites change nothing that is learnt, so what a worker does after the failure can be told.
    assert (after["state"], after["metrics"]) == ("completed", before["metrics"])


def test_on_a_full_disk_a_run_ends_helpfully_and_goes_on_once_there_is_room(tmp_path, environ):
    if not can_mount(tmp_path):
        pytest.skip("mounting is not permitted")
    row = disk_full.attempt(tmp_path, environ, disk_full.FILLINGS[1], 1, 4)
    assert row[5:8] == ["yes", "yes", "yes"], row


def test_a_file_that_may_not_grow_is_met_as_a_full_disk(tmp_path, environ):
    row = disk_full.limited_file(tmp_path, environ, 8, limit=42_000)
    assert row[2] not in (0, "hangs"), "the limit was never met"
    assert row[5:8] == ["yes", "yes", "yes"], row


def test_the_scheduler_does_not_grow_with_its_trials():
    found = long_run.measured(600, 1, 60)
    assert found["ending"] == "done"
    assert long_run.growth(found, 60) < 20
