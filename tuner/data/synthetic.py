"""Images made on the spot: nothing to download, and something to learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers: TypeAlias = NDArray[np.int64]

NUM_CLASSES = 100
NUM_TRAIN = 10_000
NUM_TEST = 2_000
SIZE = 32

_VERSION = 1  # another one for every change of a pixel
_NUM_TEXTURES = 10  # of each of the two kinds; a class is a pair, so all classes share them
_NUM_DISTRACTORS = 6
_COLOUR, _TINT = 40, 6  # what the class decides, in 0..255
_DISTRACTION, _BRIGHTNESS, _CAST, _NOISE = 44, 24, 16, 32  # what it does not


@dataclass(frozen=True)
class Synthetic(Dataset):
    """32x32 colour images of 100 classes.

    A class is a coarse texture, a fine texture, a colour for each, and a tint. Both textures lie
    anywhere, may be mirrored together, and vary in contrast; over them come a texture that has
    nothing to do with the class, a brightness, a colour cast, and noise. So a network must find out
    which textures go together in which colours; a mean colour alone says little.

    All arithmetic is on whole numbers and on raw PCG64 bits: equal bytes on every machine.
    """

    name: str = "synthetic"

    def info(self, data_dir: Path | None, progress: Progress | None = None) -> DatasetInfo:
        """Constants."""
        shape = (SIZE, SIZE, 3)
        return DatasetInfo(shape, NUM_CLASSES, NUM_TRAIN, NUM_TEST, f"synthetic:{_VERSION}")

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Nothing to do."""

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return _make(NUM_TRAIN, part=1)

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images."""
        return _make(NUM_TEST, part=2)


SYNTHETIC = Synthetic()


class _Random:
    """Whole numbers from raw bits, a stream that numpy promises never to change."""

    def __init__(self, part: int) -> None:
        import numpy as np

        self._bits = np.random.PCG64(np.random.SeedSequence([_VERSION, part]))

    def below(self, limit: int | Integers, *shape: int) -> Integers:
        """Uniform in 0..limit - 1."""
        import numpy as np

        raw = self._bits.random_raw(int(np.prod(shape))).reshape(shape) >> np.uint64(40)
        return (raw.astype(np.int64) * limit) >> 24

    def around_zero(self, limit: int, *shape: int) -> Integers:
        """Uniform in -limit..limit."""
        return self.below(2 * limit + 1, *shape) - limit

    def noise(self, *shape: int) -> NDArray[np.int16]:
        """Mean 0, triangular in about -127..127: the difference of two halves of a byte each."""
        import numpy as np

        count = int(np.prod(shape))
        raw = self._bits.random_raw(-(-count // 4)).astype("<u8").view(np.uint8)
        pairs = raw[: 2 * count].reshape(2, *shape) >> 1
        difference: NDArray[np.int16] = np.subtract(pairs[0], pairs[1], dtype=np.int16)
        return difference


def _make(count: int, part: int) -> LabelledImages:
    import numpy as np

    scene = _Scene()
    random = _Random(part)
    labels = np.arange(count) % NUM_CLASSES
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for start in range(0, count, 1000):  # bounds the memory
        images[start : start + 1000] = scene.images(labels[start : start + 1000], random)
    return LabelledImages(images, labels.astype(np.int32))


class _Scene:
    """The tables that all images are composed from."""

    def __init__(self) -> None:
        import numpy as np

        random = _Random(part=0)
        coarse = _textures(random, _NUM_TEXTURES, widths=((5, 5), (2, 9), (9, 2)))
        fine = _textures(random, _NUM_TEXTURES, widths=((2, 2), (1, 4), (4, 1)))
        other = _textures(random, _NUM_DISTRACTORS, widths=((4, 4), (3, 6), (6, 3)))
        textures = np.concatenate([coarse, fine, other])
        self.windows = _periodic_windows(np.concatenate([textures, textures[:, :, ::-1]]))
        self.mirrored = len(textures)
        self.colours = random.around_zero(_COLOUR, NUM_CLASSES, 2, 3)
        self.tints = 128 + random.around_zero(_TINT, NUM_CLASSES, 3)

    def images(self, labels: Integers, random: _Random) -> NDArray[np.uint8]:
        """One image of each label."""
        import numpy as np

        count = len(labels)
        mirror = self.mirrored * random.below(2, count)
        distractor = 2 * _NUM_TEXTURES + random.below(_NUM_DISTRACTORS, count)
        contrast = 96 + random.below(64, count, 2, 1)  # in 1/128
        layers = (
            (labels % _NUM_TEXTURES, self.colours[labels, 0] * contrast[:, 0] >> 7),
            (
                _NUM_TEXTURES + labels // _NUM_TEXTURES,
                self.colours[labels, 1] * contrast[:, 1] >> 7,
            ),
            (distractor, random.around_zero(_DISTRACTION, count, 3)),
        )
        light = random.around_zero(_BRIGHTNESS, count, 1) + random.around_zero(_CAST, count, 3)
        base = self.tints[labels] + light
        pixels = random.noise(count, SIZE, SIZE, 3) * np.int16(_NOISE) >> 6
        pixels += base.astype(np.int16)[:, None, None, :]
        for texture, colour in layers:
            shift = random.below(SIZE, 2, count)
            values = self.windows[texture + mirror, shift[0], shift[1]]
            pixels += values[..., None] * colour.astype(np.int16)[:, None, None, :] >> 6
        return pixels.clip(0, 255).astype(np.uint8)


def _textures(
    random: _Random, count: int, widths: tuple[tuple[int, int], ...]
) -> NDArray[np.int16]:
    """Periodic random fields, smoothed by boxes of (rows, columns), in -127..127."""
    import numpy as np

    fields = random.around_zero(1000, count, SIZE, SIZE)
    for index, field in enumerate(fields):
        smooth = field
        for axis, width in enumerate(widths[index % len(widths)]):
            for _ in range(2):  # a box twice is a tent
                smooth = sum(np.roll(smooth, step, axis) for step in range(width))
        smooth = smooth - smooth.sum() // smooth.size
        fields[index] = smooth * 127 // np.abs(smooth).max()
    return fields.astype(np.int16)


def _periodic_windows(textures: NDArray[np.int16]) -> NDArray[np.int16]:
    """A view [texture, row, column] of windows that begin there and go on around the edge."""
    import numpy as np

    tiled = np.tile(textures, (1, 2, 2))
    return np.lib.stride_tricks.sliding_window_view(tiled, (SIZE, SIZE), axis=(1, 2))
