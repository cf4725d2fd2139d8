"""Seeds for every random part of a trial, and the initial weights that are drawn from them.

All derive from the trial's one seed. Each part (initial weights, the order of the images, each
dropout layer, augmentation) draws from a generator of its own, keyed by (seed, purpose, epoch). No
part shifts another's numbers, and an epoch can be trained again, or first, without the ones before.

Numpy draws initial weights on the host, so that a trial begins with the same weights on every
backend and device, and nothing is compiled or traced for it. Keras' common initializers are known
here; any other one is called itself, with a derived seed where it has one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

KEY_BITS = 31  # TensorFlow's stateless seeds are signed
# Standard deviation of a standard normal cut off at ±2 (as Keras' VarianceScaling corrects it).
_TRUNCATED_STDDEV = 0.87962566103423978


def derive(seed: int, purpose: str, *indices: int) -> int:
    """A 31-bit key for (seed, purpose, indices); the same on every machine."""
    return _digest(seed, purpose, indices, num_bytes=8) >> (64 - KEY_BITS)


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A numpy generator of its own for (seed, purpose, indices)."""
    return np.random.Generator(np.random.PCG64(_digest(seed, purpose, indices, num_bytes=16)))


def _digest(seed: int, purpose: str, indices: Sequence[int], *, num_bytes: int) -> int:
    text = ":".join([str(seed), purpose, *map(str, indices)])
    digest = hashlib.blake2b(text.encode(), digest_size=num_bytes).digest()
    return int.from_bytes(digest, "little")


@dataclass(frozen=True)
class VariableSpec:
    """Shape, type and Keras initializer of one variable."""

    shape: tuple[int, ...]
    dtype: str
    initializer: Any


def draw(spec: VariableSpec, seed: int, index: int) -> Array:
    """The initial value of the network's `index`-th variable under the trial's `seed`."""
    known = _DRAWS.get(type(spec.initializer).__name__)
    if known is None or not type(spec.initializer).__module__.startswith("keras."):
        from tuner.models.own.undrawn import called  # here, because it imports Keras

        key = derive(seed, "weights", index)
        return called(spec.initializer, spec.shape, spec.dtype, key).astype(spec.dtype)
    rng = generator(seed, "weights", index)
    return np.asarray(known(spec.initializer, spec.shape, rng)).astype(spec.dtype)


def draw_all(specs: Sequence[VariableSpec], seed: int) -> list[Array]:
    """Initial values of all variables, each from its own generator."""
    return [draw(spec, seed, index) for index, spec in enumerate(specs)]


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Inputs and outputs per unit: (…receptive field, in, out), as in Keras."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    receptive = math.prod(shape[:-2])
    return float(receptive * shape[-2]), float(receptive * shape[-1])


def _standard_truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal values, those outside ±2 drawn again."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values


def _variance_scaling(init: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    fan_in, fan_out = _fans(shape)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[init.mode]
    variance = init.scale / max(1.0, fan)
    if init.distribution == "truncated_normal":
        return _standard_truncated_normal(rng, shape) * (math.sqrt(variance) / _TRUNCATED_STDDEV)
    if init.distribution == "untruncated_normal":
        return rng.standard_normal(shape) * math.sqrt(variance)
    limit = math.sqrt(3.0 * variance)
    return rng.uniform(-limit, limit, shape)


def _truncated_normal(init: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.asarray(init.mean + init.stddev * _standard_truncated_normal(rng, shape))


def _random_normal(init: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.asarray(init.mean + init.stddev * rng.standard_normal(shape))


def _random_uniform(init: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.uniform(init.minval, init.maxval, shape)


# By exact class name; the fan-based initializers are all subclasses of VarianceScaling.
_DRAWS: dict[str, Callable[[Any, tuple[int, ...], np.random.Generator], Array]] = {
    "VarianceScaling": _variance_scaling,
    "GlorotUniform": _variance_scaling,
    "GlorotNormal": _variance_scaling,
    "LecunNormal": _variance_scaling,
    "LecunUniform": _variance_scaling,
    "HeNormal": _variance_scaling,
    "HeUniform": _variance_scaling,
    "TruncatedNormal": _truncated_normal,
    "RandomNormal": _random_normal,
    "RandomUniform": _random_uniform,
    "Zeros": lambda init, shape, rng: np.zeros(shape),
    "Ones": lambda init, shape, rng: np.ones(shape),
    "Constant": lambda init, shape, rng: np.broadcast_to(init.value, shape),
}
