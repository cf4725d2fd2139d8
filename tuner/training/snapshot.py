"""A trial's state as named arrays on the host, for a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import TunerError
from tuner.training.steps import State

Arrays = dict[str, NDArray[Any]]
_TUPLES = ("moving", "slots")


def to_arrays(state: State) -> Arrays:
    """Copies: the device may use the state's memory again for the next step."""
    arrays: Arrays = {}
    for name, value in state._asdict().items():
        if name in _TUPLES:
            arrays |= {f"{name}.{n}": np.array(part) for n, part in enumerate(value)}
        else:
            arrays[name] = np.array(value)
    return arrays


def from_arrays(arrays: Mapping[str, NDArray[Any]], like: State) -> State:
    """The state in host arrays; `like` is one of the same program.

    Raises:
        TunerError: the arrays are those of another network or optimizer.
    """
    expected = to_arrays(like)
    given = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    wanted = {name: (array.shape, array.dtype) for name, array in expected.items()}
    if given != wanted:
        raise TunerError("the checkpoint is of another network or optimizer")
    fields: dict[str, Any] = {
        name: tuple(arrays[f"{name}.{n}"] for n in range(len(value)))
        if name in _TUPLES
        else arrays[name]
        for name, value in like._asdict().items()
    }
    return State(**fields)
