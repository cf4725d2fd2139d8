"""A random order of `range(size)` that needs no list: position `i` is computed when asked for."""

from __future__ import annotations

import hashlib

_ROUNDS = 8


class Permutation:
    """A seeded permutation by a balanced Feistel network with cycle walking.

    The network permutes 4^k ≥ size numbers; what falls outside is sent through again, which takes
    fewer than 4 passes on average. Source: Black & Rogaway 2002, section 3 (cycle walking) and 4.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._key = f"{seed}/permutation".encode()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._size:
            raise IndexError(f"position {index} of {self._size}")
        index = self._network(index)
        while index >= self._size:
            index = self._network(index)
        return index

    def _network(self, value: int) -> int:
        mask = (1 << self._half) - 1
        left, right = value >> self._half, value & mask
        for number in range(_ROUNDS):
            left, right = right, left ^ (self._mix(number, right) & mask)
        return left << self._half | right

    def _mix(self, number: int, value: int) -> int:
        text = b"%s/%d/%d" % (self._key, number, value)
        digest = hashlib.blake2b(text, digest_size=(self._half + 7) // 8).digest()
        return int.from_bytes(digest, "big")
