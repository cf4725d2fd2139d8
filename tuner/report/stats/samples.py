"""Samples: how many resamples a statistic draws, and what it accepts as data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 9_999
TIED = 1e-12  # numbers that differ by less, relative to the data, are equal
_CHUNK = 2_000_000  # numbers in memory at a time


def checked(values: Sequence[float]) -> Array:
    """One or more finite numbers.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data) or not np.all(np.isfinite(data)):
        raise ValueError(f"statistics need one or more finite numbers, not {values!r:.200}")
    return data


def chunks(size: int) -> list[int]:
    """How many resamples of so many values to draw at a time, `RESAMPLES` in all."""
    most = max(1, _CHUNK // size)
    full, rest = divmod(RESAMPLES, most)
    return [most] * full + ([rest] if rest else [])
