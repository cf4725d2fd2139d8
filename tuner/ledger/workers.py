"""What each worker of a run does, and how well it is used, as the ledger keeps it for all views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerRecord:
    """A worker at some moment; `node` is empty for one of the machine that the run is on.

    `busy_seconds` of the `ready_seconds` since it was last ready it trained or compiled. `trial` is
    what it has now, in which `epoch` of how many; `trials` counts all that it has had in this run,
    `losses` how often it was lost.
    """

    worker: int
    node: str = ""
    device: str = ""
    is_ready: bool = True
    trial: int | None = None
    epoch: int = 0
    epochs: int = 0
    ready_seconds: float = 0.0
    busy_seconds: float = 0.0
    trials: int = 0
    losses: int = 0

    @property
    def idle_seconds(self) -> float:
        """Since it was ready."""
        return self.ready_seconds - self.busy_seconds

    @property
    def does(self) -> str:
        """In a word."""
        if not self.is_ready:
            return "starting"
        return "idle" if self.trial is None else "training"


@dataclass(frozen=True)
class NodeRecord:
    """Several workers together: those of a node, or all."""

    node: str
    workers: Sequence[WorkerRecord]

    @property
    def training(self) -> int:
        """How many have a trial."""
        return sum(worker.does == "training" for worker in self.workers)

    @property
    def starting(self) -> int:
        """How many are not ready."""
        return sum(worker.does == "starting" for worker in self.workers)

    @property
    def idle(self) -> int:
        """How many are ready and have no trial."""
        return len(self.workers) - self.training - self.starting

    @property
    def idle_seconds(self) -> float:
        """Of all of them."""
        return sum(worker.idle_seconds for worker in self.workers)

    @property
    def utilization(self) -> float | None:
        """The share of their time in which they trained or compiled; None before they had any."""
        ready = sum(worker.ready_seconds for worker in self.workers)
        return sum(worker.busy_seconds for worker in self.workers) / ready if ready else None


def nodes_of(workers: Iterable[WorkerRecord]) -> list[NodeRecord]:
    """The nodes by name, each with its workers by number."""
    by_node: dict[str, list[WorkerRecord]] = {}
    for worker in sorted(workers, key=lambda worker: (worker.node, worker.worker)):
        by_node.setdefault(worker.node, []).append(worker)
    return [NodeRecord(node, members) for node, members in by_node.items()]


def is_told(workers: Sequence[WorkerRecord]) -> bool:
    """Whether views say anything of them: one worker of this machine is nothing to speak of."""
    return len(workers) > 1 or any(worker.node for worker in workers)
