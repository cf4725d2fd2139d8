"""Small disks that can fill up without harm."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def can_mount(folder: Path) -> bool:
    """Whether this process may mount; root may, and so does anybody in a user namespace."""
    try:
        with small_disk(folder / "probe", 2**16):
            return True
    except OSError:
        return False


def in_namespace(module: str, arguments: list[str]) -> int:
    """Run a module where an ordinary user may mount; its exit status."""
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", module]
    return subprocess.run([*command, *arguments], check=False).returncode


@contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Callable[[int], None]]:
    """A tmpfs of so many bytes; gives a function that changes its size.

    Raises:
        OSError: mounting is not permitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(folder))
    try:
        yield lambda size: _mount("-o", f"remount,size={size}", str(folder))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise OSError("there is no mount") from error
    if done.returncode:
        raise OSError(done.stderr.strip())


def limiting_files(num_bytes: int) -> Callable[[], None]:
    """For a new process: no file of its own may grow beyond this (EFBIG)."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def free_bytes(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize
