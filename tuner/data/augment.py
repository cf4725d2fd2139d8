"""Random crops, flips and cutouts, inside the compiled program, on either backend.

Keras is imported by the functions, so that a plan needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import InputError, Problem

PADDING = 4  # pixels on each side; He et al., Deep residual learning, 2016, section 4.2
CUTOUT_SIZE = 8  # DeVries and Taylor, Improved regularization with cutout, 2017, for CIFAR-100

SWITCH = "augment."
"""Before the name of an augmentation: what a program that searches it is told of it."""

_DRAWS = {"crop": 2, "flip": 1, "cutout": 2}


@dataclass(frozen=True, eq=False)
class Augmentation:
    """From uint8 images on the device to a normalized batch.

    `prepare` once on the host and put the result on the device; `batch` in every step. Offsets are
    uniform in 0..2 * PADDING, half of the images are flipped, a cutout square has a centre that is
    uniform over the image and is cut off at its edges. All randomness comes from the
    `keras.random.SeedGenerator` that is passed in.

    If it `is_searched`, every batch is told which of the names are on, so that one program serves
    all of their combinations. What is off draws nothing: images are those of an augmentation that
    does not name it.
    """

    names: tuple[str, ...]  # of crop, flip, cutout
    image_shape: tuple[int, int, int]
    mean: NDArray[np.float32]  # per channel, in 0..255
    std: NDArray[np.float32]
    fill: NDArray[np.float32] | None = None  # of what is not in the image; None: the mean
    is_searched: bool = False

    def switches(self, names: Iterable[str]) -> dict[str, float]:
        """What a program is told of a trial with these names: 1 for what is on, 0 for what is off;
        nothing if they are not searched."""
        on = set(names)
        return {SWITCH + name: float(name in on) for name in self.names if self.is_searched}

    def num_draws(self, values: Mapping[str, Any]) -> Any:
        """How often `batch` draws from its seed generator in a training step, at least 1."""
        if not self.is_searched:
            return max(1, sum(_DRAWS[name] for name in self.names))
        from keras import ops

        draws = (_DRAWS[name] * ops.cast(values[SWITCH + name], "int32") for name in self.names)
        return ops.maximum(1, sum(draws))

    def prepare(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Training images as `batch` wants them: padded when they are to be cropped."""
        prepared = pad_images(images, self._fill) if "crop" in self.names else images
        num_pixels = prepared.size // prepared.shape[-1]
        if num_pixels >= 2**31:
            raise InputError(
                Problem(
                    "too many training images: a pixel's number must fit into 31 bits",
                    where="data.train_images",
                    received=f"{len(images)} images",
                    expected=f"at most {(2**31 - 1) // (num_pixels // len(images))} of this size",
                )
            )
        return prepared

    def batch(
        self,
        images: Any,
        indices: Any,
        seed_generator: Any,
        values: Mapping[str, Any] | None = None,
        *,
        training: bool = True,
    ) -> Any:
        """The images of `indices` (batch,) int32: float32 (batch, height, width, channels).

        `images` is a uint8 tensor (n, height, width, channels), padded or not; `values` are the
        switches, if they are searched. Unless `training`, images are only normalized (of padded
        ones the middle is taken).
        """
        names = self.names if training else ()
        draws = _Draws(seed_generator, values if self.is_searched else None)
        taken = self._take(images, indices, names, draws)
        normalized = normalize(taken, self.mean, self.std)
        if "cutout" not in names:
            return normalized
        # Normalized, the mean is zero.
        value = 0.0 if self.fill is None else normalize(self.fill, self.mean, self.std)
        return cutout(normalized, draws, value)

    @property
    def _fill(self) -> NDArray[np.float32]:
        return self.mean if self.fill is None else self.fill

    def _take(self, images: Any, indices: Any, names: tuple[str, ...], draws: _Draws) -> Any:
        from keras import ops

        height, width, _ = self.image_shape
        margins = images.shape[1] - height, images.shape[2] - width
        if margins == (0, 0) and "flip" not in names:
            return ops.take(images, indices, axis=0)
        count = ops.shape(indices)[0]
        down, right = (ops.full((count,), margin // 2, "int32") for margin in margins)
        if "crop" in names:
            offsets = lambda seeds: random_offsets(count, margins, seeds)  # noqa: E731
            down, right = draws.of("crop", offsets, (down, right))
        flipped = None
        if "flip" in names:
            flips = lambda seeds: random_flips(count, seeds)  # noqa: E731
            flipped = draws.of("flip", flips, False)
        return gather_windows(images, indices, down, right, flipped, (height, width))


@dataclass(frozen=True)
class _Draws:
    """Random numbers of a batch, of what is on; `values` None: of all that is asked."""

    seeds: Any
    values: Mapping[str, Any] | None

    def of(self, name: str, draw: Callable[[Any], Any], off: Any) -> Any:
        """What `draw` makes of the seeds; where `name` is off, `off`, and nothing is drawn."""
        if self.values is None:
            return draw(self.seeds)
        from keras import ops

        is_on = self.values[SWITCH + name] > 0
        # `value`, which a scope without state looks up, and times 1: a copy of it outside of one.
        before = self.seeds.state.value * 1
        drawn = draw(self.seeds)
        self.seeds.state.assign(ops.where(is_on, self.seeds.state.value, before))
        if isinstance(drawn, tuple):
            return tuple(ops.where(is_on, a, b) for a, b in zip(drawn, off, strict=True))
        return ops.where(is_on, drawn, off)


def pad_images(images: NDArray[np.uint8], fill: NDArray[np.float32]) -> NDArray[np.uint8]:
    """On each side PADDING pixels of the rounded fill, about 0 when that is normalized."""
    count, height, width, channels = images.shape
    shape = (count, height + 2 * PADDING, width + 2 * PADDING, channels)
    padded = np.empty(shape, np.uint8)
    padded[:] = np.rint(fill).astype(np.uint8)
    padded[:, PADDING:-PADDING, PADDING:-PADDING] = images
    return padded


def random_offsets(count: Any, margins: tuple[int, int], seed_generator: Any) -> tuple[Any, Any]:
    """(rows down, columns right), each (count,), uniform in 0..margin."""
    from keras import random

    down, right = (
        random.randint((count,), 0, margin + 1, dtype="int32", seed=seed_generator)
        for margin in margins
    )
    return down, right


def random_flips(count: Any, seed_generator: Any) -> Any:
    """Booleans (count,), each true with probability 1/2."""
    from keras import random

    return random.randint((count,), 0, 2, dtype="int32", seed=seed_generator) == 1


def gather_windows(
    images: Any, indices: Any, down: Any, right: Any, flipped: Any, size: tuple[int, int]
) -> Any:
    """A window of each of the images of `indices`, mirrored where `flipped` (None: nowhere).

    One gather over pixels, with H x W the size of the stored images and h x w that of the window:

        out[b, i, j] = pixels[indices[b]*H*W + (down[b] + i)*W + right[b] + j]

    where j runs backwards in a mirrored one.
    """
    from keras import ops

    _, stored_height, stored_width, channels = images.shape
    height, width = size
    rows = ops.arange(height, dtype="int32")[None, :, None]
    columns = ops.arange(width, dtype="int32")[None, None, :]
    if flipped is not None:
        columns = ops.where(flipped[:, None, None], width - 1 - columns, columns)
    first = indices * (stored_height * stored_width) + down * stored_width + right
    pixels = ops.reshape(images, (-1, channels))
    return ops.take(pixels, first[:, None, None] + rows * stored_width + columns, axis=0)


def normalize(images: Any, mean: NDArray[np.float32], std: NDArray[np.float32]) -> Any:
    """(images - mean) / std per channel, float32."""
    from keras import ops

    return (ops.cast(images, "float32") - ops.convert_to_tensor(mean)) / ops.convert_to_tensor(std)


def cutout(images: Any, draws: _Draws, value: Any) -> Any:
    """A square of `value` in each image."""
    from keras import ops

    _, height, width, _ = images.shape
    count = ops.shape(images)[0]
    squares = lambda seeds: random_squares(count, (height, width), seeds)  # noqa: E731
    return ops.where(draws.of("cutout", squares, False), value, images)


def random_squares(count: Any, size: tuple[int, int], seed_generator: Any) -> Any:
    """Booleans (count, height, width, 1), true in a square around a centre in each image."""
    from keras import ops, random

    covered = None
    for axis, length in enumerate(size, start=1):
        centre = random.randint((count,), 0, length, dtype="int32", seed=seed_generator)
        distance = ops.arange(length, dtype="int32")[None, :] - (centre[:, None] - CUTOUT_SIZE // 2)
        inside = ops.logical_and(distance >= 0, distance < CUTOUT_SIZE)
        inside = ops.expand_dims(inside, (2, 3) if axis == 1 else (1, 3))
        covered = inside if covered is None else ops.logical_and(covered, inside)
    return covered
