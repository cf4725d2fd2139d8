"""The programs that a worker keeps: what it need not compile again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

MAX_PROGRAMS = 8
"""How many a worker keeps; one of TensorFlow takes 100 to 450 MB."""

_Program = TypeVar("_Program")


class Programs(Generic[_Program]):
    """Those that were used last, by structure.

    The worker keeps programs in it; the scheduler and the estimate, which need to know no more
    than what a worker holds, keep nothing but the keys.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, _Program] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    def use(self, key: Hashable, make: Callable[[], _Program]) -> _Program:
        """The program of a structure, made now if it must be; the oldest makes room before."""
        if key not in self._held:
            if len(self._held) >= MAX_PROGRAMS:
                self._held.popitem(last=False)
            self._held[key] = make()
        self._held.move_to_end(key)
        return self._held[key]
