"""`doctor --engine ray`: what it says of nodes, and how; without Ray."""

from __future__ import annotations

import copy
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tuner.actions import cluster
from tuner.actions.cluster import NodeExamination, cluster_findings
from tuner.execution.ray_cluster import Node, RayCluster, own_digest
from tuner.version import __version__

MACHINE = {
    "python": "3.11.7",
    "platform": "Linux x86_64",
    "packages": {"tensorflow": "2.21.0", "keras": "3.15.1", "jax": "0.10.2", "numpy": "2.4.6"},
    "cpu": {"model": "EPYC", "cores": 8},
    "memory_bytes": 64 << 30,
    "free_memory_bytes": 32 << 30,
    "gpus": [{"index": 0, "name": "H100", "memory_bytes": 80 << 30}],
    "datasets": [{"name": "cifar100", "path": "/data", "state": "found"}],
    "free_bytes": 100 << 30,
    "network_file_system": None,
}


def node(host: str = "b", cpus: float = 8, gpus: float = 1, **changes: Any) -> NodeExamination:
    """A sound node, but for what is changed of its machine."""
    machine = copy.deepcopy(MACHINE)
    for name, value in changes.items():
        if isinstance(value, dict):
            machine[name].update(value)
        else:
            machine[name] = value
    facts = {"host": host, "tuner": __version__, "digest": own_digest(), "machine": machine}
    return NodeExamination(Node(f"id-{host}", host, cpus, gpus), facts)


def without(name: str) -> NodeExamination:
    found = node()
    del found.machine["packages"][name]
    return found


def neither() -> NodeExamination:
    found = without("jax")
    del found.machine["packages"]["tensorflow"]
    return found


def bare(**facts: Any) -> NodeExamination:
    return NodeExamination(Node("id-b", "b", 8, 1), {"host": "b", **facts})


def said(*nodes: NodeExamination, slots: int = 9) -> list[tuple[str, str, bool]]:
    found = cluster_findings(nodes, MACHINE, slots)
    return [(f"{f.where}: {f.what}", f.mend, f.is_note) for f in found]


def test_of_sound_nodes_nothing_is_said() -> None:
    assert said(node("a"), node("b")) == []


@pytest.mark.parametrize(
    ("examined", "what", "mend", "is_note"),
    [
        (
            NodeExamination(Node("i", "b", 8, 1), {}, "no answer within 60 s"),
            "node b: it does not answer: no answer within 60 s",
            "ray start --address",
            False,
        ),
        (
            bare(tuner="", digest="ModuleNotFoundError: No module named 'tuner'"),
            "node b: tuner cannot be imported",
            f"pip install 'convtuner=={__version__}' there",
            False,
        ),
        (
            bare(tuner="0.0.9", digest="0123"),
            "node b: another tuner than here",
            f"pip install 'convtuner=={__version__}' there",
            False,
        ),
        (
            node(packages={"keras": "3.14.0"}),
            "node b: keras 3.14.0, and 3.15.1 here",
            "pip install keras==3.15.1 there",
            False,
        ),
        (
            without("jax"),
            "node b: jax is not installed",
            "pip install jax==0.10.2 there",
            True,
        ),
        (neither(), "node b: neither tensorflow nor jax is installed", "pip install", False),
        (
            node(gpus=2),
            "node b: Ray gives away 2 GPUs, and the driver reports 1 GPU",
            "--num-gpus=1",
            False,
        ),
        (
            node(gpus=0),
            "node b: it has 1 GPU, and Ray gives away 0 GPUs",
            "--num-gpus=1",
            True,
        ),
        (
            node(cpus=16),
            "node b: Ray gives away 16 CPUs, and it has 8 cores",
            "--num-cpus=8",
            True,
        ),
        (
            node(free_memory_bytes=1 << 29),
            "node b: 537 MB of memory are free, for 1 worker",
            "--cpus-per-worker N",
            True,
        ),
        (
            node(free_bytes=1 << 20),
            "node b: 1.05 MB are free for temporary files",
            "/tmp",
            False,
        ),
    ],
)
def test_each_fault_comes_with_what_to_type(examined, what, mend, is_note) -> None:
    matching = [line for line in said(examined) if line[0] == what]
    assert len(matching) == 1, said(examined)
    assert mend in matching[0][1]
    assert matching[0][2] is is_note


def test_a_cluster_without_room_and_one_of_different_processors() -> None:
    ((what, mend, is_note),) = said(node("a"), slots=0)
    assert (what, is_note) == ("cluster: no node has room for a worker", False)
    assert "--num-cpus=N" in mend
    ((what, _, is_note),) = said(node("a"), node("b", cpu={"model": "Xeon"}))
    assert (what, is_note) == ("cluster: nodes have different processors: EPYC and Xeon", True)


def test_results_on_a_network_file_system_are_noted() -> None:
    found = cluster_findings([node()], {**MACHINE, "network_file_system": "nfs4"}, 9)
    assert [finding.what for finding in found] == ["they are on a network file system (nfs4)"]


# ---------------------------------------------------------------------- the command


@pytest.fixture
def doctor(tuner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`tuner doctor --engine ray` of a cluster that is made up."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    asked: list[str | None] = []

    def call(*nodes: NodeExamination, options: tuple[str, ...] = ()):
        class MadeUp(RayCluster):
            def nodes(self) -> list[Node]:
                return [examined.node for examined in nodes]

            def draining(self) -> set[str]:
                return set()

            def examine(self, data_dir: Path | None) -> dict[str, tuple[dict[str, Any], str]]:
                return {n.node.node_id: (dict(n.facts), n.silent) for n in nodes}

        @contextmanager
        def connected(address: str | None):
            asked.append(address)
            yield MadeUp("10.0.0.1:6379", address is None)

        monkeypatch.setattr(cluster, "connected", connected)
        monkeypatch.setattr(cluster, "examination", lambda disk, data_dir: MACHINE)
        call.asked = asked
        return tuner("doctor", "--engine", "ray", *options, "--results", tmp_path)

    return call


def test_sound_nodes_are_a_table_and_status_0(doctor) -> None:
    shown = doctor(node("head"), node("b"), options=("--ray-address", "auto"))
    assert (shown.status, shown.err, doctor.asked) == (0, "", ["auto"])
    assert shown.out.startswith(
        "Ray at 10.0.0.1:6379: sound\n  room for 2 workers, with 1 CPU and 1 GPU for each\n"
    )
    assert [line.split()[:3] for line in shown.out.splitlines()[-2:]] == [
        ["head", "8", "1"],
        ["b", "8", "1"],
    ]
    assert "cifar100" in shown.out


def test_problems_are_listed_before_notes_and_status_3(doctor, monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    shown = doctor(without("jax"), node("c", packages={"numpy": "2.3.0"}))
    assert (shown.status, doctor.asked) == (3, ["10.0.0.1:6379"])
    assert shown.out.startswith("Ray at 10.0.0.1:6379: 1 problem\n")
    assert shown.out.index("numpy 2.3.0, and 2.4.6 here") < shown.out.index("(note)")


def test_json_is_one_document(doctor) -> None:
    shown = doctor(node("head"), bare(tuner="", digest="gone"), options=("--json",))
    document = json.loads(shown.out)
    assert shown.status == 3
    assert (document["address"], document["sound"], document["slots"]) == (None, False, 2)
    assert document["worker"] == {"cpu": 1.0, "gpu": 1.0}
    sound, other = document["nodes"]
    assert (sound["host"], sound["machine"]["cpu"]["cores"]) == ("head", 8)
    assert (other["tuner"], other["machine"]) == (None, None)
    assert document["findings"][0]["what"] == "tuner cannot be imported"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "cloud"), "there is no such engine"),
        (("grid", "--engine", "ray"), "leave one of them out"),
        (("--ray-address", "auto"), "workers of this machine have no address"),
        (("--engine", "ray", "--ray-address", "head"), "not an address"),
        (("--engine", "ray", "--ray-address", "ray://head:10001"), "run this on a node"),
        (("--engine", "ray", "--ray-address", "127.0.0.1:1"), "ray start --head"),
    ],
)
def test_an_address_that_leads_nowhere_is_said_at_once(tuner, options, message) -> None:
    shown = tuner("doctor", *options)
    assert (shown.status, shown.out) == (2, "")
    assert message in shown.err
