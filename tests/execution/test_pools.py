"""What a worker's process is started with."""

from __future__ import annotations

from pathlib import Path

from tuner.data.config import DataConfig
from tuner.execution.pools import LocalPool
from tuner.execution.protocol import WorkerSetup


def environments(workers, gpus, environment=None):
    setup = WorkerSetup("jax", DataConfig(dataset="synthetic"), None, Path("checkpoints"))
    pool = LocalPool(
        setup, workers=workers, logs=Path("logs"), environment=environment or {}, gpus=gpus
    )
    return [pool._worker_environment(worker) for worker in range(1, workers + 1)]


def test_each_worker_has_a_gpu_of_its_own_while_there_are_enough():
    found = environments(3, ["4", "5", "6"])
    assert [e["CUDA_VISIBLE_DEVICES"] for e in found] == ["4", "5", "6"]
    assert all("XLA_PYTHON_CLIENT_PREALLOCATE" not in e for e in found)


def test_workers_that_share_a_gpu_do_not_take_all_of_its_memory():
    found = environments(4, ["0", "1"])
    assert [e["CUDA_VISIBLE_DEVICES"] for e in found] == ["0", "1", "0", "1"]
    assert all(e["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false" for e in found)


def test_the_backend_is_chosen_before_keras_is_imported():
    (found,) = environments(1, [], {"KERAS_BACKEND": "torch"})
    assert found["KERAS_BACKEND"] == "jax"
    assert "CUDA_VISIBLE_DEVICES" not in found


def test_what_a_network_prints_fits_into_its_log_whatever_the_terminal_is():
    (worker,) = environments(1, [], {"PYTHONIOENCODING": "latin-1"})
    assert worker["PYTHONIOENCODING"] == "utf-8"
