"""Compiled programs that outlive their process, as files in the person's cache folder."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tuner.data.files import whole_or_not_at_all

MAX_BYTES = 1 << 30
"""Of all files; one of ResNet-20 for a CPU has 0.3 MB."""

_DIGEST = hashlib.sha256().digest_size
_DRAFT_SECONDS = 3600.0  # after which nobody is still writing it


class CompiledPrograms:
    """Files by key, the ones that were not used for longest making room for new ones.

    Nobody takes a lock, so that a network file system will do: a file takes its place whole, begins
    with the digest of what follows, and two that write the same key write the same program. What
    cannot be read or written is told to `notice` once, and costs no more than compiling.

    What is read is run, as code of this user: a folder that another may write to is not used.
    """

    def __init__(
        self, folder: Path, notice: Callable[[str], None], max_bytes: int = MAX_BYTES
    ) -> None:
        self._folder = folder
        self._notice = notice
        self._max_bytes = max_bytes
        self._is_usable: bool | None = None
        self._is_writable = True
        self._noticed = False

    def read(self, key: str) -> bytes | None:
        """What was written under the key; None if there is nothing, or nothing whole."""
        if not self._usable():
            return None
        path = self._path(key)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
                with suppress(OSError):
                    os.utime(path)  # as used just now
                return zlib.decompress(content[_DIGEST:])
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say("cannot be read", error)
            return None
        self.discard(key)
        return None

    def discard(self, key: str) -> None:
        """It is no program; the next one that is compiled takes its place."""
        self._say("hold one that is damaged, which is compiled again")
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def write(self, key: str, content: bytes) -> None:
        """Keep it for later processes, where that is possible."""
        packed = zlib.compress(content, 1)
        if not self._is_writable or not self._usable() or len(packed) > self._max_bytes:
            return
        try:
            with whole_or_not_at_all(self._path(key)) as file:
                file.write(hashlib.sha256(packed).digest() + packed)
            self._make_room()
        except OSError as error:
            self._is_writable = False
            self._say("cannot be kept", error)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.program"

    def _usable(self) -> bool:
        if self._is_usable is None:
            self._is_usable = self._prepared()
        return self._is_usable

    def _prepared(self) -> bool:
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            status = self._folder.stat()
        except OSError as error:
            self._say("cannot be kept", error)
            return False
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if others or status.st_uid != os.geteuid():
            self._say("are not used, as others may write to that folder")
            return False
        return True

    def _make_room(self) -> None:
        """Remove what was not used for longest, and what a killed process was writing."""
        now, sizes, used = time.time(), {}, {}
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another process makes room, too
                status = entry.stat()
                if entry.name.endswith(".program"):
                    sizes[entry.path], used[entry.path] = status.st_size, status.st_mtime
                elif now - status.st_mtime > _DRAFT_SECONDS:
                    Path(entry.path).unlink()
        total = sum(sizes.values())
        for path in sorted(used, key=used.__getitem__):
            if total <= self._max_bytes:
                return
            Path(path).unlink(missing_ok=True)
            total -= sizes[path]

    def _say(self, what: str, error: OSError | None = None) -> None:
        if not self._noticed:
            self._noticed = True
            reason = f": {error.strerror or error}" if error else ""
            self._notice(f"compiled programs in {self._folder} {what}{reason}")
