"""Seeds for every random part of a trial, derived from the trial's one seed.

Each part (initial weights, the order of the images, each dropout layer, augmentation) draws from a
generator of its own, keyed by (seed, purpose, epoch). No part shifts another's numbers, and an
epoch can be trained again, or first, without the ones before it.
"""

from __future__ import annotations

import hashlib

import numpy as np

KEY_BITS = 31  # TensorFlow's stateless seeds are signed


def derive(seed: int, purpose: str, *indices: int) -> int:
    """A 31-bit key for (seed, purpose, indices); the same on every machine."""
    text = ":".join([str(seed), purpose, *map(str, indices)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - KEY_BITS)


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A numpy generator of its own for (seed, purpose, indices)."""
    text = ":".join([str(seed), purpose, *map(str, indices)])
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
