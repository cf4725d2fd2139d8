"""What runs on a node of a Ray cluster for each worker: an actor that hosts the worker's process.

The process is the one that trains on a single machine, too: same start, same environment, same
messages, same words for how it ended. A crash of a network ends that process, and not the actor.

Ray is sent this module by value, so that a node without `tuner`, or with another one, can say so:
nothing of `tuner` is imported before the node was looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BATCH_SECONDS = 0.2  # epochs that follow each other faster travel together
WAIT_SECONDS = 0.05
_MAX_LOG_BYTES = 1 << 18  # of what a worker prints, in one message
_MAX_LAST_BYTES = 1 << 24  # in the last one
_FOLDER = "tuner-ray-{user}"


# ---------------------------------------------------------------------- what a node is like


def node_facts(packages: Sequence[str], package_folder: str, here: str) -> dict[str, Any]:
    """Versions on this node; `package_folder` is where the driver has `tuner`.

    A package that is not there has the version "".
    """
    _find_tuner(package_folder, here)
    versions = {name: _version(name) for name in packages}
    found: dict[str, Any] = {"python": platform.python_version(), "host": socket.gethostname()}
    found["versions"] = versions
    try:
        tuner = importlib.import_module("tuner.version")
        digest = package_digest(Path(tuner.__file__ or "").parent)
        found["tuner"], found["digest"] = tuner.__version__, digest
    except Exception as error:
        found["tuner"], found["digest"] = "", f"{type(error).__name__}: {error}"
    return found


def node_examination(
    package_folder: str, here: str, digest: str, data_dir: str | None
) -> dict[str, Any]:
    """`node_facts` and, where `tuner` is the driver's, what the `machine` has."""
    facts = node_facts((), package_folder, here)
    if facts["digest"] == digest:
        machine = importlib.import_module("tuner.execution.machine")
        folders = Path(tempfile.gettempdir()), Path(data_dir) if data_dir else None
        facts["machine"] = machine.examination(*folders)
    return facts


def _find_tuner(package_folder: str, here: str) -> None:
    """Ray puts the driver's folder first: a `tuner.py` that lies there is no package."""
    while here in sys.path:
        sys.path.remove(here)
    sys.path += [here]
    if package_folder not in sys.path:  # the same disk, or the same machine
        sys.path.append(package_folder)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def package_digest(folder: Path) -> str:
    """A hash of a package's code: the same version may have been edited."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


# ---------------------------------------------------------------------- a node's folder


class NodeFolder:
    """What a run keeps on a node: data and code, once for all workers, and a folder for each.

    A folder that nobody holds is rubbish of a process that died, and the next one removes it.
    """

    def __init__(self, node: str) -> None:
        self._base = Path(tempfile.gettempdir()) / _FOLDER.format(user=os.getuid())
        self.path = self._base / node[:12]
        self._held: list[Any] = []
        self._base.mkdir(mode=0o700, exist_ok=True)
        if self._base.stat().st_uid != os.getuid():
            raise PermissionError(f"{self._base} belongs to somebody else")
        self._sweep()

    def own(self, name: str) -> Path:
        """A new folder that nobody else uses."""
        with self._locked():
            self.path.mkdir(exist_ok=True)
            path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path))
            self._hold(path)
        return path

    def shared(self, name: str, files: Mapping[str, Sequence[Any]], fetch: Any) -> Path:
        """A folder with these files, written by whoever comes first.

        The content of a file is a sequence of parts, each of which `fetch` gives as bytes.
        """
        path = self.path / name
        with self._locked():
            self.path.mkdir(exist_ok=True)
            self._hold(path)
            if not (path / ".complete").exists():
                shutil.rmtree(path, ignore_errors=True)
                for file, parts in files.items():
                    (path / file).parent.mkdir(parents=True, exist_ok=True)
                    with (path / file).open("wb") as stream:
                        for part in parts:
                            stream.write(fetch(part))
                path.mkdir(exist_ok=True)
                (path / ".complete").touch()
        return path

    def leave(self) -> None:
        """Remove what nobody else needs."""
        for file in self._held:
            file.close()
        self._held.clear()
        self._sweep()

    def _hold(self, path: Path) -> None:
        file = path.with_name(f".{path.name}.held").open("a")
        fcntl.flock(file, fcntl.LOCK_SH)
        self._held.append(file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._base / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _sweep(self) -> None:
        with self._locked():
            for held in self._base.glob("*/.*.held"):
                with contextlib.suppress(OSError), held.open("a") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(held.with_name(held.name[1:-5]), ignore_errors=True)
                    held.unlink()
            for folder in self._base.iterdir():
                with contextlib.suppress(OSError):  # not empty, or the lock
                    folder.rmdir()


# ---------------------------------------------------------------------- the actor


@dataclass(frozen=True)
class Order:
    """What a host is told when it begins.

    `setup` is a `WorkerSetup` in Ray's store. `code` are the person's modules: path below a folder
    of modules → content; `code_paths` where the setup has them. `data` are the files of packed
    data: name → parts in Ray's store. `variables` replace those of the node. Checkpoints of
    `shared_from_bytes` go through the folder `shared`, in which the node must see the file `seen`.
    """

    worker: int
    module: str
    setup: Any
    here: str
    package_folder: str
    digest: str
    variables: Mapping[str, str]
    dropped: Sequence[str] = ()
    code: Mapping[str, bytes] = field(default_factory=dict)
    code_paths: Mapping[str, str] = field(default_factory=dict)
    data_name: str = ""
    data: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    cpus: int | None = 1
    gpus: float | None = 0
    shared_from_bytes: int | None = None
    shared: str = ""
    seen: str = ""


class WorkerHost:
    """Hosts one worker, and passes on what it is told and what it says."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._folder: Any = None
        self._slot = Path()
        self._worker = 1
        self._lock = threading.Lock()
        self._received: dict[tuple[int, int | None], list[str]] = {}  # checkpoints, by attempt
        self._shared = Path()
        self._shared_from = sys.maxsize

    # ------------------------------------------------------------ what it says

    def serve(self, order: Order) -> Iterator[tuple[Any, ...]]:
        """`("placed", node, host)`, then `("said", reports, printed, checkpoints)` again and again.

        Checkpoints are contents by name; their files are gone then.
        """
        import ray

        node = ray.get_runtime_context().get_node_id()
        yield "placed", node, socket.gethostname()
        facts = node_facts((), order.package_folder, order.here)
        if facts["digest"] != order.digest:
            yield "refused", facts
            return
        if order.seen and not os.path.exists(os.path.join(order.shared, order.seen)):
            yield "not shared", order.shared
            return
        try:
            self._begin(order, node, ray.get)
        except Exception as error:  # a full disk, a folder of somebody else
            yield "failed", f"{type(error).__name__}: {error}"
            return
        yield "folder", str(self._slot)
        yield from self._listen()

    def _begin(self, order: Order, node: str, fetch: Any) -> None:
        from tuner.execution.pools import LocalPool
        from tuner.experiment.schema import Resources

        self._folder = NodeFolder(node)
        self._slot = self._folder.own(f"worker-{order.worker}")
        folders: list[str] = []
        if order.code:
            content = {name: [part] for name, part in order.code.items()}
            name = hashlib.sha256(repr(sorted(order.code.items())).encode()).hexdigest()[:16]
            code = self._folder.shared(f"code-{name}", content, bytes)
            folders.append(str(code))
        setup = self._setup(order, folders, fetch)
        environment = {n: v for n, v in os.environ.items() if n not in order.dropped}
        environment.update(order.variables)
        self._worker = order.worker
        if order.shared_from_bytes is not None:
            self._shared, self._shared_from = Path(order.shared), order.shared_from_bytes
        self._pool = LocalPool(
            setup,
            workers=1,
            logs=self._slot / "logs",
            environment=environment,
            resources=Resources(cpu=order.cpus, gpu=order.gpus),
            module=order.module,
            folders=folders,
            here=order.here if os.path.isdir(order.here) else None,
        )
        self._pool.start(order.worker)

    def _setup(self, order: Order, folders: Sequence[str], fetch: Any) -> Any:
        """The setup with the places of this node."""
        from tuner.data.packed import own_copy

        setup = fetch(order.setup)
        code = {
            family: tuple(
                dataclasses.replace(f, path=os.path.join(folders[0], order.code_paths[f.path]))
                for f in files
            )
            for family, files in setup.code.items()
        }
        places = {"checkpoints": self._slot / "checkpoints", "code": code}
        if folder := own_copy(setup.data.dataset, setup.data_dir):
            places["data_dir"] = folder
        elif order.data:
            packed = self._folder.shared(order.data_name, order.data, lambda p: fetch(p).data)
            places["packed"] = packed
        return dataclasses.replace(setup, **places)

    def _listen(self) -> Iterator[tuple[Any, ...]]:
        """What the worker says and prints, until it is gone."""
        from tuner.execution.protocol import Epoch, Finished, Lost, Progress, Spent, Watched

        log = self._slot / "logs" / f"worker-{self._worker}.log"
        printed, sent_at, is_lost = 0, 0.0, False
        reports: list[Any] = []
        while not is_lost:
            reports += [report for _, report in self._pool.receive(WAIT_SECONDS)]
            is_lost = any(isinstance(report, Lost) for report in reports)
            can_wait = all(isinstance(r, Epoch | Progress | Spent | Watched) for r in reports)
            can_wait &= not any(isinstance(r, Epoch) and r.waits for r in reports)
            if can_wait and time.monotonic() - sent_at < BATCH_SECONDS:
                continue
            text = _read_from(log, printed)
            if not reports and not text:
                continue
            printed, sent_at = printed + len(text), time.monotonic()
            for report in reports:
                if isinstance(report, Finished):
                    self._forget_received((report.number, report.attempt))
            reports, files = self._taken(reports)
            if is_lost:
                text += _read_from(log, printed, _MAX_LAST_BYTES)
                self.close()  # before it is told, as this actor is ended then
            yield "said", reports, text, files
            reports = []

    def _taken(self, reports: Sequence[Any]) -> tuple[list[Any], dict[str, bytes]]:
        """The reports, and the checkpoints that they name, which are nowhere else then."""
        contents: dict[str, bytes] = {}
        told = []
        for report in reports:
            if saved := getattr(report, "checkpoint", None):
                try:
                    contents |= self._content(saved)
                except OSError as error:  # costs the checkpoint, as a full disk does elsewhere
                    reason = f"{saved.file}: {error.strerror or error}"
                    report = dataclasses.replace(report, checkpoint=None, not_saved=reason)
            told.append(report)
        return told, contents

    def _content(self, saved: Any) -> dict[str, bytes]:
        """Of a checkpoint, by its name; a large one goes into the shared folder instead."""
        path = self._slot / "checkpoints" / saved.file
        try:
            if saved.num_bytes >= self._shared_from:
                _copy(path, self._shared / saved.file)
                return {}
            return {saved.file: path.read_bytes()}
        finally:
            path.unlink(missing_ok=True)

    # ------------------------------------------------------------ what it is told

    def send(self, task: Any, checkpoints: Mapping[str, bytes | None]) -> None:
        """A task for the worker, with the checkpoints that it may go on from.

        One without content lies in the shared folder. Where there is no room for them the worker is
        lost: it would begin the trial anew.
        """
        if (pool := self._pool) is None:
            return
        try:
            self._receive(task, checkpoints)
        except OSError as error:
            self.kill(f"it cannot be sent a checkpoint: {error.strerror or error}")
            return
        with contextlib.suppress(KeyError):  # the worker is gone, which is reported anyway
            pool.send(self._worker, task)

    def _receive(self, task: Any, checkpoints: Mapping[str, bytes | None]) -> None:
        if not checkpoints:
            return
        folder = self._slot / "checkpoints"
        folder.mkdir(exist_ok=True)
        self._received[task.number, task.attempt] = list(checkpoints)
        for name, content in checkpoints.items():
            (folder / name).unlink(missing_ok=True)
            if content is None:
                (folder / name).symlink_to(self._shared / name)
            else:
                (folder / name).write_bytes(content)

    def _forget_received(self, attempt: tuple[int, int | None]) -> None:
        """Of this trial alone: where a rule has ended it, the next one was sent already."""
        for name in self._received.pop(attempt, ()):
            (self._slot / "checkpoints" / name).unlink(missing_ok=True)

    def kill(self, reason: str) -> None:
        """End the worker by force; it is reported as lost."""
        if (pool := self._pool) is not None:
            pool.kill(self._worker, reason)

    def close(self) -> None:
        """End the worker, and leave nothing on the node."""
        pool, self._pool = self._pool, None
        folder, self._folder = self._folder, None
        if pool is not None:
            pool.close()
        if folder is not None:
            folder.leave()


def _copy(path: Path, into: Path) -> None:
    """To another disk; whoever looks there sees all of it or nothing."""
    draft = into.with_name(f".{into.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with path.open("rb") as source, draft.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 22)
            target.flush()
            os.fsync(target.fileno())
        draft.replace(into)
    finally:
        draft.unlink(missing_ok=True)


def _read_from(path: Path, start: int, most: int = _MAX_LOG_BYTES) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(start)
        return file.read(most)
    return b""
