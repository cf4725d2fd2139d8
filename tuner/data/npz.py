"""Reads the arrays of an .npz, and only after it is known how large they are."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tuner.errors import InputError, Problem

_MAX_HEADER_BYTES = 10_000
_MEBIBYTE = 1 << 20


def read_npz(path: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """Those of the named arrays that the file holds.

    Raises:
        InputError: it is no .npz of plain arrays, or they do not fit into memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = dict(_members(archive, names))
            sizes = [_num_bytes(archive, member) for member in members.values()]
            _check_memory(path, sum(sizes))
            return {name: _array(archive, member) for name, member in members.items()}
    except InputError:
        raise
    except Exception as error:  # a damaged file makes zipfile, its codecs and numpy raise anything
        raise InputError(_unreadable(path, error)) from error


def available_bytes() -> int:
    """Memory that can still be had, as Linux says; elsewhere, all there is."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = {line.split(":")[0]: line.split()[1] for line in file}
        return int(found["MemAvailable"]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _members(
    archive: zipfile.ZipFile, names: Sequence[str]
) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    present = {member.filename: member for member in archive.infolist()}
    for name in names:
        if f"{name}.npy" in present:
            yield name, present[f"{name}.npy"]


def _num_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """What the array takes, which must be what its member holds: headers may say anything."""
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
        start = stream.tell()
    num_bytes = math.prod(shape) * int(dtype.itemsize)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which would run as code")
    if min(shape, default=0) < 0 or num_bytes != member.file_size - start:
        held = member.file_size - start
        raise ValueError(f"{member.filename} says shape {shape} of {dtype}, and holds {held} bytes")
    return num_bytes


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], Any]:
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array in format {version[0]}.{version[1]}")
    shape, _, dtype = read(stream, max_header_size=_MAX_HEADER_BYTES)
    return shape, dtype


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    from numpy.lib import format as npy

    with archive.open(member) as stream:
        return npy.read_array(stream, allow_pickle=False, max_header_size=_MAX_HEADER_BYTES)


def _check_memory(path: Path, num_bytes: int) -> None:
    available = available_bytes()
    if num_bytes > available:
        raise InputError(
            Problem(
                "the arrays do not fit into memory",
                where=str(path),
                received=f"{num_bytes // _MEBIBYTE:,} MiB when unpacked",
                expected=f"at most {available // _MEBIBYTE:,} MiB, which are free now",
                mend="fewer or smaller images; uint8 takes an eighth of float64",
            )
        )


def _unreadable(path: Path, error: Exception) -> Problem:
    is_array = _starts_with(path, b"\x93NUMPY")
    lines = str(error).splitlines() or [type(error).__name__]
    reason = error.strerror if isinstance(error, OSError) and error.strerror else lines[0]
    return Problem(
        "data file cannot be read",
        where=str(path),
        received="a single array" if is_array else reason[:300],
        expected="an .npz of plain arrays x_train, y_train[, x_test, y_test]",
        mend="check its permissions"
        if isinstance(error, PermissionError)
        else "write it with numpy.savez_compressed(path, x_train=..., y_train=...)",
    )


def _starts_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except (OSError, ValueError):
        return False
