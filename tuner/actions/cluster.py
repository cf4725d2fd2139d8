"""`tuner doctor --engine ray`: what each node of a cluster has, and what keeps it from training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.execution.machine import examination
from tuner.execution.ray_cluster import Node, check_node, connected
from tuner.experiment.schema import Resources
from tuner.ledger.repair import Finding
from tuner.report import format

_BACKENDS = ("tensorflow", "jax")
_DECIDE_OUTCOMES = ("keras", "tensorflow", "jax", "jaxlib", "numpy")
_LEAST_DISK = 2 << 30
_WORKER_BYTES = 1 << 30  # a framework and a small network


@dataclass(frozen=True)
class NodeExamination:
    """What a node says of itself (`ray_host.node_examination`), or why it says nothing."""

    node: Node
    facts: Mapping[str, Any]
    silent: str = ""
    is_draining: bool = False

    @property
    def machine(self) -> Mapping[str, Any]:
        """Empty where `tuner` is missing or another one."""
        return self.facts.get("machine") or {}


@dataclass(frozen=True)
class ClusterExamination:
    """A cluster, and all that was found. `slots` workers of `needs` fit if nobody else is there.

    `is_own` if it was started for this look.
    """

    address: str
    is_own: bool
    needs: Mapping[str, float]
    slots: int
    nodes: tuple[NodeExamination, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[Finding]:
        """What has to be mended."""
        return [finding for finding in self.findings if not finding.is_note]


def examine_cluster(
    address: str | None, results_dir: Path, data_dir: Path | None
) -> ClusterExamination:
    """Look at a cluster as `run` would use it, with a small task on every node.

    Raises:
        InputError: it does not answer, or cannot be used from here; or Ray is not installed.
    """
    here = examination(results_dir, data_dir)
    with connected(address) as cluster:
        needs = cluster.needs(Resources())
        draining, told = cluster.draining(), cluster.examine(data_dir)
        nodes = tuple(
            NodeExamination(node, *told[node.node_id], is_draining=node.node_id in draining)
            for node in cluster.nodes()
            if node.node_id in told
        )
        slots = sum(node.node.slots(needs) for node in nodes)
        found = tuple(cluster_findings(nodes, here, slots))
        return ClusterExamination(cluster.address, cluster.is_own, needs, slots, nodes, found)


def cluster_findings(
    nodes: Sequence[NodeExamination], here: Mapping[str, Any], slots: int
) -> Iterator[Finding]:
    """What is wrong; `here` is the examination of the driver's machine."""
    for node in nodes:
        yield from _node_findings(node, here)
    if not slots:
        what, mend = "no node has room for a worker", "ray start --num-cpus=N on one that may train"
        yield Finding("cluster", what, "a run would be refused", mend)
    if kind := here["network_file_system"]:
        what, means = f"they are on a network file system ({kind})", "a ledger may be damaged there"
        mend = "--results on a disk of this machine, as docs/clusters.md says"
        yield Finding("results", what, means, mend, is_note=True)
    models = sorted({n.machine["cpu"]["model"] for n in nodes if n.machine and n.node.cpus})
    if len(models) > 1:
        means = "a trial that moves to another one may differ in its last digits"
        what = f"nodes have different processors: {format.joined(models)}"
        yield Finding("cluster", what, means, is_note=True)


def _node_findings(node: NodeExamination, here: Mapping[str, Any]) -> Iterator[Finding]:
    host = f"node {node.node.host}"
    if node.silent:
        mend = "ray stop there, then ray start --address=… again; its logs: /tmp/ray/session_latest"
        yield Finding(host, f"it does not answer: {node.silent}", "it can train nothing", mend)
        return
    for problem in check_node(node.facts):
        means = f"{problem.received}, and {problem.expected} here"
        yield Finding(host, problem.what, means, problem.mend)
    if node.machine:
        yield from _version_findings(host, node.machine, here)
        yield from _device_findings(host, node)
    if node.is_draining:
        what, means = "it is being drained", "no new trial begins there, and it will be gone soon"
        yield Finding(host, what, means, is_note=True)


def _version_findings(
    host: str, there: Mapping[str, Any], here: Mapping[str, Any]
) -> Iterator[Finding]:
    theirs, ours = there["packages"], here["packages"]
    for name in _DECIDE_OUTCOMES:
        if name in theirs and name in ours and theirs[name] != ours[name]:
            what = f"{name} {theirs[name]}, and {ours[name]} here"
            means = "the same trial comes out otherwise there"
            yield Finding(host, what, means, f"pip install {name}=={ours[name]} there")
    if theirs.keys().isdisjoint(_BACKENDS):
        mend = "pip install 'convtuner[gpu]' there, or 'convtuner[jax-gpu]'"
        yield Finding(host, "neither tensorflow nor jax is installed", "it can train nothing", mend)
        return
    for name in _BACKENDS:
        if name in ours and name not in theirs:
            means = f"experiments with backend: {name} are refused while it is in the cluster"
            mend = f"pip install {name}=={ours[name]} there"
            yield Finding(host, f"{name} is not installed", means, mend, is_note=True)


def _device_findings(host: str, node: NodeExamination) -> Iterator[Finding]:
    machine, given = node.machine, node.node
    installed = len(machine["gpus"])
    if given.gpus > installed:
        what = f"Ray gives away {_gpus(given.gpus)}, and the driver reports {_gpus(installed)}"
        mend = f"nvidia-smi there; else ray start with --num-gpus={installed}"
        yield Finding(host, what, "workers would train without", mend)
    elif given.gpus < installed:
        what = f"it has {_gpus(installed)}, and Ray gives away {_gpus(given.gpus)}"
        mend = f"ray start with --num-gpus={installed}, if all of them may be used"
        yield Finding(host, what, "the others are idle", mend, is_note=True)
    cores = machine["cpu"]["cores"]
    if given.cpus > cores:
        what = f"Ray gives away {given.cpus:g} CPUs, and it has {format.counted(cores, 'core')}"
        mend = f"ray start with --num-cpus={cores}"
        yield Finding(host, what, "workers slow each other down", mend, is_note=True)
    most = given.slots({"CPU": 1.0, **({"GPU": 1.0} if given.gpus else {})})
    if (free := machine["free_memory_bytes"] or 0) < most * _WORKER_BYTES and free:
        what = f"{format.bytes_text(free)} of memory are free, for {format.counted(most, 'worker')}"
        mend = "-j N, or --cpus-per-worker N"
        yield Finding(host, what, "they may run out of it", mend, is_note=True)
    if machine["free_bytes"] < _LEAST_DISK:
        what = f"{format.bytes_text(machine['free_bytes'])} are free for temporary files"
        means = "data and checkpoints pass through them"
        yield Finding(host, what, means, "make room in its /tmp, or set TMPDIR before ray start")


def _gpus(number: float) -> str:
    return f"{number:g} GPU{'s' * (number != 1)}"
