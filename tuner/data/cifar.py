"""CIFAR-10 and CIFAR-100 from the official python files, which are pickles, read as data alone.

Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.data.dataset import DatasetInfo, LabelledImages
from tuner.data.files import OfficialDataset, OfficialFile, OfficialSource, Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_URL = "https://www.cs.toronto.edu/~kriz/"
_SHAPE = (32, 32, 3)
_DEPTH = 2  # of the containers that arrays are looked for in: a batch is a dict of arrays
_ONE_LETTER_ORDERS = ("|", "<", "=", ">")


@dataclass(frozen=True)
class Cifar(OfficialDataset):
    """A data set in pickled batches: rows of 3,072 bytes, one colour plane after another."""

    label_key: bytes

    def decode(self, contents: Iterator[bytes], part: Part) -> LabelledImages:
        """One batch after the other."""
        import numpy as np

        batches = [unpickle_arrays(content) for content in contents]
        images = [_channels_last(batch[b"data"]) for batch in batches]
        labels = [np.asarray(batch[self.label_key], np.int32) for batch in batches]
        if len(batches) == 1:
            return LabelledImages(images[0], labels[0])
        return LabelledImages(np.concatenate(images), np.concatenate(labels))


def _channels_last(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows (n, 3072) of planes as images (n, 32, 32, 3)."""
    import numpy as np

    height, width, channels = _SHAPE
    planes = rows.reshape(-1, channels, height, width)
    images = np.empty((len(planes), height, width, channels), np.uint8)
    for channel in range(channels):  # three times as fast as a transposed copy
        images[..., channel] = planes[:, channel]
    return images


def _info(name: str, archive: OfficialFile, num_classes: int) -> DatasetInfo:
    return DatasetInfo(_SHAPE, num_classes, 50_000, 10_000, f"{name}:md5:{archive.md5}")


_ARCHIVE_100 = OfficialFile("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85")
_FILES_100 = (
    OfficialFile("train", "16019d7e3df5f24257cddd939b257f8d"),
    OfficialFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
)


def _cifar100(name: str, label_key: bytes, num_classes: int) -> Cifar:
    return Cifar(
        name=name,
        source=OfficialSource("cifar100", "cifar-100-python", _FILES_100, _URL, _ARCHIVE_100),
        train_files=("train",),
        test_files=("test",),
        label_key=label_key,
        known=_info(name, _ARCHIVE_100, num_classes),
    )


CIFAR100 = _cifar100("cifar100", b"fine_labels", 100)
CIFAR100_COARSE = _cifar100("cifar100_coarse", b"coarse_labels", 20)

_ARCHIVE_10 = OfficialFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")
_FILES_10 = (
    OfficialFile("data_batch_1", "c99cafc152244af753f735de768cd75f"),
    OfficialFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    OfficialFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    OfficialFile("data_batch_4", "634d18415352ddfa80567beed471001a"),
    OfficialFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    OfficialFile("test_batch", "40351d587109b95175f43aff81a1287e"),
)

CIFAR10 = Cifar(
    name="cifar10",
    source=OfficialSource("cifar10", "cifar-10-batches-py", _FILES_10, _URL, _ARCHIVE_10),
    train_files=tuple(file.name for file in _FILES_10[:5]),
    test_files=("test_batch",),
    label_key=b"labels",
    known=_info("cifar10", _ARCHIVE_10, 10),
)


def unpickle_arrays(data: bytes) -> Any:
    """What `data` holds: a built-in value, an array of numbers, or a dict or list of these.

    Strings that Python 2 wrote come as bytes.
    Raises pickle.UnpicklingError for whatever else it names, and for what it cannot be; nothing
    of it is imported or called, and numpy sees only bytes of the right number.
    """
    try:
        loaded = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        return _resolved(loaded, _DEPTH)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle can make its machine raise anything
        raise pickle.UnpicklingError(f"not a pickle of arrays: {error}") from error


# Written in Python: its memo is a dict, where the one in C takes the memory of every index up to
# the one that is named, 64 GB for five bytes of a file. CIFAR-100 takes 0.1 s longer.
class _ArrayUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted in a data file")
        return admitted


class _Dtype:
    """Stands for a `numpy.dtype`: kind, size and byte order, and nothing that numpy would trust."""

    def __init__(self, spec: Any, align: Any = 0, copy: Any = 0) -> None:
        text = spec.decode("ascii") if isinstance(spec, bytes) else str(spec)
        if text[:1] not in ("b", "u", "i", "f") or not text[1:].isdigit():
            raise pickle.UnpicklingError(f"arrays of {text[:20]!r} are not admitted in a data file")
        self._text = text
        self._order = "="

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in _ONE_LETTER_ORDERS:
            raise pickle.UnpicklingError("a byte order that is none")
        self._order = order

    def dtype(self) -> Any:
        """The type itself."""
        import numpy as np

        return np.dtype(self._order + self._text)


class _Array:
    """Stands for an `ndarray` until its state has come."""

    array: Any = None

    def __setstate__(self, state: Any) -> None:
        import numpy as np

        _, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array without plain content")
        flat = np.frombuffer(content, dtype.dtype())
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(kind: Any, shape: Any, typecode: Any) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array of a kind of its own")
    return _Array()


def _resolved(value: Any, depth: int) -> Any:
    """The value with arrays in place of what stands for them."""
    if isinstance(value, _Array) and value.array is not None:
        return value.array
    if depth and isinstance(value, dict):
        return {key: _resolved(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list):
        return [_resolved(item, depth - 1) for item in value]
    return value


def _latin1(text: str, codec: str) -> bytes:
    """How Python 3 writes bytes in a protocol of Python 2: as text, with the way back."""
    if codec not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"the codec {codec!r} is not admitted in a data file")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
}
