"""What every data set can do."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tuner.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Called with (what is done, bytes done, bytes in all; 0 when unknown).
Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pixels:
    """What a person's pixel values are: 0 to `high`; times `scale` they are kept as 0..255."""

    high: float = 255.0
    scale: float = 1.0

    def __str__(self) -> str:
        return f"0..{self.high:g}"


BYTES = Pixels()
"""As image files and the named data sets have them."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a plan needs to know about a data set."""

    image_shape: tuple[int, int, int]  # (height, width, channels)
    num_classes: int
    num_train: int  # before the validation images are held out
    num_test: int
    fingerprint: str  # names the content: equal fingerprints, equal pixels and labels
    pixels: Pixels = BYTES
    class_names: tuple[str, ...] = ()  # where the data have them
    class_counts: tuple[int, ...] = ()  # of the training images; known of a person's own data
    source: str = ""  # the file or folder that was read, the function that was called
    notes: tuple[str, ...] = ()  # what was found that a person may not expect


def class_number(written: str, num_classes: int, class_names: Sequence[str] = ()) -> int:
    """The class that a person means: by its name, or by its number where no name is one.

    Raises:
        InputError: there is no such class.
    """
    if written in class_names:
        return class_names.index(written)
    is_number = re.fullmatch("0|[1-9][0-9]*", written) and not any(map(str.isdecimal, class_names))
    if is_number and int(written) < num_classes:
        return int(written)
    expected = ", ".join(class_names) or f"classes 0 to {num_classes - 1}"
    raise InputError(Problem("there is no such class", received=written, expected=expected))


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images (n, height, width, channels) with their classes (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LoadedData:
    """What one reading of a data set gave; `test` is None where it was not asked for."""

    info: DatasetInfo
    train: LabelledImages
    test: LabelledImages | None


class Dataset(ABC):
    """A source of labelled images; training and test images are read apart.

    `data_dir` is where the person keeps data files (None: nowhere in particular).
    """

    name: str

    @abstractmethod
    def info(self, data_dir: Path | None, progress: Progress | None = None) -> DatasetInfo:
        """Shapes, counts and fingerprint; the named data sets know them without reading a file."""

    @abstractmethod
    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Make the training files be there and whole, downloading what is missing.

        Raises InputError where that cannot be done, or where a file is damaged.
        """

    @abstractmethod
    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images, of which the validation images are a part."""

    @abstractmethod
    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images, which nothing but `tuner confirm` may ask for."""

    def paths_of_test(self, data_dir: Path | None) -> tuple[str, ...]:
        """The file of each test image, in their order, where each has one of its own."""
        return ()

    def load(
        self, data_dir: Path | None, *, test: bool = False, progress: Progress | None = None
    ) -> LoadedData:
        """Everything that a worker needs, from one reading; the test images if they are wanted."""
        train = self.train(data_dir, progress)
        return LoadedData(self.info(data_dir), train, self.test(data_dir) if test else None)
