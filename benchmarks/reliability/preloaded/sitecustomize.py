"""On PYTHONPATH of a run: processes of ours are forked by `benchmarks.reliability.preload`.

Python imports this module before anything else. A process that trains, or runs a person's `build`,
says who it is, hands its files over, and stays as a stand-in that ends as the forked one ends;
every other process goes on as usual, and so does one with another framework.
"""

import json
import os
import signal
import socket
import sys

WORKER, NETWORK = "tuner.execution.worker", "tuner.models.own.server"


def _stand_in(server: str, folders: list[str], module: str, argument: str) -> None:
    """`argument` of a worker is the number of its socket."""
    descriptors = [0, 1, 2, *([int(argument)] if module == WORKER else [])]
    told = {
        "pid": os.getpid(),
        "folder": os.getcwd(),
        "path": list(dict.fromkeys([*sys.path, *folders])),
        "environment": dict(os.environ),
        "module": module,
        "argument": argument,
    }
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(server)
    socket.send_fds(connection, [b"!"], descriptors)
    connection.sendall(json.dumps(told).encode() + b"\n")
    for descriptor in descriptors[3:]:
        os.close(descriptor)  # the scheduler sees its end close when the forked process dies
    try:
        answer = connection.recv(16)
    except OSError:
        answer = b""
    status = os.waitstatus_to_exitcode(int(answer)) if answer else 1
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


_server, _words = os.environ.get("RELIABILITY_PRELOAD", ""), sys.orig_argv
# Servers are called as their framework.
_is_ready = os.path.basename(_server) == os.environ.get("KERAS_BACKEND")
if _is_ready and len(_words) > 3 and _words[-2] in (WORKER, NETWORK):
    _stand_in(_server, json.loads(_words[-3]), *_words[-2:])
