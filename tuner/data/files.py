"""Official data files: where they lie, where they come from, and that they are whole.

A file that is downloaded or unpacked is there whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeAlias

from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, Progress
from tuner.errors import InputError, Problem

Part: TypeAlias = Literal["train", "test"]

_TIMEOUT_SECONDS = 20
_CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
"""More than any official file has; what goes beyond must fill neither disk nor memory."""


@dataclass(frozen=True)
class OfficialFile:
    """A file whose content is known beforehand."""

    name: str
    md5: str


@dataclass(frozen=True)
class OfficialSource:
    """The official files of one data set: one archive, or the files themselves at one address."""

    dataset: str
    folder: str  # below a data folder; "" for a file that lies in it
    files: tuple[OfficialFile, ...]
    url: str  # of the place that holds the archive, or the files; ends in /
    archive: OfficialFile | None = None

    def __getitem__(self, name: str) -> OfficialFile:
        return next(file for file in self.files if file.name == name)


@dataclass(frozen=True)
class OfficialDataset(Dataset):
    """A data set in files that are known beforehand; a subclass knows how to read its kind."""

    name: str
    source: OfficialSource
    known: DatasetInfo
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]

    @abstractmethod
    def decode(self, contents: Iterator[bytes], part: Part) -> LabelledImages:
        """The images of a part, of the contents of its files."""

    def info(self, data_dir: Path | None, progress: Progress | None = None) -> DatasetInfo:
        """Known beforehand."""
        return self.known

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Make the files be there; their md5 is checked (0.3 s for CIFAR-100)."""
        folder = fetch(self.source, data_dir, progress)
        for name in self.train_files:
            read(folder / name, self.source[name])

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self._decoded("train", self.train_files, data_dir, progress)

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images."""
        return self._decoded("test", self.test_files, data_dir, progress)

    def _decoded(
        self, part: Part, names: Sequence[str], data_dir: Path | None, progress: Progress | None
    ) -> LabelledImages:
        folder = fetch(self.source, data_dir, progress)
        return self.decode((read(folder / name, self.source[name]) for name in names), part)


def default_data_dir(environ: Mapping[str, str]) -> Path | None:
    """Where the environment says that data files are kept."""
    named = environ.get("TUNER_DATA_DIR")
    return Path(os.path.expanduser(named)) if named else None


def keras_cache(environ: Mapping[str, str]) -> Path:
    """Where Keras keeps the data sets that it has downloaded; in /tmp for users without a home."""
    home = environ.get("KERAS_HOME")
    users = os.path.expanduser("~")
    base = Path(users if os.path.isabs(users) else "/tmp")
    return (Path(home) if home else base / ".keras") / "datasets"


def cache_dir(environ: Mapping[str, str]) -> Path:
    """The person's cache folder of tuner, or $TUNER_CACHE_DIR."""
    home = environ.get("XDG_CACHE_HOME", "")
    folder = Path(home if os.path.isabs(home) else "~/.cache") / "tuner"
    given = environ.get("TUNER_CACHE_DIR")
    return Path(os.path.expanduser(given or folder))


def locate(source: OfficialSource, data_dir: Path | None) -> Path | None:
    """The first folder that holds all files of `source`."""
    for folder in _candidates(source, data_dir):
        if all(os.path.isfile(folder / file.name) for file in source.files):
            return folder
    return None


def locate_archive(source: OfficialSource, data_dir: Path | None) -> Path | None:
    """The archive of `source`, when it lies in a data folder still packed."""
    if source.archive is None:
        return None
    paths = (root / source.archive.name for root in _roots(data_dir))
    return next((path for path in paths if os.path.isfile(path)), None)


def fetch(source: OfficialSource, data_dir: Path | None, progress: Progress | None = None) -> Path:
    """The folder that holds all files of `source`, downloaded when they are nowhere.

    They are downloaded once, into `data_dir`, or else into Keras' cache. Until the server has
    answered nothing is written.
    Raises InputError: no files and no network, or a file that is not the official one.
    """
    if folder := locate(source, data_dir):
        return folder
    try:
        return _obtain(source, data_dir, progress)
    except OSError as error:  # no network, disk full, folder that cannot be written
        raise missing(source, data_dir, str(error) or type(error).__name__) from error


def read(path: Path, official: OfficialFile) -> bytes:
    """The bytes of a file, which are those that its publisher wrote.

    Raises InputError where they are not.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            Problem("data file cannot be read", str(path), reason, mend="check its permissions")
        ) from error
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if md5 != official.md5:
        raise InputError(_damaged(path, official, f"md5 {md5} ({len(data)} bytes)"))
    return data


def missing(source: OfficialSource, data_dir: Path | None, reason: str) -> InputError:
    """The error that says which files are wanted, and where."""
    home = _home(data_dir)
    names = ", ".join(file.name for file in source.files)
    url = source.url + source.archive.name if source.archive else source.url
    put = f"put {source.archive.name} (unpacked or not)" if source.archive else f"put {names}"
    into = home if source.archive else home / source.folder
    return InputError(
        Problem(
            f"the files of {source.dataset} were not found, and could not be downloaded",
            received=reason,
            expected=f"{names} in "
            + " or ".join(str(root / source.folder) for root in _roots(data_dir)),
            mend=f"download {url} elsewhere and {put} into {into}, "
            "or name the folder that has them with --data-dir or $TUNER_DATA_DIR",
        )
    )


def _obtain(source: OfficialSource, data_dir: Path | None, progress: Progress | None) -> Path:
    archive = locate_archive(source, data_dir)
    wanted = [source.archive] if source.archive else list(source.files)
    sizes = [] if archive else [remote_size(source.url + file.name) for file in wanted]
    home = _home(data_dir)
    folder = home / source.folder
    folder.mkdir(parents=True, exist_ok=True)
    with locked(home / f".{source.dataset}.lock"):
        if present := locate(source, data_dir):  # another process may have been first
            return present
        if archive:
            _unpack(source, archive, folder)
            return folder
        for file, size in zip(wanted, sizes, strict=True):
            into = home if source.archive else folder
            download(source.url + file.name, into / file.name, file.md5, size, progress)
        if source.archive:
            _unpack(source, home / source.archive.name, folder)
            (home / source.archive.name).unlink()
    return folder


def _unpack(source: OfficialSource, archive: Path, folder: Path) -> None:
    assert source.archive is not None
    with archive.open("rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != source.archive.md5:
        raise InputError(_damaged(archive, source.archive, f"md5 {md5}"))
    unpack(archive, {f"{source.folder}/{file.name}": folder / file.name for file in source.files})


def _damaged(path: Path, official: OfficialFile, received: str) -> Problem:
    return Problem(
        "damaged data file: this is not the official content",
        where=str(path),
        received=received,
        expected=f"md5 {official.md5}",
        mend="delete it and run again: it is then downloaded again",
    )


def _home(data_dir: Path | None) -> Path:
    return data_dir or keras_cache(os.environ)


def _roots(data_dir: Path | None) -> Iterator[Path]:
    if data_dir:
        yield data_dir
    yield keras_cache(os.environ)


def _candidates(source: OfficialSource, data_dir: Path | None) -> Iterator[Path]:
    for root in _roots(data_dir):
        if source.folder and root.name == source.folder:
            yield root
        yield root / source.folder
        if source.archive:
            yield root / f"{source.folder}-target" / source.folder  # as Keras 3 unpacks it


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
    progress: Progress | None = None,
) -> None:
    """Download `url` to `path`, which appears only when all of it has come and its md5 is right.

    Raises OSError where that fails.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with whole_or_not_at_all(path) as file:
        for done, chunk in _chunks(url):
            if done > (most := size or MAX_FILE_BYTES):
                raise OSError(f"{url} sends more than the {most:,} bytes that it should")
            digest.update(chunk)
            file.write(chunk)
            if progress:
                progress("downloading the data set", done, size)
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
                    with whole_or_not_at_all(missing.pop(member.name)) as file:
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
def whole_or_not_at_all(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` once all of it is on the disk."""
    # Processes of two hosts that share a disk may have one number.
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
