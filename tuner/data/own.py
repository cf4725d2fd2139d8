"""A person's own images: an .npz file, or a function that returns arrays.

Arrays are checked and brought into one form; an .npz is read once it is known how large it is.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, Progress
from tuner.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAMES = ("x_train", "y_train", "x_test", "y_test")
_MAX_HEADER_BYTES = 10_000
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class OwnDataset(Dataset):
    """Training images, and test images if there are any, that come all at once."""

    name: str

    @abstractmethod
    def arrays(self, data_dir: Path | None) -> Arrays:
        """All of them, checked."""

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self.arrays(data_dir).train

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images; raises InputError when there are none."""
        images = self.arrays(data_dir).test
        if images is None:
            what, expected = "the data set has no test images", "x_test and y_test"
            raise InputError(Problem(what, "data.dataset", self.name, expected))
        return images


@dataclass(frozen=True)
class NpzDataset(OwnDataset):
    """Arrays in an .npz; its path is relative to the working folder, or else to `data_dir`."""

    def info(self, data_dir: Path | None) -> DatasetInfo:
        """Read from the file, so that whatever is wrong with it shows before a trial starts."""
        arrays = self.arrays(data_dir)
        with self._path(data_dir).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return arrays.info(f"npz:sha256:{digest}")

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Nothing can be downloaded; raises InputError when the file is not there."""
        self._path(data_dir)

    def arrays(self, data_dir: Path | None) -> Arrays:
        """Those of the file."""
        path = self._path(data_dir)
        return checked_arrays(read_npz(path, _NAMES), where=str(path))

    def _path(self, data_dir: Path | None) -> Path:
        written = Path(os.path.expanduser(self.name))
        paths = [written.absolute()] + ([data_dir / written] if data_dir else [])
        for path in paths:
            if os.path.isfile(path):
                return path
        is_other = any(os.path.exists(path) for path in paths)
        raise InputError(
            Problem(
                "this is no plain file" if is_other else "no such file",
                where="data.dataset",
                received=self.name,
                expected="a file " + " or ".join(map(str, dict.fromkeys(paths))),
                mend="write the whole path, or name the folder that has it with --data-dir",
            )
        )


@dataclass(frozen=True)
class FunctionDataset(OwnDataset):
    """`package.module:function`, which returns (x_train, y_train[, x_test, y_test]).

    It is called anew whenever the images are wanted, in more than one process, and must return
    the same each time.
    """

    def info(self, data_dir: Path | None) -> DatasetInfo:
        """From the arrays that the function returns."""
        arrays = self.arrays(data_dir)
        return arrays.info(f"function:sha256:{arrays.hash()}")

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Raises InputError when there is no such function."""
        self._function()

    def arrays(self, data_dir: Path | None) -> Arrays:
        """Those that the function returns."""
        returned = self._function()()
        if not isinstance(returned, tuple | list) or len(returned) not in (2, 4):
            count = f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
            raise InputError(
                Problem(
                    "the function did not return data",
                    where=f"data.dataset: {self.name}",
                    received=type(returned).__name__ + count,
                    expected="(x_train, y_train) or (x_train, y_train, x_test, y_test)",
                )
            )
        return checked_arrays(dict(zip(_NAMES, returned, strict=False)), where=self.name)

    def _function(self) -> Any:
        module, _, function = self.name.partition(":")
        try:
            return getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise InputError(
                Problem(
                    "no such function",
                    where="data.dataset",
                    received=self.name,
                    expected=f"a module {module} that can be imported, with a function {function}",
                    mend=f"{error}; is its folder in $PYTHONPATH?",
                )
            ) from error


@dataclass(frozen=True, eq=False)
class Arrays:
    """Training and test images of one shape, with classes 0..num_classes - 1."""

    train: LabelledImages
    test: LabelledImages | None

    def info(self, fingerprint: str) -> DatasetInfo:
        """Shapes and counts."""
        _, height, width, channels = self.train.images.shape
        return DatasetInfo(
            image_shape=(height, width, channels),
            num_classes=int(self.train.labels.max()) + 1,
            num_train=len(self.train.labels),
            num_test=len(self.test.labels) if self.test else 0,
            fingerprint=fingerprint,
        )

    def hash(self) -> str:
        """SHA-256 of shapes and content."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            if part:
                digest.update(f"{part.images.shape}".encode())
                digest.update(part.images.tobytes())
                digest.update(part.labels.astype("<i4").tobytes())
        return digest.hexdigest()


def checked_arrays(named: Mapping[str, Any], where: str) -> Arrays:
    """`x_train`, `y_train`[, `x_test`, `y_test`] as uint8 images and int32 labels.

    Images: (n, height, width[, channels]), uint8, or floats in 0..1 or 0..255, which are rounded
    to 0..255. Labels: whole numbers (n,) or (n, 1), none missing between 0 and the highest.
    Raises InputError.
    """
    _require_names(named, where)
    scale = _scale(named["x_train"])
    train = _labelled(named, "train", where, scale)
    _require_every_class(train.labels, f"{where}: y_train")
    if "x_test" not in named:
        return Arrays(train, None)
    test = _labelled(named, "test", where, scale)
    _require_same_kind(train, test, where)
    return Arrays(train, test)


def _require_names(named: Mapping[str, Any], where: str) -> None:
    has = set(named)
    if {"x_train", "y_train"} <= has and ("x_test" in has) == ("y_test" in has):
        return
    raise InputError(
        Problem(
            "an array is missing",
            where=where,
            received=", ".join(named) or "none of the arrays",
            expected="x_train and y_train; x_test and y_test together or not at all",
        )
    )


def _labelled(named: Mapping[str, Any], part: str, where: str, scale: float) -> LabelledImages:
    images = _images(named[f"x_{part}"], f"{where}: x_{part}", scale)
    labels = _labels(named[f"y_{part}"], f"{where}: y_{part}")
    if len(images) != len(labels):
        raise InputError(
            Problem(
                "images and labels don't match",
                where=where,
                received=f"{len(images)} images in x_{part}, {len(labels)} labels in y_{part}",
                expected="one label for each image",
            )
        )
    return LabelledImages(images, labels)


def _scale(x_train: Any) -> float:
    """What makes 0..255 of floats: 255 where none of the training images goes beyond 1."""
    import numpy as np

    array = np.asarray(x_train)
    floats = np.issubdtype(array.dtype, np.floating) and array.size > 0
    return 255.0 if floats and array.max() <= 1 else 1.0


def _images(value: Any, where: str, scale: float) -> NDArray[np.uint8]:
    import numpy as np

    array = np.asarray(value)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise InputError(
            Problem(
                "these are not images",
                where=where,
                received=f"shape {array.shape}",
                expected="shape (images, height, width) or (images, height, width, channels)",
            )
        )
    array = array if array.ndim == 4 else array[..., np.newaxis]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    return _rounded(array, where, scale)


def _rounded(array: NDArray[Any], where: str, scale: float) -> NDArray[np.uint8]:
    import numpy as np

    expected = "uint8, or floats in 0..1 or 0..255, none of them NaN"
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            Problem(
                "pixels of this type are not read", where, str(array.dtype), expected,
                mend="x.astype('uint8')",
            )
        )  # fmt: skip
    low, high = array.min(), array.max()  # NaN when any is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(_not_finite(array, where))
    if not (low >= 0 and high * scale <= 255):
        raise InputError(
            Problem(
                "pixels out of range",
                where,
                f"{array.dtype} in {low:g}..{high:g}",
                expected if scale == 1 else "floats in 0..1, as in x_train, none of them NaN",
                mend="undo the normalization: tuner normalizes by itself",
            )
        )
    return np.rint(array * scale).astype(np.uint8)


def _not_finite(array: NDArray[Any], where: str) -> Problem:
    import numpy as np

    bad = ~np.isfinite(array).all(axis=(1, 2, 3))
    return Problem(
        "pixels that are NaN or infinite",
        where,
        f"{int(bad.sum())} of {len(array)} images, the first is number {int(bad.argmax())}",
        "numbers",
        mend="leave them out: keep = numpy.isfinite(x).all(axis=tuple(range(1, x.ndim)))",
    )


def _labels(value: Any, where: str) -> NDArray[np.int32]:
    import numpy as np

    array = np.asarray(value)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            Problem(
                "these are not class numbers",
                where=where,
                received=f"{array.dtype} of shape {array.shape}",
                expected="whole numbers of shape (images,)",
                mend="one-hot labels: y.argmax(axis=1)" if array.ndim == 2 else "y.astype('int32')",
            )
        )
    if array.size and not (array.min() >= 0 and array.max() < 2**31 - 1):
        raise InputError(
            Problem(
                "class numbers out of range",
                where=where,
                received=f"{array.min()}..{array.max()}",
                expected="classes numbered from 0",
            )
        )
    return array.astype(np.int32)


def _require_every_class(labels: NDArray[np.int32], where: str) -> None:
    import numpy as np

    present = np.unique(labels)
    highest = int(present[-1])
    if len(present) == highest + 1 and highest > 0:
        return
    gap = int(np.argmax(present != np.arange(len(present)))) if len(present) <= highest else None
    raise InputError(
        Problem(
            "one class is nothing to learn" if gap is None else f"class {gap} has no images",
            where=where,
            received=f"{len(present)} classes, the highest {highest}",
            expected="two or more classes, numbered from 0 without gaps",
            mend="numpy.unique(y, return_inverse=True)[1] numbers them so",
        )
    )


def _require_same_kind(train: LabelledImages, test: LabelledImages, where: str) -> None:
    received, wanted = test.images.shape[1:], train.images.shape[1:]
    if received != wanted:
        what = "test images of another shape"
        raise InputError(Problem(what, where, str(received), str(wanted)))
    highest, trained = int(test.labels.max()), int(train.labels.max())
    if highest > trained:
        what = "test images of a class that is never trained"
        raise InputError(Problem(what, where, str(highest), f"at most {trained}"))


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
            kibibytes = {line.split(":")[0]: line.split()[1] for line in file}
        return int(kibibytes["MemAvailable"]) * 1024
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
