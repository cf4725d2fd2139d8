"""Workers on the nodes of a Ray cluster, one actor each.

Ray places them; which trial runs where, and what becomes of it, is the scheduler's as ever.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.code.files import hash_of
from tuner.code.process import RECORDED, recorded_variables
from tuner.code.start import PACKAGE
from tuner.data.packed import is_made_anywhere, packed
from tuner.errors import Problem, telling_line
from tuner.execution import ray_host
from tuner.execution.pools import WORKER, Pool
from tuner.execution.protocol import (
    Epoch,
    Finished,
    Lost,
    Ready,
    Report,
    Resumed,
    Saved,
    SetupFailed,
    Shutdown,
    Task,
    TrainTrial,
    Waiting,
    WorkerSetup,
)
from tuner.execution.ray_cluster import RayCluster, check_node, own_digest
from tuner.ledger.connection import sync
from tuner.ledger.folder import write_atomically

if TYPE_CHECKING:
    from tuner.experiment.schema import Resources

LOOK_SECONDS = 1.0  # how often nodes are asked for
_NOTICE_SECONDS = 10.0  # of waiting for room, before a person is told
_CLOSE_SECONDS = 5.0
_VERDICT_SECONDS = 2.0
_PART_BYTES = 1 << 28  # of data, in one object of Ray's store
_MAX_BAD_STARTS = 2  # of workers on a node that others can do without


@dataclasses.dataclass(eq=False)
class _Host:
    """An actor, as far as it is known here."""

    actor: Any
    asked_at: float
    node_id: str = ""  # empty while it waits for room
    host: str = ""
    folder: str = ""
    is_ready: bool = False  # or was once
    trial: tuple[int, int] | None = None  # and its attempt, sent last, that has not ended
    leaves: bool = False  # its node is drained
    killed_for: str = ""
    killed_at: float = 0.0

    @property
    def is_placed(self) -> bool:
        """Whether it is on a node."""
        return bool(self.node_id)


class RayPool(Pool):
    """One actor per worker, each with a process of its own on the node where Ray places it.

    `logs` gets what workers print. Without a number of workers there are as many as the cluster has
    room for, and no more than `most`. A node that comes later and cannot train is left alone.
    Checkpoints of `shared_from_bytes` and more go through their folder, which every node must see.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        cluster: RayCluster,
        *,
        logs: Path,
        resources: Resources,
        module: str = WORKER,
        shared_from_bytes: int | None = None,
        most: int | None = None,
    ) -> None:
        self._setup = setup
        self._most = most
        self._shared_from_bytes = shared_from_bytes
        self._cluster = cluster
        self._logs = logs
        self._resources = resources
        self._needs = cluster.needs(resources)
        self._module = module
        self._hosts: dict[int, _Host] = {}
        self._reports: queue.SimpleQueue[tuple[int, _Host, Report]] = queue.SimpleQueue()
        self._first_nodes = {node.node_id for node in cluster.nodes()}
        self._proven: set[str] = set()  # nodes on which a worker was ready once
        self._bad_starts: Counter[str] = Counter()  # by node
        self._excluded: set[str] = set()
        self._order: ray_host.Order | None = None
        self._dismissed = False
        self._placed_at = self._looked_at = 0.0
        self._is_waiting_told = False
        self._threads: list[threading.Thread] = []
        self._seen: Path | None = None

    # ------------------------------------------------------------ as every pool

    def start(self, worker: int) -> None:
        """Ask Ray for an actor; it may have to wait for room."""
        import ray

        if self._order is None:
            self._order = self._first_order()
        options: dict[str, Any] = {
            "num_cpus": self._needs["CPU"],
            "num_gpus": self._needs.get("GPU", 0),
            "scheduling_strategy": "SPREAD",
        }
        if self._excluded:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(self._excluded)})"}
        groups = {"listen": 1, "talk": 1}  # what is sent arrives in this order
        kind = ray.remote(max_restarts=0, concurrency_groups=groups)(ray_host.WorkerHost)
        host = _Host(kind.options(**options).remote(), time.monotonic())
        order = dataclasses.replace(self._order, worker=worker)
        serve = host.actor.serve.options(num_returns="streaming", concurrency_group="listen")
        self._hosts[worker] = host
        arguments = (worker, host, serve.remote(order))
        thread = threading.Thread(target=self._listen, args=arguments, daemon=True)
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def send(self, worker: int, task: Task) -> None:
        """With the checkpoints that a trial may go on from; no disk is shared."""
        host = self._hosts.get(worker)
        if host is None:
            return
        contents: Mapping[str, bytes | None] = {}
        if isinstance(task, TrainTrial):
            host.trial = task.number, task.attempt
            contents = _contents(self._setup.checkpoints, task, self._shared_from_bytes)
        send = host.actor.send.options(concurrency_group="talk")
        send.remote(task, contents)

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        """All that has arrived, in its order."""
        self._look()
        reports: list[tuple[int, Report]] = []
        try:
            arrived = self._reports.get(timeout=timeout_seconds)
            while True:
                worker, host, report = arrived
                if self._hosts.get(worker) is host:
                    reports.append((worker, report))
                    if isinstance(report, Lost):
                        self._end(self._hosts.pop(worker))
                arrived = self._reports.get_nowait()
        except queue.Empty:
            return reports

    def kill(self, worker: int, reason: str) -> None:
        """The process first, which leaves its log; the actor if that is of no use."""
        if (host := self._hosts.get(worker)) is not None:
            self._kill(host, reason)

    def _kill(self, host: _Host, reason: str) -> None:
        import ray

        host.killed_for, host.killed_at = reason, time.monotonic()
        if host.is_placed:
            host.actor.kill.remote(reason)
        else:
            ray.kill(host.actor)

    def room(self) -> int:
        """As many as there are, and what fits beside them once those are settled."""
        fitting = self._fitting()
        return max(1, fitting if self._most is None else min(fitting, self._most))

    def _fitting(self) -> int:
        now = time.monotonic()
        is_settled = now - self._placed_at > 2 * LOOK_SECONDS  # nodes tell once a second
        if not is_settled or not all(host.is_placed for host in self._hosts.values()):
            return len(self._hosts)
        free = self._cluster.free(self._needs, tuple(self._excluded))
        return len(self._hosts) + free

    def dismiss(self) -> bool:
        """Tell every worker to shut down; those that wait for room need not come."""
        if not self._dismissed:
            self._dismissed = True
            for worker, host in list(self._hosts.items()):
                if host.is_placed:
                    self.send(worker, Shutdown())
                else:
                    self._kill(host, "dismissed")
        return bool(self._hosts)

    def close(self) -> None:
        """End all actors; none outlives this process anyway."""
        import ray

        hosts = list(self._hosts.values())
        self._hosts.clear()
        with contextlib.suppress(ray.exceptions.RayError):
            closing = [host.actor.close.remote() for host in hosts if host.is_placed]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        for host in hosts:
            self._end(host)
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)
        if self._seen is not None:
            self._seen.unlink(missing_ok=True)

    def _end(self, host: _Host) -> None:
        """What an actor holds of its node is free again."""
        import ray

        host.killed_for = host.killed_for or "it has ended"
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(host.actor)

    # ------------------------------------------------------------ what a host is sent

    def _first_order(self) -> ray_host.Order:
        """All that is the same for every worker; data go to the store of objects once."""
        import ray

        ray.cloudpickle.register_pickle_by_value(ray_host)
        files = {f.path: f for files in self._setup.code.values() for f in files}
        paths = {path: _module_path(f.module, path) for path, f in files.items()}
        variables = recorded_variables(os.environ)
        threads = dict.fromkeys(_THREADS, str(int(self._needs["CPU"])))
        if self._resources.cpu is None:  # what a person has set stands above a default
            threads |= {name: os.environ[name] for name in _THREADS if name in os.environ}
        variables |= threads
        data_dir = self._setup.data_dir
        here = data_dir.absolute() if data_dir else None
        return ray_host.Order(
            worker=0,
            module=self._module,
            setup=ray.put(dataclasses.replace(self._setup, data_dir=here)),
            here=os.getcwd(),
            package_folder=str(PACKAGE.parent),
            digest=own_digest(),
            variables=variables,
            dropped=RECORDED,
            cpus=self._resources.cpu,
            gpus=self._needs.get("GPU", 0),
            code={paths[path]: Path(path).read_bytes() for path in files},
            code_paths=paths,
            **self._put_data(),
            **self._share(),
        )

    def _share(self) -> dict[str, Any]:
        """The folder of large checkpoints, and a file that every node must see in it."""
        if self._shared_from_bytes is None:
            return {}
        folder = self._setup.checkpoints.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._seen = folder / f".shared-{secrets.token_hex(8)}"
        self._seen.touch()
        found = {"shared": str(folder), "seen": self._seen.name}
        return {"shared_from_bytes": self._shared_from_bytes, **found}

    def _put_data(self) -> dict[str, Any]:
        """Files of packed data, in parts; nothing where each node has or makes them."""
        import numpy as np
        import ray

        data = self._setup.data
        if self._cluster.is_own or is_made_anywhere(data.dataset):
            return {}
        parts: dict[str, list[Any]] = {}
        digest = hashlib.sha256()
        with packed(data, self._setup.data_dir, self._setup.backend) as folder:
            for path in sorted(folder.iterdir()):
                content = np.fromfile(path, np.uint8)
                digest.update(content.data)
                starts = range(0, len(content), _PART_BYTES)
                parts[path.name] = [ray.put(content[s : s + _PART_BYTES]) for s in starts]
        return {"data": parts, "data_name": f"data-{digest.hexdigest()[:16]}"}

    # ------------------------------------------------------------ what a host says

    def _listen(self, worker: int, host: _Host, stream: Any) -> None:
        """In a thread for each host: several may write checkpoints at a time."""
        import ray

        lost = Lost("its actor ended")
        try:
            for reference in stream:
                for report in self._understood(worker, host, ray.get(reference)):
                    self._reports.put((worker, host, report))
        except Exception as error:  # the actor is dead, its node, or the whole cluster
            lost = self._judged(host, self._how_it_ended(host, error))
        self._reports.put((worker, host, lost))  # the first one counts

    def _understood(self, worker: int, host: _Host, message: tuple[Any, ...]) -> Iterator[Report]:
        kind, *content = message
        if kind == "placed":
            host.node_id, host.host = content
            self._placed_at = time.monotonic()
        elif kind == "folder":
            (host.folder,) = content
        elif kind == "refused":
            problems = check_node(content[0])
            yield self._refused(host, SetupFailed(str(problems[0]), tuple(problems)))
        elif kind == "not shared":
            yield self._refused(host, SetupFailed("", (_not_shared(host.host, content[0]),)))
        elif kind == "failed":
            yield self._refused(host, SetupFailed(f"node {host.host}: {content[0]}"))
        else:
            reports, printed, checkpoints = content
            self._print(worker, printed)
            for report in reports:
                yield self._translated(host, report, checkpoints)
                if host.leaves and isinstance(report, Epoch) and report.is_settled:
                    self._kill(host, _DRAINED)

    def _translated(self, host: _Host, report: Report, contents: Mapping[str, bytes]) -> Report:
        """The report as if it came from this machine."""
        if isinstance(report, Epoch | Saved) and report.checkpoint is not None:
            return self._stored(host, report, contents.get(report.checkpoint.file))
        if isinstance(report, Epoch | Saved) and report.not_saved:
            return dataclasses.replace(report, not_saved=f"node {host.host}: {report.not_saved}")
        if isinstance(report, Ready):
            host.is_ready = True
            self._proven.add(host.node_id)
            return dataclasses.replace(report, node=host.host)
        if isinstance(report, Resumed):
            here = tuple(self._here(host, text) for text in report.damaged)
            return dataclasses.replace(report, damaged=here)
        if isinstance(report, Finished) and (report.number, report.attempt) == host.trial:
            host.trial = None  # of an earlier one, which was stopped, it has the next already
        if isinstance(report, Lost):
            reason = f"{self._here(host, report.reason)}, on node {host.host}"
            return self._judged(host, Lost(reason, host.leaves))
        if isinstance(report, SetupFailed):
            told = tuple(self._told_of(host, problem) for problem in report.problems)
            return self._refused(host, SetupFailed(f"node {host.host}: {report.reason}", told))
        return report

    def _here(self, host: _Host, text: str) -> str:
        """A node's files in the words of this machine."""
        return text.replace(host.folder, str(self._logs.parent))

    def _told_of(self, host: _Host, problem: Problem) -> Problem:
        """What is wrong on a node, with the person's own files as they are called here."""
        assert self._order is not None
        own = (p for p, below in self._order.code_paths.items() if problem.received.endswith(below))
        received = next(own, problem.received)
        what = f"{problem.what} (on node {host.host})"
        return dataclasses.replace(problem, what=what, received=received)

    def _stored(self, host: _Host, report: Epoch | Saved, content: bytes | None) -> Report:
        """The report with its checkpoint in its folder, in which a large one lies already."""
        saved = report.checkpoint
        assert saved is not None
        folder = self._setup.checkpoints
        try:
            found = hash_of(str(folder / saved.file)) if content is None else _sha256(content)
            if found != saved.sha256:
                raise OSError(f"it is not what node {host.host} has written")
            if content is not None:
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(folder / saved.file, content)
            sync(folder)
        except OSError as error:
            reason = f"{folder / saved.file}: {error.strerror or error}"
            return dataclasses.replace(report, checkpoint=None, not_saved=reason)
        return report

    def _print(self, worker: int, printed: bytes) -> None:
        if not printed:
            return
        with contextlib.suppress(OSError):  # a full disk must not cost what was reported with it
            self._logs.mkdir(parents=True, exist_ok=True)
            with (self._logs / f"worker-{worker}.log").open("ab") as log:
                log.write(printed)

    # ------------------------------------------------------------ nodes that fail, come and go

    def _refused(self, host: _Host, report: SetupFailed) -> Report:
        """What keeps a node from training ends the run at its beginning, and never later on."""
        if self._is_needed(host):
            return report
        self._excluded.add(host.node_id)
        return Lost(f"it is left alone: {report.reason}", machine_went=True)

    def _judged(self, host: _Host, lost: Lost) -> Lost:
        """Nor does a node on which workers end before they are ready; it is left alone in time."""
        is_its_start = host.is_placed and not host.is_ready and not host.killed_for
        if not is_its_start or lost.machine_went or self._is_needed(host):
            return lost
        self._bad_starts[host.node_id] += 1
        if self._bad_starts[host.node_id] >= _MAX_BAD_STARTS:
            self._excluded.add(host.node_id)
            return Lost(f"it is left alone: {lost.reason}", machine_went=True)
        return Lost(lost.reason, machine_went=True)

    def _is_needed(self, host: _Host) -> bool:
        """Whether a run ends where this node cannot train.

        It was there at the beginning, and has either not trained yet or is the last one.
        """
        if host.node_id not in self._first_nodes or host.node_id not in self._proven:
            return host.node_id in self._first_nodes
        others = (
            n for n in self._cluster.nodes() if n.node_id not in {*self._excluded, host.node_id}
        )
        return not any(node.slots(self._needs) for node in others)

    def _how_it_ended(self, host: _Host, error: Exception) -> Lost:
        """An actor ends by itself where something ends its process: memory, a person."""
        if host.killed_for:
            return Lost(host.killed_for, host.leaves)
        if self._machine_went(host, error):
            # It may go between the placing of an actor and the first that this says.
            which = f"node {host.host}" if host.is_placed else "the node where it was to start"
            return Lost(f"{which} is gone", machine_went=True)
        where = f"on node {host.host}" if host.is_placed else "while it started"
        return Lost(f"{type(error).__name__}: {_cause(error)}, {where}")

    def _machine_went(self, host: _Host, error: Exception) -> bool:
        """Ray may know of an actor a moment before it knows of the node.

        An actor that cannot be reached for longer than that counts as gone with its machine.
        """
        from ray.exceptions import ActorUnavailableError

        cannot_be_reached = isinstance(error, ActorUnavailableError)
        if _NODE_DIED in str(error) or not host.is_placed:
            return _NODE_DIED in str(error) or cannot_be_reached
        deadline = time.monotonic() + _VERDICT_SECONDS
        while time.monotonic() < deadline:
            if getattr(error, "preempted", False) or not self._cluster.is_alive(host.node_id):
                return True
            time.sleep(_VERDICT_SECONDS / 10)
        return host.leaves or cannot_be_reached

    def _look(self) -> None:
        """Once a second: who waits, which node is drained, who does not die."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        draining = self._cluster.draining()
        for worker, host in list(self._hosts.items()):
            if not host.is_placed:
                self._reports.put((worker, host, Waiting(self._notice(now - host.asked_at))))
            if host.node_id in draining and not host.leaves:
                host.leaves = True
                if host.trial is None:
                    self._kill(host, _DRAINED)
            if host.killed_for and now - host.killed_at > _CLOSE_SECONDS:
                self._give_up(worker, host)

    def _give_up(self, worker: int, host: _Host) -> None:
        """A host that does not answer; its node may hang."""
        import ray

        ray.kill(host.actor)
        self._reports.put((worker, host, Lost(host.killed_for, host.leaves)))

    def _notice(self, waited: float) -> str:
        """What it waits for, once for all who do."""
        if self._is_waiting_told or waited < _NOTICE_SECONDS:
            return ""
        if self._cluster.free(self._needs, tuple(self._excluded)):
            return ""  # its actor is on its way
        self._is_waiting_told = True
        return self._cluster.waits_for(self._needs)


_NODE_DIED = "died because its node has died"  # of an ActorDiedError
_DRAINED = "its node is being drained"
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NPROC")


def _cause(error: Exception) -> str:
    """Why an actor has died, which Ray says after what any of them has in common."""
    causes = [line for line in str(error).splitlines() if "The actor" in line and "because" in line]
    return (causes or [telling_line(error)])[0].partition(" Some common causes")[0]


def _module_path(module: str, path: str) -> str:
    """Where a module lies below a folder of modules."""
    parts = module.split(".")
    is_package = os.path.basename(path) == "__init__.py"
    return "/".join([*parts, "__init__.py"] if is_package else [*parts[:-1], f"{parts[-1]}.py"])


def _contents(
    folder: Path, task: TrainTrial, shared_from_bytes: int | None
) -> dict[str, bytes | None]:
    """Checkpoints of a trial, newest first, up to one that is whole.

    Damaged ones go along, so that the worker says of them what it always says. A large one is in
    the folder that is shared, and has no content.
    """
    contents: dict[str, bytes | None] = {}
    for row in task.checkpoints:
        path = folder / Path(row.file).name
        with contextlib.suppress(OSError):
            if shared_from_bytes is not None and path.stat().st_size >= shared_from_bytes:
                contents[row.file] = None
                continue
            content = path.read_bytes()
            contents[row.file] = content
            if _sha256(content) == row.sha256:
                break
    return contents


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _not_shared(host: str, folder: str) -> Problem:
    what = "large checkpoints are to go through a folder that this node does not share"
    mend = "--results on a disk that every node sees; without --shared-from they need none"
    return Problem(what, f"node {host}", folder, "the same folder as here", mend)
