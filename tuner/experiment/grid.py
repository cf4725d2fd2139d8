"""Counts and numbers the points of a product of axes, some of which exclude each other.

Nothing is listed: excluded combinations are known by masks over only the axes that a constraint
names, with the number of admitted points below every prefix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any


class Mask:
    """Which combinations of some axes are admitted; `axes` are their positions, rising.

    `_levels[k]` counts the admitted combinations below each choice of the first k axes.
    """

    def __init__(self, axes: tuple[int, ...], admitted: Any) -> None:
        import numpy as np

        self.axes = axes
        self._levels = [admitted]
        while self._levels[0].ndim:
            self._levels.insert(0, self._levels[0].sum(axis=-1, dtype=np.int64))

    def count(self, prefix: tuple[int, ...]) -> int:
        """Admitted combinations that begin so."""
        return int(self._levels[len(prefix)][prefix])

    def find(self, prefix: tuple[int, ...], rank: int) -> tuple[int, int]:
        """The next axis' index that holds combination `rank`, and how many lie before it."""
        import numpy as np

        ends = np.cumsum(self._levels[len(prefix) + 1][prefix])
        index = int(np.searchsorted(ends, rank, side="right"))
        return index, int(ends[index - 1]) if index else 0

    def before(self, prefix: tuple[int, ...], index: int) -> int:
        """Admitted combinations that begin so and whose next index is smaller."""
        return int(self._levels[len(prefix) + 1][prefix][:index].sum())


@dataclass(frozen=True, eq=False)
class Grid:
    """A product of `sizes`, less what the masks exclude, in lexicographic order.

    The masks name disjoint axes.
    """

    sizes: tuple[int, ...]
    masks: tuple[Mask, ...] = ()

    @cached_property
    def total(self) -> int:
        """Points without the masks."""
        return math.prod(self.sizes)

    @cached_property
    def size(self) -> int:
        """Admitted points."""
        return self.below(())

    def at(self, rank: int) -> tuple[int, ...]:
        """The indices of admitted point number `rank` of `range(size)`."""
        digits: tuple[int, ...] = ()
        remaining = self.size
        for axis, size in enumerate(self.sizes):
            mask, prefix = self._mask(axis, digits)
            if mask is None:
                remaining //= size
                digit, rank = divmod(rank, remaining)
            else:
                others = remaining // mask.count(prefix)
                digit, before = mask.find(prefix, rank // others)
                rank -= before * others
                remaining = others * mask.count((*prefix, digit))
            digits = (*digits, digit)
        return digits

    def rank(self, digits: Sequence[int]) -> int | None:
        """The number of a point, or None if it is excluded."""
        rank, remaining = 0, self.size
        for axis, digit in enumerate(digits):
            mask, prefix = self._mask(axis, tuple(digits[:axis]))
            if mask is None:
                remaining //= self.sizes[axis]
                rank += digit * remaining
            else:
                if not mask.count((*prefix, digit)):
                    return None
                others = remaining // mask.count(prefix)
                rank += mask.before(prefix, digit) * others
                remaining = others * mask.count((*prefix, digit))
        return rank

    def below(self, digits: tuple[int, ...]) -> int:
        """Admitted points that begin with these indices."""
        masked = {axis for mask in self.masks for axis in mask.axes}
        free = [
            n for axis, n in enumerate(self.sizes) if axis not in masked and axis >= len(digits)
        ]
        return math.prod(free) * math.prod(m.count(_prefix(m, digits)) for m in self.masks)

    def _mask(self, axis: int, digits: tuple[int, ...]) -> tuple[Mask | None, tuple[int, ...]]:
        for mask in self.masks:
            if axis in mask.axes:
                return mask, _prefix(mask, digits)
        return None, ()


def _prefix(mask: Mask, digits: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(digits[axis] for axis in mask.axes if axis < len(digits))
