"""A person's own images: an .npz file, or a function that returns arrays.

An .npz is read once it is known how large it is.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import inspect
import math
import os
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from tuner.code.loading import check_found, load_function, raised
from tuner.code.process import prints_aside
from tuner.data.arrays import NAMES, Arrays, checked_arrays
from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, LoadedData, Progress
from tuner.errors import InputError, Problem, telling_line

_MAX_HEADER_BYTES = 10_000
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class OwnDataset(Dataset):
    """Training images, and test images if there are any, that come all at once."""

    name: str
    adding_test: ClassVar[str]
    """How a person gives test images."""

    @abstractmethod
    def read(
        self, data_dir: Path | None, progress: Progress | None = None
    ) -> tuple[Arrays, DatasetInfo]:
        """All of them, checked, and what they are."""

    def info(self, data_dir: Path | None, progress: Progress | None = None) -> DatasetInfo:
        """From the images themselves, so that what is wrong shows before a trial starts."""
        return self.read(data_dir, progress)[1]

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self.read(data_dir, progress)[0].train

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images; raises InputError when there are none."""
        return self._require_test(self.read(data_dir, progress)[0])

    def load(
        self, data_dir: Path | None, *, test: bool = False, progress: Progress | None = None
    ) -> LoadedData:
        """One reading, which may be slow."""
        arrays, info = self.read(data_dir, progress)
        return LoadedData(info, arrays.train, self._require_test(arrays) if test else None)

    def _require_test(self, arrays: Arrays) -> LabelledImages:
        if arrays.test is None:
            what = "the data set has no test images"
            raise InputError(Problem(what, "data.dataset", self.name, mend=self.adding_test))
        return arrays.test


def find_path(name: str, data_dir: Path | None, *, is_folder: bool = False) -> Path:
    """Where a file or folder of the person's lies; of a whole path, `data_dir` may have it, too.

    Raises InputError where it is not there.
    """
    written = Path(os.path.expanduser(name))
    beside = [data_dir / (written.name if written.is_absolute() else written)] if data_dir else []
    paths = [written.absolute(), *beside]
    for path in paths:
        if (os.path.isdir if is_folder else os.path.isfile)(path):
            return path
    is_other = any(os.path.exists(path) for path in paths)
    kind = "folder" if is_folder else "file"
    places = " or ".join(map(str, dict.fromkeys(paths)))
    raise InputError(
        Problem(
            f"this is no plain {kind}" if is_other else f"no such {kind}",
            where="data.dataset",
            received=name,
            expected=f"a {kind} {places}"
            + ("" if written.is_absolute() else ", or beside the experiment"),
            mend="write the whole path, or name the folder that has it with --data-dir",
        )
    )


@dataclass(frozen=True)
class NpzDataset(OwnDataset):
    """Arrays in an .npz; its path is relative to the working folder, or else to `data_dir`."""

    adding_test: ClassVar[str] = "x_test and y_test beside x_train and y_train in the file"

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Nothing can be downloaded; raises InputError when the file is not there."""
        find_path(self.name, data_dir)

    def read(
        self, data_dir: Path | None, progress: Progress | None = None
    ) -> tuple[Arrays, DatasetInfo]:
        """Those of the file."""
        path = find_path(self.name, data_dir)
        named = read_npz(path, NAMES)
        if not {"x_train", "y_train"} <= set(named):
            raise InputError(_other_names(path))
        arrays = checked_arrays(named, where=str(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        stretched = f":0..{arrays.pixels.high:g}" if arrays.is_stretched else ""
        return arrays, arrays.info(f"npz:sha256:{digest}{stretched}", str(path))


@dataclass(frozen=True)
class FunctionDataset(OwnDataset):
    """`package.module:function`, which returns (x_train, y_train[, x_test, y_test]).

    It is called once in each process that wants the images, and must return the same each time. The
    process that runs an experiment asks another one, see `probe`.
    """

    adding_test: ClassVar[str] = "return (x_train, y_train, x_test, y_test)"

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Nothing can be downloaded; raises InputError when there is no such module."""
        check_found(self.name, where="data.dataset", call="load()")

    def read(
        self, data_dir: Path | None, progress: Progress | None = None
    ) -> tuple[Arrays, DatasetInfo]:
        """Those that the function returns."""
        function = self._function()
        arrays = checked_arrays(_named(_call(function, self.name), self.name), where=self.name)
        source = f"{self.name} in {inspect.getsourcefile(inspect.unwrap(function)) or '?'}"
        return arrays, arrays.info(f"function:sha256:{arrays.hash()}", source)

    def _function(self) -> Any:
        importlib.invalidate_caches()
        return load_function(self.name, where="data.dataset", call="load()")


def _call(function: Any, name: str) -> Any:
    """What the function returns."""
    try:
        inspect.signature(function).bind()
    except ValueError:
        pass  # Python does not know what it takes
    except TypeError as error:
        what, received = "the function wants arguments", f"{name}{inspect.signature(function)}"
        mend = "give each a default, or name a function that calls it"
        raise InputError(Problem(what, "data.dataset", received, "none", mend)) from error
    try:
        with prints_aside():
            return function()
    except (InputError, KeyboardInterrupt):  # the latter is typed, not raised
        raise
    except BaseException as error:
        module, _, attribute = name.partition(":")
        mend = f"run it by itself: python -c 'import {module}; {module}.{attribute}()'"
        what = "the function failed"
        raise InputError(Problem(what, "data.dataset", raised(error), mend=mend)) from error


def _named(returned: Any, name: str) -> Mapping[str, Any]:
    """The arrays by name, however they were put together."""
    if isinstance(returned, Mapping) and "x_train" in returned:  # np.load gives one, too
        return returned
    if isinstance(returned, tuple | list):
        parts = list(returned)
        if len(parts) == 2 and all(map(_is_pair, parts)):  # as keras.datasets have it
            parts = [*parts[0], *parts[1]]
        if len(parts) in (2, 4) and not _mend_of(parts):
            return dict(zip(NAMES, parts, strict=False))
    raise InputError(_no_data(returned, name))


def _no_data(returned: Any, name: str) -> Problem:
    """What was returned instead, and what becomes of it."""
    parts = list(returned) if isinstance(returned, tuple | list | Mapping) else []
    inner = ", ".join(p if isinstance(p, str) else type(p).__name__ for p in parts[:8])
    inner += ", ..." * (len(parts) > 8)
    return Problem(
        "the function did not return data",
        where=f"data.dataset: {name}",
        received=type(returned).__name__ + (f" of {len(parts)}: {inner}" if parts else ""),
        expected="(x_train, y_train), (x_train, y_train, x_test, y_test), "
        "((x_train, y_train), (x_test, y_test)), or a mapping with these names",
        mend=_mend_of(returned),
    )


def _mend_of(returned: Any) -> str:
    """What becomes of the forms that people have most; empty for arrays, too."""
    if isinstance(returned, Mapping):
        shapes = {str(name): _shape(value) for name, value in returned.items()}
        return f"return dict({pairs})" if (pairs := _renamed(shapes, "d[{!r}]")) else ""
    if _is_of_batches(returned):
        return _stacked("dataset", returned)
    if not isinstance(returned, tuple | list) or not returned:
        return ""
    if len(returned) <= 3 and _is_of_batches(returned[0]):
        return f"for each: {_stacked('dataset', returned[0])}"
    if len(returned) == 4 and [len(_shape(part)) < 3 for part in returned] == [0, 0, 1, 1]:
        return "in this order: x_train, y_train, x_test, y_test"
    if len(returned) == 3 and all(map(_is_pair, returned)):
        return "leave the validation images out: they are held out of the training images"
    is_each = all(isinstance(item, tuple) and len(item) == 2 for item in returned[:100])
    if is_each and [len(_shape(part)) for part in returned[0]] in ([2, 0], [3, 0]):
        return "x_train, y_train = map(numpy.stack, zip(*pairs))"
    return ""


def _is_of_batches(value: Any) -> bool:
    """Whether it is a `tf.data.Dataset`."""
    return type(value).__module__.startswith("tensorflow.") and hasattr(value, "unbatch")


def _stacked(name: str, dataset: Any) -> str:
    images = next(iter(getattr(dataset, "element_spec", None) or ()), None)
    if len(getattr(images, "shape", None) or ()) == 4:
        name += ".unbatch()"
    return f"x_train, y_train = map(numpy.stack, zip(*{name}.as_numpy_iterator()))"


def _is_pair(part: Any) -> bool:
    """Images with their labels, and not two images or two labels."""
    if not isinstance(part, tuple | list) or len(part) != 2:
        return False
    images, labels = (len(_shape(value)) for value in part)
    return images >= 2 and labels in (1, 2) and images != labels


def _shape(value: Any) -> tuple[int, ...]:
    import numpy as np

    try:
        return np.shape(value) if hasattr(value, "__len__") else ()
    except ValueError:  # images of several sizes, which are refused when they are read
        return (len(value), 0, 0)


# ---------------------------------------------------------------------- .npz


def read_npz(path: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """Those of the named arrays that the file holds.

    Raises:
        InputError: it is no .npz of plain arrays, or they do not fit into memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = dict(_members(archive, names))
            sizes = [_num_bytes(archive, member) for member in members.values()]
            mend = "fewer or smaller images; uint8 takes an eighth of float64"
            require_memory(sum(sizes), "the arrays do not fit into memory", str(path), mend)
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


def require_memory(num_bytes: int, what: str, where: str, mend: str) -> None:
    """Raises InputError where so much does not fit into the memory that is free."""
    available = available_bytes()
    if num_bytes > available:
        received = f"{num_bytes // _MEBIBYTE:,} MiB when unpacked"
        expected = f"at most {available // _MEBIBYTE:,} MiB, which are free now"
        raise InputError(Problem(what, where, received, expected, mend))


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


def _unreadable(path: Path, error: Exception) -> Problem:
    is_array = _starts_with(path, b"\x93NUMPY")
    strerror = error.strerror if isinstance(error, OSError) else None
    reason = strerror or telling_line(error) or type(error).__name__
    mend = "write it with numpy.savez_compressed(path, x_train=..., y_train=...)"
    if isinstance(error, PermissionError):
        mend = "check its permissions"
    elif "Python objects" in reason:
        mend += ", names as text: y_train=y_train.astype(str)"
    return Problem(
        "data file cannot be read",
        where=str(path),
        received="a single array" if is_array else reason[:300],
        expected="an .npz of plain arrays x_train, y_train[, x_test, y_test]",
        mend=mend,
    )


def _other_names(path: Path) -> Problem:
    """What the arrays are called and shaped, and a line that gives them the names."""
    shapes: dict[str, tuple[int, ...]] = {}
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                shapes[member.filename.removesuffix(".npy")] = _header(stream)[0]
    return Problem(
        "an array is missing",
        where=str(path),
        received=", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "no arrays",
        expected="x_train and y_train; x_test and y_test together or not at all",
        mend=_renaming(path, shapes),
    )


def _renaming(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    arrays = _renamed(shapes, "d.pop({!r})")
    load = f"d = dict(numpy.load({str(path)!r}))"
    return f"{load}; numpy.savez({str(path)!r}, {arrays}, **d)" if arrays else ""


def _renamed(shapes: Mapping[str, tuple[int, ...]], taken: str) -> str:
    """`x_train=..., y_train=...` with `taken` of the arrays' names, where it is clear which.

    That are images with as many labels, once or twice.
    """
    images = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
    pairs = []
    for x in images:
        same = [n for n, shape in shapes.items() if n not in images and shape[:1] == shapes[x][:1]]
        if len(same) > 1:  # two parts of one size: their names are alike but for x and y
            same = difflib.get_close_matches(x, same, n=1, cutoff=0)
        pairs += [(x, y) for y in same[:1]]
    is_test = [any(word in x.lower() for word in ("test", "val")) for x, _ in pairs]
    if len({y for _, y in pairs}) != len(images) or len(pairs) not in (1, 2):
        return ""
    if len(pairs) == 2:
        if sum(is_test) != 1:
            return ""
        pairs = [pairs[is_test.index(False)], pairs[is_test.index(True)]]
    names = (name for pair in pairs for name in pair)
    renamed = zip(NAMES, names, strict=False)
    return ", ".join(f"{new}={taken.format(old)}" for new, old in renamed)


def _starts_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except (OSError, ValueError):
        return False
