"""Waits for the very moment at which a file is written."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CREATE, MODIFY, CLOSE_WRITE, MOVED_TO, DELETE = 0x100, 0x2, 0x8, 0x80, 0x200
_HEAD = struct.Struct("iIII")


@contextmanager
def watched(folder: Path, mask: int) -> Iterator[int]:
    """An inotify descriptor for what happens to the files of a folder (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(folder))
        yield descriptor
    finally:
        os.close(descriptor)


def wait_for(descriptor: int, ending: str, seconds: float) -> bool:
    """Whether a file whose name ends so was met in this time."""
    import time

    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            names = _names(os.read(descriptor, 65536))
            if any(name.endswith(ending) for name in names):
                return True
    return False


def _names(events: bytes) -> Iterator[str]:
    while events:
        *_, length = _HEAD.unpack_from(events)
        yield events[_HEAD.size : _HEAD.size + length].rstrip(b"\0").decode()
        events = events[_HEAD.size + length :]
