"""Workers that are forked from a process in which the framework is imported already.

Importing TensorFlow takes five seconds; a thousand killed workers would spend an hour and a half on
it. Here one server imports it once, and forks for every worker that a run starts, and for every
process that runs a person's `build`. The forked process has the arguments, the variables and the
folders of the one that was started, runs its module as it is, and takes a SIGKILL as any does.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tuner.code.process import plain_environment

ROOT = Path(__file__).parents[2]
SHIM = Path(__file__).parent / "preloaded"
FRAMEWORK = {"tensorflow": ("tensorflow", "keras"), "jax": ("jax", "keras")}
MODULES = (
    "tuner.execution.worker",
    "tuner.training.trial",
    "tuner.data.images",
    "tuner.models.own.server",
    "tuner.models.own.probe",
)


@contextmanager
def preloaded(backend: str, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment for runs whose workers are forked; all of them are gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="preload-"))
    address = folder / backend
    command = [sys.executable, "-m", "benchmarks.reliability.preload", str(address), backend]
    environment = {**environment, "KERAS_BACKEND": backend}
    plain = plain_environment({**environment, "PYTHONUNBUFFERED": "1"}, backend)
    server = subprocess.Popen(command, cwd=ROOT, env=plain, start_new_session=True)
    try:
        _wait_for(address, server)
        paths = [str(SHIM), environment.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, paths))
        yield {**environment, "PYTHONPATH": path, "RELIABILITY_PRELOAD": str(address)}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()


def forked(environment: Mapping[str, str], stand_in: int) -> int:
    """The process that trains for a worker which the scheduler knows under another number."""
    server = environment.get("RELIABILITY_PRELOAD")
    if server is None:
        return stand_in
    try:
        return int(Path(server).with_name(str(stand_in)).read_text())
    except (OSError, ValueError):
        return stand_in


def _wait_for(address: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not address.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the server of preloaded workers did not start")
        time.sleep(0.05)


# ---------------------------------------------------------------------- the server


def serve(address: Path, backend: str) -> None:
    gc.disable()
    for name in (*FRAMEWORK[backend], f"tuner.training.{backend}", *MODULES):
        importlib.import_module(name)
    gc.freeze()  # no forked process looks through all that for garbage, and copies it for that
    gc.enable()
    listener = socket.socket(socket.AF_UNIX)
    draft = address.with_suffix(".new")
    listener.bind(str(draft))
    listener.listen(64)
    draft.rename(address)
    waiting: dict[int, socket.socket] = {}
    parent = os.getppid()
    while os.getppid() == parent:
        if select.select([listener], [], [], 0.01)[0]:
            connection, _ = listener.accept()
            child = _fork(connection, listener, list(waiting.values()), address.parent)
            waiting[child] = connection
        _reap(waiting)
    os.killpg(0, signal.SIGKILL)  # whoever needed the workers is gone


def _reap(waiting: dict[int, socket.socket]) -> None:
    while waiting:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        connection = waiting.pop(child)
        with suppress(OSError):
            connection.send(str(status).encode())
        connection.close()


def _fork(
    connection: socket.socket,
    listener: socket.socket,
    others: list[socket.socket],
    folder: Path,
) -> int:
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 4)
    child = os.fork()
    if child:
        for descriptor in descriptors:
            os.close(descriptor)
        return child
    listener.close()
    for other in others:
        other.close()
    try:
        _be(connection, descriptors, folder)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _be(stand_in: socket.socket, descriptors: list[int], folder: Path) -> None:
    """The process that the stand-in was started to be."""
    told = json.loads(stand_in.makefile().readline())
    (folder / str(told["pid"])).write_text(str(os.getpid()))
    for standard, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    threading.Thread(target=_die_with, args=(stand_in,), daemon=True).start()
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["folder"])
    sys.path[:] = told["path"]
    sys.argv = [told["module"], str(descriptors[3]) if descriptors[3:] else told["argument"]]
    importlib.import_module(told["module"]).main()


def _die_with(stand_in: socket.socket) -> None:
    """Whoever kills the process that the scheduler knows, kills this one."""
    stand_in.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address", type=Path)
    parser.add_argument("backend")
    options = parser.parse_args()
    serve(options.address, options.backend)
