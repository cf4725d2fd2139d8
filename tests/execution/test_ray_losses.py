"""Whose fault it is that an actor ended, by what Ray says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.data.config import DataConfig
from tuner.execution.protocol import Lost, WorkerSetup
from tuner.execution.ray_cluster import RayCluster
from tuner.execution.ray_pool import RayPool, _Host
from tuner.experiment.schema import Resources

ray = pytest.importorskip("ray", reason="the extra ray is not installed")


class OneNode(RayCluster):
    """It is there until it is told not to be."""

    is_there = True

    def nodes(self):
        return []

    def is_alive(self, node_id: str) -> bool:
        return self.is_there


def died(message: str) -> Exception:
    """As Ray tells it."""
    from ray.core.generated.common_pb2 import ActorDiedErrorContext

    context = ActorDiedErrorContext(
        error_message=message, class_name="WorkerHost", actor_id=bytes(16)
    )
    return ray.exceptions.ActorDiedError(context)


def lost(error: Exception, *, placed: bool, is_there: bool = True) -> Lost:
    setup = WorkerSetup("jax", DataConfig(dataset="synthetic"), None, Path("checkpoints"))
    cluster = OneNode("head:6379", False)
    object.__setattr__(cluster, "is_there", is_there)
    pool = RayPool(setup, cluster, logs=Path("logs"), resources=Resources())
    host = _Host(None, 0.0, **({"node_id": "1", "host": "b"} if placed else {}))
    return pool._how_it_ended(host, error)


NODE_DIED = died("The actor died because its node has died. Node Id: 1\n\tthe node was preempted")
PROCESS_DIED = died(
    "The actor is dead because its worker process has died. Worker exit type: X"
    " Some common causes include: the weather"
)


@pytest.mark.parametrize("placed", [True, False])
def test_a_node_that_goes_is_nobodys_fault_also_before_its_actor_has_said_anything(placed) -> None:
    told = lost(NODE_DIED, placed=placed, is_there=True)
    assert told.machine_went
    assert told.reason == ("node b is gone" if placed else "the node where it was to start is gone")


def test_an_actor_whose_node_is_gone_before_ray_says_so_went_with_it() -> None:
    assert lost(PROCESS_DIED, placed=True, is_there=False).machine_went


@pytest.mark.parametrize(("placed", "where"), [(True, "on node b"), (False, "while it started")])
def test_an_actor_whose_process_ended_is_told_with_its_cause(placed, where, monkeypatch) -> None:
    monkeypatch.setattr("tuner.execution.ray_pool._VERDICT_SECONDS", 0.01)
    told = lost(PROCESS_DIED, placed=placed)
    assert not told.machine_went
    assert "because its worker process has died" in told.reason
    assert told.reason.endswith(f"Worker exit type: X, {where}")
