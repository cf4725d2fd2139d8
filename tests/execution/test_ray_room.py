"""How many workers a cluster is asked for, and which of its nodes a run can do without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.data.config import DataConfig
from tuner.errors import InputError
from tuner.execution.protocol import Finished, Lost, Ready, SetupFailed, WorkerSetup
from tuner.execution.ray_cluster import Node, RayCluster
from tuner.execution.ray_pool import RayPool, _Host
from tuner.experiment.schema import Resources


class Large(RayCluster):
    """A cluster with room for many."""

    names = "ab"

    def nodes(self):
        return [Node(name, name, 500.0, 0.0) for name in self.names]

    def free(self, needs, excluded=()) -> int:
        return 1000


def pool_of(most: int | None = None) -> RayPool:
    setup = WorkerSetup("jax", DataConfig(dataset="synthetic"), None, Path("checkpoints"))
    cluster, logs = Large("head:6379", False), Path("logs")
    return RayPool(setup, cluster, logs=logs, resources=Resources(), most=most)


@pytest.mark.parametrize(("most", "room"), [(None, 1000), (3, 3), (5000, 1000), (0, 1)])
def test_nobody_asks_for_more_workers_than_there_are_trials(most, room):
    assert pool_of(most).room() == room


def test_a_node_that_does_not_answer_is_named_and_not_waited_for(monkeypatch):
    silence = {}, "no answer within 60 s"
    monkeypatch.setattr(Large, "_answers", lambda *_: {"a": silence, "gone": silence})
    monkeypatch.setattr(Large, "names", "a")
    with pytest.raises(InputError) as error:
        Large("head:6379", False).check_nodes(Resources(), "jax")
    (problem,) = error.value.problems
    assert (problem.where, problem.received) == ("node a", "no answer within 60 s")


def test_a_worker_that_has_its_next_trial_is_training_when_the_last_one_is_told():
    host = _Host(None, 0.0, node_id="1", host="b", trial=(2, 3))  # a rule has ended trial 1
    pool = pool_of()
    for number, attempt in ((1, 1), (2, 2)):  # another, or the same before it goes on after all
        pool._translated(host, Finished(number, attempt=attempt), {})
        assert host.trial == (2, 3)
    pool._translated(host, Finished(2, attempt=3), {})
    assert host.trial is None


def host_on(node: str) -> _Host:
    return _Host(None, 0.0, node_id=node, host=node, folder="/node")


def test_a_node_that_has_trained_is_left_alone_when_it_no_longer_can(monkeypatch):
    pool, full = pool_of(), SetupFailed("the disk is full")
    assert pool._refused(host_on("a"), full) is full  # at the beginning: a person looks
    pool._translated(host_on("a"), Ready("CPU", 1.0, {}), {})
    told = pool._refused(host_on("a"), full)
    assert told == Lost("it is left alone: the disk is full", machine_went=True)
    monkeypatch.setattr(Large, "names", "a")
    assert pool._refused(host_on("a"), full) is full  # nobody else is there to go on


def test_a_node_that_comes_later_and_ends_its_workers_ends_no_run(monkeypatch):
    pool = pool_of()
    monkeypatch.setattr(Large, "names", "abc")
    crash = Lost("killed by SIGSEGV")
    first, second = (pool._translated(host_on("c"), crash, {}) for _ in range(2))
    assert first == Lost("killed by SIGSEGV, on node c", machine_went=True)
    assert second.reason.startswith("it is left alone: killed by SIGSEGV")
    assert pool._excluded == {"c"}
    assert not pool._translated(host_on("a"), crash, {}).machine_went
    ready = host_on("b")
    pool._translated(ready, Ready("CPU", 1.0, {}), {})
    assert not pool._translated(ready, crash, {}).machine_went  # of its trial, perhaps
