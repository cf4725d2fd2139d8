"""Where time goes: phases that add up, and a profile that the ledger gives back as it was."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tuner.ledger.ledger import Ledger
from tuner.ledger.profile import RunProfile, Stopwatch, WorkerProfile


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_moment_is_of_one_phase_and_the_inner_one_wins():
    clock = Clock()
    watch = Stopwatch("other", clock)
    clock.now += 1
    with watch.phase("import"):
        clock.now += 2
        with watch.phase("data"):
            clock.now += 4
        clock.now += 8
    with pytest.raises(OSError), watch.phase("train"):
        clock.now += 16
        raise OSError
    clock.now += 32
    watch.move(5, "train", "compile")
    found = watch.seconds()
    assert found == {"other": 33, "import": 10, "data": 4, "train": 11, "compile": 5}
    assert sum(found.values()) == clock.now


PROFILE = RunProfile(
    started_at="2026-01-02T03:04:05+00:00",
    precision="float32",
    scheduler={"preparing": 1.0, "wait": 9.0},
    workers=(WorkerProfile(1, {"train": 4.0, "wait": 4.0}, training_flop=8e9, matrix_flops=4e9),),
)


def test_the_ledger_keeps_the_profile_of_the_last_run_that_had_one(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger.create_or_open(path, "grid") as ledger:
        assert ledger.profile is None
        ledger.keep_workers([], PROFILE)
        ledger.keep_workers([])
    with Ledger.open_read_only(path) as ledger:
        assert ledger.profile == PROFILE


def test_what_a_newer_tuner_knows_of_a_worker_is_no_obstacle():
    kept = asdict(PROFILE)
    kept["workers"][0]["energy_joules"] = 3.0
    assert RunProfile.from_json(kept) == PROFILE


def test_the_document_has_what_follows_from_the_rest():
    document = PROFILE.document()
    assert document["whole_seconds"] == 10
    (worker,) = document["workers"]
    assert (worker["whole_seconds"], worker["training_flops"]) == (8, 2e9)
    assert WorkerProfile(1, {}).training_flops is None
