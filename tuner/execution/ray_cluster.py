"""A Ray cluster: how it is reached or started, and what its nodes are like.

Ray is imported here and in `ray_pool`, and nowhere before somebody asks for it.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuner.code.process import python_command, silent_stderr
from tuner.code.start import PACKAGE
from tuner.errors import InputError, Problem, telling_line
from tuner.execution import ray_host, ray_keeper
from tuner.execution.devices import computing_threads
from tuner.experiment.schema import Resources
from tuner.version import __version__

ANSWER_SECONDS = 8.0
# What HTTP/2 begins with, and its first frame; an answer begins with a frame of that type, too.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_LOOK_SECONDS = 60.0  # of a busy node, where a process must be started first
_LONG_PATH = 40  # characters; a socket below may have 107 in all, of which Ray needs 60
_OPTION = "--ray-address"
_HEAD = "ray start --head --port=6379"
_AUTH = "RAY_AUTH_MODE"
_PORTS_OF_OTHERS = {"10001": "Ray Client", "8265": "Ray's dashboard"}
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns of what will change
}
# On the own machine a worker may fill the memory as one of the local engine may.
_OWN = {"RAY_memory_monitor_refresh_ms": "0", "RAY_AUTH_MODE": "token"}
_TOKEN = secrets.token_hex(32)  # so that nobody else on the machine runs anything on it


def check_installed() -> None:
    """Ray is an extra.

    Raises:
        InputError: it is not installed.
    """
    if find_spec("ray") is None:
        what, mend = "the package ray is not installed", "pip install 'convtuner[ray]'"
        raise InputError(Problem(what, "--engine", "ray", mend=mend))


@dataclass(frozen=True)
class Node:
    """A machine of the cluster as Ray knows it."""

    node_id: str
    host: str
    cpus: float
    gpus: float

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPU{'s' * (self.gpus != 1)}" if self.gpus else ""
        return f"{self.host} ({self.cpus:g} CPU{'s' * (self.cpus != 1)}{gpus})"

    def slots(self, needs: Mapping[str, float]) -> int:
        """How many workers fit if nobody else is there."""
        return _slots({"CPU": self.cpus, "GPU": self.gpus}, needs)


@dataclass(frozen=True)
class RayCluster:
    """A cluster that this process is connected to; `is_own` if it was started for this run."""

    address: str
    is_own: bool

    def nodes(self) -> list[Node]:
        """Those that are alive."""
        import ray

        return [
            Node(
                node["NodeID"],
                node["NodeManagerHostname"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]

    def needs(self, resources: Resources) -> dict[str, float]:
        """What one worker takes; where nothing is said, a GPU if there are any, and a core."""
        has_gpus = any(node.gpus for node in self.nodes())
        gpus = float(has_gpus) if resources.gpu is None else resources.gpu
        return {"CPU": float(resources.cpu or 1), **({"GPU": gpus} if gpus else {})}

    def resources(self, asked: Resources, backend: str) -> Resources:
        """What each worker is told that it has: the threads of a host do not matter to a GPU.

        Otherwise there is one for each core that Ray reserves, unless a person has set a number.
        """
        needs = self.needs(asked)
        if gpus := needs.get("GPU", 0.0):
            return Resources(cpu=asked.cpu, gpu=gpus)
        threads = asked.cpu or computing_threads(backend, os.environ) or int(needs["CPU"])
        return Resources(cpu=threads, gpu=0.0)

    def check(self, resources: Resources, workers: int | None) -> None:
        """Whether the cluster can ever hold such workers.

        Raises:
            InputError: no node is large enough; or, where no other node can come, all together.
        """
        needs, nodes = self.needs(resources), self.nodes()
        slots = sum(node.slots(needs) for node in nodes)
        has = ", ".join(map(str, nodes))
        if not slots:
            wanted = _text(needs)
            what = "no node of the cluster can hold a worker"
            mend = "--cpus-per-worker and --gpus-per-worker, or resources: in the experiment"
            raise InputError(
                Problem(what, "resources", wanted, f"at most what a node has: {has}", mend)
            )
        if self.is_own and workers and workers > slots:
            what = "more workers than this machine has room for"
            received = f"-j {workers}, each with {_text(needs)}"
            raise InputError(
                Problem(what, "--workers", received, f"at most {slots}: {has}", f"-j {slots}")
            )

    def check_nodes(self, resources: Resources, package: str) -> None:
        """Whether every node that can hold a worker has this `tuner`, and the backend's package.

        Raises:
            InputError: with all that one lacks.
        """
        needs = self.needs(resources)
        nodes = [node for node in self.nodes() if node.slots(needs)]
        arguments = ([package], str(PACKAGE.parent), os.getcwd())
        told = self._answers(nodes, ray_host.node_facts, *arguments)
        problems = [p for facts, _ in told.values() if facts for p in check_node(facts, package)]
        for node in nodes:
            _, silence = told[node.node_id]
            if silence and self.is_alive(node.node_id):  # one that went meanwhile harms nobody
                what, mend = "it does not answer", "ray stop there, or start ray there again"
                problems.append(Problem(what, f"node {node.host}", silence, mend=mend))
        if problems:
            raise InputError(problems)

    def room(self, resources: Resources) -> int:
        """For how many workers there is room now; one may wait for it."""
        return max(1, self.free(self.needs(resources)))

    def free(self, needs: Mapping[str, float], excluded: Sequence[str] = ()) -> int:
        """How many more workers fit now."""
        from ray._private.state import available_resources_per_node

        free: Mapping[str, Mapping[str, float]] = available_resources_per_node()
        out = {*excluded, *self.draining()}
        return sum(_slots(has, needs) for node, has in free.items() if node not in out)

    def waits_for(self, needs: Mapping[str, float]) -> str:
        """Why a worker has no node yet, in words."""
        import ray

        free = ray.available_resources()
        left = " and ".join(f"{free.get(name, 0):g} {name}" for name in needs)
        has = ", ".join(map(str, self.nodes())) or "none"
        return f"a worker waits for room: it takes {_text(needs)}; {left} free on nodes: {has}"

    def draining(self) -> set[str]:
        """Nodes that will be gone soon."""
        from ray._private.state import state

        return set(state.get_draining_nodes())

    def is_alive(self, node_id: str) -> bool:
        """Whether the node is still there."""
        return any(node.node_id == node_id for node in self.nodes())

    def examine(self, data_dir: Path | None) -> dict[str, tuple[dict[str, Any], str]]:
        """By its id: what a node has (see `ray_host.node_examination`), or why it does not say."""
        folder = str(data_dir.absolute()) if data_dir else None
        arguments = (str(PACKAGE.parent), os.getcwd(), own_digest(), folder)
        return self._answers(self.nodes(), ray_host.node_examination, *arguments)

    def _answers(
        self, nodes: Sequence[Node], function: Callable[..., dict[str, Any]], *arguments: Any
    ) -> dict[str, tuple[dict[str, Any], str]]:
        """What a function of `ray_host` gives on these nodes, by their ids, or why it does not."""
        import ray

        asked = self._ask(nodes, function, *arguments)
        if asked:
            ray.wait(list(asked.values()), num_returns=len(asked), timeout=_LOOK_SECONDS)
        told: dict[str, tuple[dict[str, Any], str]] = {}
        for node, answer in asked.items():
            try:
                told[node] = ray.get(answer, timeout=0), ""
            except ray.exceptions.GetTimeoutError:
                told[node] = {}, f"no answer within {_LOOK_SECONDS:g} s"
            except ray.exceptions.RayError as error:
                told[node] = {}, telling_line(error) or type(error).__name__
        return told

    def _ask(
        self, nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any
    ) -> dict[str, Any]:
        """What a function of `ray_host` will give on these nodes, by their ids."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray.cloudpickle.register_pickle_by_value(ray_host)
        look = ray.remote(num_cpus=0, max_retries=0)(function)
        return {
            node.node_id: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)
            ).remote(*arguments)
            for node in nodes
        }


def check_node(facts: Mapping[str, Any], backend_package: str = "") -> list[Problem]:
    """What keeps a node from training."""
    host = f"node {facts['host']}"
    mend = f"pip install 'convtuner=={__version__}' there, with the same extras"
    if not facts["tuner"]:
        return [Problem("tuner cannot be imported", host, facts["digest"], __version__, mend)]
    if facts["digest"] != own_digest():
        received = f"{facts['tuner']} ({facts['digest']})"
        what, expected = "another tuner than here", f"{__version__} ({own_digest()})"
        return [Problem(what, host, received, expected, mend)]
    if backend_package and not facts["versions"].get(backend_package):
        what = f"the package {backend_package} is not installed"
        return [Problem(what, host, "", "", f"pip install {backend_package} there")]
    return []


@cache
def own_digest() -> str:
    """Of the code that this process runs, whatever becomes of its files."""
    return ray_host.package_digest(PACKAGE)


def _slots(has: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How often all needs fit; Ray counts in ten thousandths."""
    return min(int(has.get(name, 0.0) / need + 1e-4) for name, need in needs.items())


def _text(needs: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in needs.items())


# ---------------------------------------------------------------------- connecting


@contextmanager
def connected(address: str | None) -> Iterator[RayCluster]:
    """The cluster at an address (`auto`: of this machine), or one that is started for this run.

    Raises:
        InputError: nothing answers there, or it is another Ray.
    """
    check_installed()
    is_own = address is None
    with _environment(is_own=is_own), _scratch(is_own=is_own) as scratch:
        import ray

        _hush()
        quiet = {"log_to_driver": False, "configure_logging": False}
        with _signals_kept():  # Ray would take SIGTERM
            if address is None:
                with silent_stderr():
                    ray.init("local", include_dashboard=False, _temp_dir=scratch, **quiet)
            else:
                address = answering(address)
                with silent_stderr():
                    ray.init(address, **quiet)
        try:
            yield RayCluster(address or "local", is_own)
        finally:
            ray.shutdown()


def check_reachable(address: str) -> None:
    """What can be said of an address without Ray, at once.

    Raises:
        InputError: it is none, or nothing is there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    expected = "auto, or HOST:PORT of a cluster's head (6379 is Ray's usual port)"
    if "://" in address:
        what = "a Ray client cannot reach workers; a node of the cluster can"
        mend = f"run this on a node, with {_OPTION} auto"
        raise InputError(Problem(what, _OPTION, address, expected, mend))
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(Problem("not an address", _OPTION, address, expected))
    _check_that_ray_listens(address, host.strip("[]"), int(port))


def _check_that_ray_listens(address: str, host: str, port: int) -> None:
    """At once, as Ray itself tries an address where something else listens for a minute."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(_PREFACE)
            begin = connection.recv(9)
    except OSError as error:
        raise _no_answer(address, error.strerror or str(error)) from error
    if begin[3:4] != _PREFACE[-6:-5]:
        raise _no_answer(address, "something else listens there")


def answering(address: str) -> str:
    """HOST:PORT of a cluster that this machine belongs to, found out within some seconds.

    Ray itself would try for most of a minute, and say how in its own words.
    Raises:
        InputError: nothing answers, it is another Ray, or this machine is no node of it.
    """
    check_reachable(address)
    command = python_command("tuner.execution.ray_cluster", address)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as probe:
        assert probe.stdout is not None
        probe.stdout.readline()  # Ray is imported, which may take longer than its answer
        try:
            answer, complaint = probe.communicate(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired as error:
            probe.kill()
            reason = f"nothing answers like Ray in {ANSWER_SECONDS:g} s"
            raise _no_answer(address, reason) from error
    try:
        told = json.loads(answer)
    except ValueError as error:
        last = (complaint.strip().splitlines() or ["nothing"])[-1]
        raise _no_answer(address, last) from error
    if "problem" in told:
        raise InputError(Problem(**told["problem"]))
    if told["asks_for_token"]:
        os.environ[_AUTH] = "token"
        _read_environment_again()
    return str(told["address"])


def _no_answer(address: str, reason: str) -> InputError:
    what, expected = "no Ray cluster answers at this address", "a running one"
    mend = f"{_HEAD} on its head; without {_OPTION} a Ray of this machine is started"
    if other := _PORTS_OF_OTHERS.get(address.rpartition(":")[2]):
        mend = f"this is the port of {other}; give the one of ray start --head, usually 6379"
    return InputError(Problem(what, _OPTION, f"{address}: {reason}", expected, mend))


def _hush() -> None:
    """Ray writes to the terminal what its nodes have to say, which is for the run alone."""
    from ray._private import worker

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    worker._worker_logs_enabled = False


@contextmanager
def _environment(*, is_own: bool) -> Iterator[None]:
    """What Ray reads when it starts; afterwards all is as before."""
    wanted = dict(_QUIET)
    if is_own:
        wanted |= {**_OWN, "RAY_AUTH_TOKEN": _TOKEN}
    before = {name: os.environ.get(name) for name in (*wanted, _AUTH)}
    os.environ.update(wanted)
    _read_environment_again()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_environment_again()


def _has_token() -> bool:
    """Whether there is one to bring; there is a file once Ray has started alone.

    `ray start --head` asks for it then, but `ray.init` does not bring it. It must not be brought
    where nobody asks: this process would ask the cluster's for it, and lose its actors.
    """
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()


def _read_environment_again() -> None:
    """Ray does so only when it is imported."""
    import ray

    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _scratch(*, is_own: bool) -> Iterator[str | None]:
    """A folder for Ray's own files; its sockets there must not have long names.

    What still uses it at the end is ended, also when this process was killed.
    """
    if not is_own:
        yield None
        return
    parents = [tempfile.gettempdir(), "/tmp"]
    parent = min(parents, key=len) if len(parents[0]) > _LONG_PATH else parents[0]
    folder = tempfile.mkdtemp(prefix="ray-", dir=parent)
    command = [sys.executable, "-I", ray_keeper.__file__, folder]
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield folder
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; and its processes, which inherit what is ignored, would end
    with the terminal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------------- in a process of its own


def main() -> None:
    """Look for the cluster at the address that is named, and print as JSON what there is."""
    import ray  # noqa: F401

    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps(_found(sys.argv[1])))


def _found(address: str) -> dict[str, Any]:
    import ray
    from ray._common.usage import usage_lib
    from ray._private import services

    _hush()
    running = sorted(services.find_gcs_addresses())
    is_named = os.environ.get("RAY_ADDRESS") or services.find_bootstrap_address(None) in running
    if address == "auto" and len(running) > 1 and not is_named:
        what, received = "several Ray clusters run on this machine", ", ".join(running)
        return {"problem": asdict(Problem(what, _OPTION, received, "one of them"))}
    try:
        resolved = services.canonicalize_bootstrap_address(address)
    except ConnectionError:
        mend = f"{_HEAD}, or leave {_OPTION} out: a Ray of this machine is started then"
        what = "there is no Ray cluster on this machine"
        return {"problem": asdict(Problem(what, _OPTION, address, "", mend))}
    try:
        client, asks_for_token = _client(resolved)
    except ray.exceptions.AuthenticationError:
        return {"problem": asdict(_other_token(resolved))}
    cluster = usage_lib.get_cluster_metadata(client) or {}
    here = {"ray_version": ray.__version__, "python_version": platform.python_version()}
    differs = [n for n in here if cluster.get(n, here[n]) != here[n]]
    if differs:
        words = {"ray_version": "Ray", "python_version": "Python"}
        received = ", ".join(f"{words[n]} {cluster[n]}" for n in differs)
        expected = ", ".join(f"{words[n]} {here[n]}, as here" for n in differs)
        mend = "the same versions on every node and here"
        what = "the cluster runs another version"
        problem = Problem(what, f"{_OPTION} {resolved}", received, expected, mend)
        return {"problem": asdict(problem)}
    alive = {node["NodeID"] for node in _alive(client)}
    if not alive & set(services.find_node_ids()):
        what, mend = "this machine is no node of that cluster", f"ray start --address={resolved}"
        return {"problem": asdict(Problem(what, _OPTION, resolved, "", mend + " here first"))}
    return {"address": resolved, "asks_for_token": asks_for_token}


def _client(address: str) -> tuple[Any, bool]:
    """Of the service on the head node, and whether it had to be brought a token that is here."""
    import ray

    try:
        return ray._raylet.GcsClient(address=address), False
    except ray.exceptions.AuthenticationError:
        if _AUTH in os.environ or not _has_token():
            raise
    os.environ[_AUTH] = "token"
    _read_environment_again()
    return ray._raylet.GcsClient(address=address), True


def _other_token(address: str) -> Problem:
    what = "the cluster asks for a token, and here is none, or another one"
    mend = (
        "copy ~/.ray/auth_token from the head node; "
        "or start Ray on every node with RAY_AUTH_MODE=disabled"
    )
    return Problem(what, f"{_OPTION} {address}", mend=mend)


def _alive(client: Any) -> list[dict[str, Any]]:
    nodes = client.get_all_node_info(timeout=ANSWER_SECONDS).values()
    return [{"NodeID": node.node_id.hex()} for node in nodes if node.state == 0]
