"""Official data files: where they lie, where they come from, and that they are whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuner.data.dataset import Progress
from tuner.data.download import MAX_FILE_BYTES, download, locked, remote_size, unpack
from tuner.errors import InputError, Problem


@dataclass(frozen=True)
class OfficialFile:
    """A file whose content is known beforehand."""

    name: str
    md5: str


@dataclass(frozen=True)
class Source:
    """The official files of one data set: one archive, or the files themselves at one address."""

    dataset: str
    folder: str  # below a data folder; "" for a file that lies in it
    files: tuple[OfficialFile, ...]
    url: str  # of the place that holds the archive, or the files; ends in /
    archive: OfficialFile | None = None

    def __getitem__(self, name: str) -> OfficialFile:
        return next(file for file in self.files if file.name == name)


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


def locate(source: Source, data_dir: Path | None) -> Path | None:
    """The first folder that holds all files of `source`."""
    for folder in _candidates(source, data_dir):
        if all(os.path.isfile(folder / file.name) for file in source.files):
            return folder
    return None


def locate_archive(source: Source, data_dir: Path | None) -> Path | None:
    """The archive of `source`, when it lies in a data folder still packed."""
    if source.archive is None:
        return None
    paths = (root / source.archive.name for root in _roots(data_dir))
    return next((path for path in paths if os.path.isfile(path)), None)


def fetch(source: Source, data_dir: Path | None, progress: Progress | None = None) -> Path:
    """The folder that holds all files of `source`, downloaded when they are nowhere.

    They are downloaded once, into `data_dir`, or else into Keras' cache. Until the server has
    answered nothing is written.
    Raises InputError: no files and no network, or a file that is not the official one.
    """
    found = locate(source, data_dir)
    if found:
        return found
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


def missing(source: Source, data_dir: Path | None, reason: str) -> InputError:
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


def _obtain(source: Source, data_dir: Path | None, progress: Progress | None) -> Path:
    archive = locate_archive(source, data_dir)
    wanted = [source.archive] if source.archive else list(source.files)
    sizes = [] if archive else [remote_size(source.url + file.name) for file in wanted]
    home = _home(data_dir)
    folder = home / source.folder
    folder.mkdir(parents=True, exist_ok=True)
    with locked(home / f".{source.dataset}.lock"):
        found = locate(source, data_dir)  # another process may have been first
        if found:
            return found
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


def _unpack(source: Source, archive: Path, folder: Path) -> None:
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
        mend="delete it and run again: it is then downloaded anew",
    )


def _home(data_dir: Path | None) -> Path:
    return data_dir or keras_cache(os.environ)


def _roots(data_dir: Path | None) -> Iterator[Path]:
    if data_dir:
        yield data_dir
    yield keras_cache(os.environ)


def _candidates(source: Source, data_dir: Path | None) -> Iterator[Path]:
    for root in _roots(data_dir):
        if source.folder and root.name == source.folder:
            yield root
        yield root / source.folder
        if source.archive:
            yield root / f"{source.folder}-target" / source.folder  # as Keras 3 unpacks it
