"""Reads pickled arrays, and nothing else that a pickle can do."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any


def unpickle_arrays(data: bytes) -> Any:
    """What `data` holds: built-in containers, bytes, numbers and numpy arrays.

    Strings that Python 2 wrote come as bytes.
    Raises pickle.UnpicklingError for whatever else it names; nothing of it is imported or called.
    """
    return _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        admitted = _admitted().get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted in a data file")
        return admitted


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
    import numpy as np

    # An empty array that its state is then written into, as numpy's own function makes it.
    reconstruct: Any = np.zeros(0).__reduce__()[0]
    return {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _latin1,
    }


def _dtype(spec: Any, align: int = 0, copy: int = 0) -> Any:
    """`numpy.dtype`, of which files from before Python 3 pass the flags as integers."""
    import numpy as np

    return np.dtype(spec, align=bool(align), copy=bool(copy))


def _latin1(text: str, codec: str) -> bytes:
    """How Python 3 writes bytes in a protocol of Python 2: as text, with the way back."""
    if codec not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"the codec {codec!r} is not admitted in a data file")
    return text.encode("latin1")
