"""Which files are a person's own code, and what identifies them.

Own is what lies neither in Python nor among installed packages nor here.
"""

from __future__ import annotations

import hashlib
import json
import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

_PACKAGE = str(Path(__file__).parents[1])
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class CodeFile:
    """A file of a person's own, the module that it makes, and the SHA-256 of its content."""

    module: str
    path: str
    sha256: str

    @property
    def is_current(self) -> bool:
        """Whether the file still has this content."""
        return hash_of(self.path) == self.sha256


def hash_of(path: str) -> str:
    """SHA-256 of a file's content; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def own_files(modules: Iterable[str]) -> tuple[CodeFile, ...]:
    """The files of those modules that are a person's own; an empty one says nothing."""
    files = []
    for name in modules:
        path = path_of(sys.modules.get(name))
        if path and is_own_file(path) and os.path.isfile(path) and os.path.getsize(path):
            files.append(CodeFile(name, path, hash_of(path)))
    return tuple(files)


def code_of(before: Iterable[str], defining: str) -> tuple[CodeFile, ...]:
    """A person's own files that were imported since `before`, all modules of then.

    The one that defines the function belongs to them even where it is installed.
    """
    new = [name for name in sys.modules if name not in set(before)]
    files = own_files(new)
    path = path_of(sys.modules.get(defining))
    if path and all(file.path != path for file in files):
        files += (CodeFile(defining, path, hash_of(path)),)
    return files


def fingerprint(files: Sequence[CodeFile]) -> str:
    """One hash for all, the same in another folder or on another machine."""
    if len(files) <= 1:
        return files[0].sha256 if files else ""
    content = sorted((file.module, file.sha256) for file in files)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def path_of(module: ModuleType | None) -> str | None:
    """Where a module came from. A lazy one would be loaded if it were asked for an attribute."""
    path = getattr(module, "__dict__", {}).get("__file__")
    return os.path.abspath(path) if isinstance(path, str) else None


def is_own_file(path: str) -> bool:
    """Whether a file or folder is a person's own."""
    return not any(_is_foreign(place) for place in {os.path.abspath(path), os.path.realpath(path)})


def _is_foreign(path: str) -> bool:
    parts = Path(path).parts
    return not _INSTALLED.isdisjoint(parts) or any(
        path == folder or path.startswith(folder + os.sep) for folder in _foreign_folders()
    )


@cache
def _foreign_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    folders = [sysconfig.get_path(name) for name in names]
    folders += [*site.getsitepackages(), site.getusersitepackages(), _PACKAGE]
    return tuple({place for f in folders for place in (os.path.abspath(f), os.path.realpath(f))})


def own_folders() -> Iterator[str]:
    """The folders of Python's path in which a person's modules may lie."""
    for folder in dict.fromkeys(os.path.abspath(path) for path in sys.path):
        if os.path.isdir(folder) and is_own_file(folder):
            yield folder


def place_of(error: BaseException) -> str:
    """File and line in a person's own code where an error came from; empty if nowhere there.

    The innermost such line: what a library says there is about what was asked of it.
    """
    if isinstance(error, SyntaxError) and error.filename and is_own_file(error.filename):
        return _place(error.filename, error.lineno or 1)
    frames = reversed(traceback.extract_tb(error.__traceback__))
    own = (f for f in frames if os.path.isfile(f.filename) and is_own_file(f.filename))
    frame = next(own, None)
    return _place(frame.filename, frame.lineno or 1) if frame else ""


def _place(path: str, line: int) -> str:
    near = os.path.relpath(path)
    return f"{path if near.startswith(os.pardir) else near}:{line}"
