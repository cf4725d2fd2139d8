"""Downloads and archives, such that a file is there whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_TIMEOUT_SECONDS = 20
_CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
"""More than any official file has; what goes beyond must fill neither disk nor memory."""


def remote_size(url: str) -> int:
    """Bytes that a download will have (0: the server does not say).

    Raises OSError when there is no network, or nothing at this address.
    """
    import urllib.request
    from http.client import HTTPException

    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            size = str(answer.headers.get("Content-Length") or "")
    except HTTPException as error:
        raise OSError(f"{url}: {error!r}") from error
    return int(size) if re.fullmatch("[0-9]{1,15}", size) else 0


def download(
    url: str,
    path: Path,
    md5: str,
    size: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Download `url` to `path`, which appears only when all of it has come and its md5 is right.

    Raises OSError where that fails.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with _whole_or_not_at_all(path) as file:
        for done, chunk in _chunks(url):
            if done > (most := size or MAX_FILE_BYTES):
                raise OSError(f"{url} sends more than the {most:,} bytes that it should")
            digest.update(chunk)
            file.write(chunk)
            if progress:
                progress(done, size)
        if size and file.tell() < size:
            raise OSError(f"{url} ended early, after {file.tell():,} of {size:,} bytes")
        if digest.hexdigest() != md5:
            raise OSError(f"{url} has md5 {digest.hexdigest()}; expected {md5}")


def unpack(archive: Path, members: Mapping[str, Path]) -> None:
    """Write the named members of a tar archive, and nothing else of it, to the given paths.

    Raises OSError where one is missing or not a plain file.
    """
    import tarfile
    import zlib

    missing = dict(members)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None and member.name in missing:
                    with _whole_or_not_at_all(missing.pop(member.name)) as file:
                        shutil.copyfileobj(content, file, _CHUNK_BYTES)
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise OSError(f"{archive} cannot be unpacked: {error}") from error
    if missing:
        raise OSError(f"{archive} does not hold {', '.join(missing)}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; waits for whoever holds it. It is left behind, empty."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _chunks(url: str) -> Iterator[tuple[int, bytes]]:
    import urllib.request
    from http.client import HTTPException

    done = 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            while chunk := answer.read(_CHUNK_BYTES):
                done += len(chunk)
                yield done, chunk
    except HTTPException as error:  # the connection broke off
        raise OSError(f"{url}: {error!r}") from error


@contextmanager
def _whole_or_not_at_all(path: Path) -> Iterator[IO[bytes]]:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
