"""Reads pickled arrays, and nothing else that a pickle can do."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

_DEPTH = 2  # of the containers that arrays are looked for in: a batch is a dict of arrays
_ONE_LETTER_ORDERS = ("|", "<", "=", ">")


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
