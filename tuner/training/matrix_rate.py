"""How fast the device multiplies matrices: what training can be held against."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from keras import ops

_SIZES = (256, 512, 1024, 2048, 4096, 8192)
_IN_A_ROW = 3  # products between two looks at the clock, so that an accelerator is kept busy
_TIMES = 2  # of which the better one counts
_LONG_ENOUGH_SECONDS = 0.06  # for products in which the calls themselves count for nothing
_LIMIT_SECONDS = 0.25


def matrix_flops(precision: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Operations a second in products of square matrices: 2 · n³ each.

    Larger and larger ones, until they take long enough, or a quarter of a second would be over. In
    bfloat16 or float16 where networks compute in it.
    """
    dtype = precision.removeprefix("mixed_")
    deadline = clock() + _LIMIT_SECONDS
    best = 0.0
    for size in _SIZES:
        # The mean of all entries: its powers are itself, so that nothing overflows or vanishes.
        matrix = ops.cast(ops.full((size, size), 1.0 / size), dtype)
        _seconds(matrix, clock)  # the first one prepares the kernel
        seconds = min(_seconds(matrix, clock) for _ in range(_TIMES))
        best = max(best, 2.0 * size**3 * _IN_A_ROW / seconds)
        next_seconds = 8 * seconds * (1 + _TIMES)
        if seconds >= _LONG_ENOUGH_SECONDS or clock() + next_seconds > deadline:
            break
    return best


def _seconds(matrix: Any, clock: Callable[[], float]) -> float:
    started, product = clock(), matrix
    for _ in range(_IN_A_ROW):
        product = ops.matmul(matrix, product)
    float(ops.cast(product[0, 0], "float32"))  # waits for the device
    return clock() - started
