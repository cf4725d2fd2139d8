"""Clears away a Ray that was started for one run, however that run ends.

Ray ends most of its processes when its driver is killed, and not all; nor does it remove its files.
This process is started beside it, by its path and with Python alone, and waits for its standard
input to end: then nobody needs that Ray any more.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator

_GRACE_SECONDS = 2.0  # for those that notice by themselves
_TRIES = 5


def users_of(folder: str, spared: int) -> Iterator[int]:
    """Processes that have a file below the folder open; Ray's all write a log there.

    The one that is `spared` is the driver, which does so until it ends.
    """
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != spared and _uses(f"/proc/{name}/fd", folder):
            yield int(name)


def _uses(descriptors: str, folder: str) -> bool:
    try:
        links = [os.readlink(f"{descriptors}/{name}") for name in os.listdir(descriptors)]
    except OSError:  # of somebody else, or gone meanwhile
        return False
    return any(link.startswith(f"{folder}/") for link in links)


def main() -> None:
    """Wait, then end what is left and remove the folder that is named."""
    folder, driver = os.path.realpath(sys.argv[1]), os.getppid()
    sys.stdin.buffer.read()
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and any(True for _ in users_of(folder, driver)):
        time.sleep(0.1)
    for _ in range(_TRIES):
        for process in users_of(folder, driver):
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                continue
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.2)


if __name__ == "__main__":
    main()
