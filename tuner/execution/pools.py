"""Pools: where workers live, and how a scheduler reaches them."""

from __future__ import annotations

import dataclasses
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tuner.code.process import plain_environment, python_command
from tuner.execution.devices import Shares
from tuner.execution.protocol import Lost, Report, Shutdown, Task, WorkerSetup
from tuner.experiment.schema import Resources

WORKER = "tuner.execution.worker"
"""The module whose `main` serves a socket."""


class Pool(ABC):
    """Workers by number, here or elsewhere. One that is lost is reported as `Lost`, once."""

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start a worker; it reports `Ready` or `SetupFailed`."""

    @abstractmethod
    def send(self, worker: int, task: Task) -> None:
        """Give a worker something to do; a worker that is gone is reported as `Lost`."""

    @abstractmethod
    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        """Reports that have arrived, after at most so long; oldest first for each worker."""

    @abstractmethod
    def kill(self, worker: int, reason: str) -> None:
        """End a worker by force; it is reported as `Lost` with this reason."""

    def room(self) -> int | None:
        """For how many workers there is room now; None: for as many as are asked for."""
        return None

    @abstractmethod
    def dismiss(self) -> bool:
        """Ask all workers to give up their trials and leave; whether any is still there."""

    @abstractmethod
    def close(self) -> None:
        """End all workers by force."""


@dataclass
class _Process:
    process: subprocess.Popen[bytes]
    connection: Connection
    killed_for: str = ""


class LocalPool(Pool):
    """One process of this machine per worker, pinned to its device before it imports anything.

    What it prints goes to `logs/worker-N.log`. `folders` are searched for a person's modules before
    all others of theirs; `here` is the folder that it works in, this one by default.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        *,
        workers: int,
        logs: Path,
        environment: Mapping[str, str],
        gpus: Sequence[str] = (),
        resources: Resources | None = None,
        module: str = WORKER,
        folders: Sequence[str] = (),
        here: str | None = None,
    ) -> None:
        self._setup = setup
        self._logs = logs
        self._environment = environment
        self._shares = Shares(resources or Resources(), workers, gpus)
        self._module = module
        self._folders = folders
        self._here = here
        self._processes: dict[int, _Process] = {}
        self._dismissed: set[int] = set()

    def start(self, worker: int) -> None:
        """Start the process and send it its setup."""
        ours, theirs = socket.socketpair()
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"worker-{worker}.log").open("ab") as log, theirs:
            process = subprocess.Popen(
                python_command(self._module, str(theirs.fileno()), folders=self._folders),
                cwd=self._here,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._worker_environment(worker),
                start_new_session=True,  # Ctrl-C is for the scheduler, which tells its workers
            )
        self._processes[worker] = _Process(process, Connection(ours.detach()))
        limit = self._shares.memory_limit(worker, self._environment)
        self.send(worker, dataclasses.replace(self._setup, gpu_memory_bytes=limit))

    def _worker_environment(self, worker: int) -> dict[str, str]:
        """Backend, device and share of the cores, as the frameworks read them when imported."""
        defaults = {
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }
        given = plain_environment(self._environment, self._setup.backend)
        given = {**defaults, **given, "PYTHONUNBUFFERED": "1"}
        return self._shares.environment(worker, given)

    def send(self, worker: int, task: Task) -> None:
        """A worker that is gone is noticed by `receive`."""
        try:
            self._processes[worker].connection.send(task)
        except OSError:
            return

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        """At most one report from each worker, so that none starves."""
        by_connection = {process.connection: n for n, process in self._processes.items()}
        if not by_connection:
            time.sleep(timeout_seconds)
            return []
        reports: list[tuple[int, Report]] = []
        for ready in wait(list(by_connection), timeout_seconds):
            assert isinstance(ready, Connection)
            worker = by_connection[ready]
            try:
                reports.append((worker, ready.recv()))
            except (EOFError, OSError):
                reports.append((worker, Lost(self._end(worker))))
        return reports

    def _end(self, worker: int) -> str:
        """Clean up after a process that closed its socket, and say how it ended."""
        gone = self._processes.pop(worker)
        gone.connection.close()
        try:
            status = gone.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            gone.process.kill()
            status = gone.process.wait()
        if gone.killed_for:
            return f"{gone.killed_for}; see {self._logs / f'worker-{worker}.log'}"
        log = self._logs / f"worker-{worker}.log"
        if status < 0:
            name = signal.Signals(-status).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return f"killed by {name}{hint}; see {log}"
        return f"exit status {status}; see {log}"

    def kill(self, worker: int, reason: str) -> None:
        """SIGKILL: a hung process listens to nothing else."""
        if worker in self._processes:
            self._processes[worker].killed_for = reason
            self._processes[worker].process.kill()

    def dismiss(self) -> bool:
        """Tell every worker to shut down, each once."""
        for worker in self._processes.keys() - self._dismissed:
            self.send(worker, Shutdown())
        self._dismissed |= self._processes.keys()
        return bool(self._processes)

    def close(self) -> None:
        """Kill every process that is left."""
        for gone in self._processes.values():
            gone.process.kill()
            gone.process.wait()
            gone.connection.close()
        self._processes.clear()
