"""Several machines of Ray on one: nodes that come, go, are drained, and cannot train."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution import stub_worker as stub
from tests.execution.test_pool_contract import STUB, Stage, all_completed, states
from tuner.data.config import DataConfig
from tuner.errors import InputError
from tuner.execution.events import EpochEnded, WorkerLost, WorkerReady
from tuner.execution.pools import Pool
from tuner.execution.protocol import Ready, Waiting, WorkerSetup
from tuner.execution.ray_cluster import RayCluster, connected
from tuner.execution.ray_pool import RayPool
from tuner.experiment.schema import Resources

STEADY = tuple(round(0.5 + n / 100, 2) for n in range(4))


@pytest.fixture(scope="module")
def machines() -> Iterator:
    """A head without room for workers."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def ray_cluster(machines) -> Iterator[RayCluster]:
    with connected(machines.address) as cluster:
        yield cluster


@pytest.fixture
def node(machines, ray_cluster) -> None:
    """At least one node that can train."""
    if not any(node.cpus for node in ray_cluster.nodes()):
        machines.add_node(num_cpus=1)


@pytest.fixture
def stage(tmp_path, ray_cluster) -> Iterator[Stage]:
    stage = Stage(tmp_path, lambda *_: None, has_processes=True)

    def on_ray(setup: WorkerSetup, logs: Path, workers: int) -> Pool:
        options = {"resources": Resources(), "module": STUB, **stage.options}
        stage.pool = RayPool(setup, ray_cluster, logs=logs, **options)
        return stage.pool

    stage.options = {}

    stage.make_pool = on_ray
    with stage.ends():
        yield stage


def drain(node_id: str, seconds: float) -> None:
    from ray._private.worker import global_worker
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline = int((time.time() + seconds) * 1000)
    global_worker.gcs_client.drain_node(node_id, reason, "spot", deadline)


def only_loss(stage: Stage) -> WorkerLost:
    """That of the one trial; the next actor may be placed on the node before Ray knows."""
    lost, *others = [event for event in stage.events if isinstance(event, WorkerLost)]
    assert not any(event.number for event in others)
    return lost


def test_nodes_that_come_are_used_and_one_that_dies_costs_a_retry(stage, machines):
    first, wait = machines.add_node(num_cpus=1), stage.scratch / stub.WAIT
    wait.touch()
    added = []

    def listener(event: object) -> None:
        if isinstance(event, EpochEnded) and not added:
            added.append(machines.add_node(num_cpus=1))
        elif isinstance(event, WorkerReady) and event.worker == 2:
            machines.remove_node(first, allow_graceful=False)
        elif isinstance(event, WorkerLost):  # its process may outlive its node for a second
            wait.unlink()

    rows = stage.run(*STEADY, workers=None, listener=listener)
    assert states(rows) == all_completed(*STEADY)
    lost = only_loss(stage)
    assert lost.worker == 1
    assert lost.reason.endswith("is gone")
    assert {row.number for row in rows.values() if row.attempt == 2} == {lost.number}


def test_a_drained_node_ends_its_epoch_and_gets_no_more(stage, node, machines):
    """As when the provider of a machine announces that it takes it back."""
    wait = stage.scratch / stub.WAIT
    wait.touch()
    left: list[str] = []

    def listener(event: object) -> None:
        if isinstance(event, EpochEnded) and not left:
            left.append(stage.pool._hosts[1].node_id)
            machines.add_node(num_cpus=1)
            drain(left[0], 60.0)
        elif isinstance(event, WorkerReady) and event.worker == 2:
            wait.unlink()

    rows = stage.run(*STEADY, workers=None, listener=listener)
    assert states(rows) == all_completed(*STEADY)
    lost = only_loss(stage)
    assert "drained" in lost.reason
    again = next(row for row in rows.values() if row.number == lost.number)
    assert again.attempt == 2


def test_a_node_that_has_another_tuner_is_refused_at_first_and_left_alone_later(
    stage, node, machines, ray_cluster, tmp_path
):
    package = tmp_path / "other" / "tuner"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "version.py").write_text("__version__ = '0.0.1'")
    other = {"PYTHONPATH": str(package.parent)}
    added = []

    def listener(event: object) -> None:
        if isinstance(event, EpochEnded) and not added:
            added.append(machines.add_node(num_cpus=1, env_vars=other))
        elif isinstance(event, WorkerLost):
            (stage.scratch / stub.WAIT).unlink()

    (stage.scratch / stub.WAIT).touch()
    rows = stage.run(*STEADY, workers=None, listener=listener)
    assert states(rows) == all_completed(*STEADY)
    (lost,) = [event for event in stage.events if isinstance(event, WorkerLost)]
    assert lost.reason.startswith("it is left alone: node ")
    assert "another tuner than here" in lost.reason
    with pytest.raises(InputError, match=r"received: +0\.0\.1"):
        ray_cluster.check_nodes(Resources(), "jax")
    machines.remove_node(added[0])


def test_large_checkpoints_go_through_a_folder_that_all_nodes_see(stage, node):
    stage.options = {"shared_from_bytes": 1}
    rates = (stub.DIES_AFTER, stub.STEADY)
    rows = stage.run(*rates, workers=1)
    assert states(rows) == all_completed(*rates)
    assert rows[stub.DIES_AFTER].attempt == 2  # and went on, as every value says


def test_what_no_node_can_hold_is_refused_with_what_there_is(ray_cluster, node):
    with pytest.raises(InputError, match=r"received: +64 CPU\n +expected: +at most .* \(1 CPU\)"):
        ray_cluster.check(Resources(cpu=64), None)


def test_two_runs_share_a_cluster_and_one_waits_for_the_other(
    stage, node, ray_cluster, monkeypatch
):
    monkeypatch.setattr("tuner.execution.ray_pool._NOTICE_SECONDS", 1.0)
    setup = WorkerSetup("jax", DataConfig(dataset="synthetic"), stage.scratch, stage.checkpoints)
    pools = [
        RayPool(setup, ray_cluster, logs=stage.folder / name, resources=Resources(), module=STUB)
        for name in ("first", "second")
    ]
    first, second = pools
    try:
        for worker in range(1, int(sum(node.cpus for node in ray_cluster.nodes())) + 1):
            first.start(worker)
        until(first, Ready)
        second.start(1)
        assert until(second, Waiting, lambda report: report.notice).notice.startswith(
            "a worker waits for room: it takes 1 CPU; 0 CPU free"
        )
        first.close()
        assert until(second, Ready).node
    finally:
        for pool in pools:
            pool.close()


def until(pool: Pool, kind: type, is_meant=lambda report: True):
    """The first report that is meant."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for _, report in pool.receive(0.1):
            if isinstance(report, kind) and is_meant(report):
                return report
    raise AssertionError(f"no {kind.__name__} within a minute")
