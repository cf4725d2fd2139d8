"""What a worker's process is started with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tuner.data.config import DataConfig
from tuner.execution import devices, worker
from tuner.execution.devices import computing_threads
from tuner.execution.pools import LocalPool
from tuner.execution.protocol import WorkerSetup
from tuner.experiment.schema import Resources

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NPROC")


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(devices, "available_cores", lambda: 8)


def environments(workers, gpus, environment=None, **resources):
    setup = WorkerSetup("jax", DataConfig(dataset="synthetic"), None, Path("checkpoints"))
    pool = LocalPool(
        setup,
        workers=workers,
        logs=Path("logs"),
        environment=environment or {},
        gpus=gpus,
        resources=Resources(**resources),
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


@pytest.mark.parametrize(
    ("workers", "cpu", "threads"), [(1, None, 8), (3, None, 2), (9, None, 1), (1, 1, 1), (3, 4, 4)]
)
def test_a_worker_computes_with_what_it_asks_for_or_its_part_of_the_cores(workers, cpu, threads):
    for found in environments(workers, [], cpu=cpu):
        assert {found[name] for name in THREADS} == {str(threads)}
        assert {computing_threads(b, found) for b in ("tensorflow", "jax")} == {threads}


def test_threads_that_were_asked_for_stand_above_the_persons_variables_and_a_part_below():
    own = {"TF_NUM_INTRAOP_THREADS": "3", "NPROC": "3"}
    (part,), (asked,) = environments(1, [], own), environments(1, [], own, cpu=2)
    assert computing_threads("tensorflow", part) == computing_threads("jax", part) == 3
    assert computing_threads("tensorflow", asked) == computing_threads("jax", asked) == 2
    assert computing_threads("jax", {"NPROC": "many"}) is None


def test_two_workers_on_a_gpu_take_at_most_a_half_of_its_memory_each():
    found = environments(4, ["4", "5"], gpu=0.5)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in found] == ["4", "5", "4", "5"]
    assert all(e["XLA_CLIENT_MEM_FRACTION"] == "0.45" for e in found)
    assert all(e["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false" for e in found)
    # So it is, too, where nobody has asked for it.
    assert [e["XLA_CLIENT_MEM_FRACTION"] for e in environments(2, ["4"])] == ["0.45"] * 2
    assert "XLA_CLIENT_MEM_FRACTION" not in environments(2, ["4", "5"])[0]


def test_jax_never_gets_both_names_of_one_limit_because_it_would_not_start():
    own = {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".3"}
    (kept, _), (taken,) = environments(2, ["0"], own), environments(1, ["0"], own, gpu=0.5)
    assert kept["XLA_PYTHON_CLIENT_MEM_FRACTION"] == ".3"
    assert "XLA_CLIENT_MEM_FRACTION" not in kept
    assert taken["XLA_CLIENT_MEM_FRACTION"] == "0.45"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in taken


def test_a_worker_without_a_gpu_sees_none():
    (found,) = environments(1, [], {"CUDA_VISIBLE_DEVICES": "3"}, gpu=0)
    assert (found["CUDA_VISIBLE_DEVICES"], found["JAX_PLATFORMS"]) == ("-1", "cpu")
    assert "XLA_CLIENT_MEM_FRACTION" not in found


def test_tensorflow_is_told_how_many_bytes_of_a_shared_gpu_are_a_workers_own(monkeypatch):
    monkeypatch.setattr(devices, "gpu_memory_bytes", {"4": 80 * 2**30}.get)
    shares = devices.Shares(Resources(gpu=0.5), 2, ["4"])
    assert shares.memory_limit(2, {}) == 36 * 2**30
    assert devices.Shares(Resources(gpu=0.5), 1).memory_limit(1, {"CUDA_VISIBLE_DEVICES": "4"})
    for resources, gpus in ((Resources(gpu=1), ["4"]), (Resources(), ["4"]), (Resources(), [])):
        assert devices.Shares(resources, 1, gpus).memory_limit(1, {}) is None

    told = []
    config = SimpleNamespace(
        list_physical_devices=lambda kind: [kind],
        LogicalDeviceConfiguration=lambda memory_limit: memory_limit,
        set_logical_device_configuration=lambda *pair: told.append(pair),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    worker._cap_memory(36 * 2**30)
    assert told == [("GPU", [36 * 1024])]  # in megabytes


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are seen on Linux alone")
def test_jax_computes_on_a_cpu_with_as_many_threads_as_it_is_told():
    """What XLA reads is documented nowhere."""
    pytest.importorskip("jax")
    code = (
        "import jax\n"
        "jax.block_until_ready(jax.numpy.ones((2, 2)) + 1)\n"
        "from pathlib import Path\n"
        "names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "print(sum('XLAEigen' in name for name in names))\n"
    )
    (found,) = environments(1, [], {"JAX_PLATFORMS": "cpu"}, cpu=5)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, **found}, capture_output=True, check=True)
    assert int(done.stdout) == 5
