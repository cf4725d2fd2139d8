"""CIFAR-10 and CIFAR-100 from the official python files.

Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, Progress
from tuner.data.files import OfficialFile, Source, fetch, read
from tuner.data.unpickle import unpickle_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_URL = "https://www.cs.toronto.edu/~kriz/"
_SHAPE = (32, 32, 3)


@dataclass(frozen=True)
class Cifar(Dataset):
    """A data set in pickled batches: rows of 3,072 bytes, one colour plane after another."""

    name: str
    source: Source
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    label_key: bytes
    known: DatasetInfo

    def info(self, data_dir: Path | None) -> DatasetInfo:
        """Known beforehand."""
        return self.known

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Make the files be there; their md5 is checked (0.3 s)."""
        folder = fetch(self.source, data_dir, progress)
        for name in self.train_files:
            read(folder / name, self.source[name])

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self._read(self.train_files, data_dir, progress)

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images."""
        return self._read(self.test_files, data_dir, progress)

    def _read(
        self, names: tuple[str, ...], data_dir: Path | None, progress: Progress | None
    ) -> LabelledImages:
        import numpy as np

        folder = fetch(self.source, data_dir, progress)
        batches = [unpickle_arrays(read(folder / name, self.source[name])) for name in names]
        images = [_channels_last(batch[b"data"]) for batch in batches]
        labels = [np.asarray(batch[self.label_key], np.int32) for batch in batches]
        if len(batches) == 1:
            return LabelledImages(images[0], labels[0])
        return LabelledImages(np.concatenate(images), np.concatenate(labels))


def _channels_last(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows (n, 3072) of planes as images (n, 32, 32, 3)."""
    import numpy as np

    height, width, channels = _SHAPE
    planes = rows.reshape(-1, channels, height, width)
    images = np.empty((len(planes), height, width, channels), np.uint8)
    for channel in range(channels):  # three times as fast as a transposed copy
        images[..., channel] = planes[:, channel]
    return images


def _info(name: str, archive: OfficialFile, num_classes: int) -> DatasetInfo:
    return DatasetInfo(_SHAPE, num_classes, 50_000, 10_000, f"{name}:md5:{archive.md5}")


_ARCHIVE_100 = OfficialFile("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85")
_FILES_100 = (
    OfficialFile("train", "16019d7e3df5f24257cddd939b257f8d"),
    OfficialFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
)


def _cifar100(name: str, label_key: bytes, num_classes: int) -> Cifar:
    return Cifar(
        name=name,
        source=Source("cifar100", "cifar-100-python", _FILES_100, _URL, _ARCHIVE_100),
        train_files=("train",),
        test_files=("test",),
        label_key=label_key,
        known=_info(name, _ARCHIVE_100, num_classes),
    )


CIFAR100 = _cifar100("cifar100", b"fine_labels", 100)
CIFAR100_COARSE = _cifar100("cifar100_coarse", b"coarse_labels", 20)

_ARCHIVE_10 = OfficialFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")
_FILES_10 = (
    OfficialFile("data_batch_1", "c99cafc152244af753f735de768cd75f"),
    OfficialFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    OfficialFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    OfficialFile("data_batch_4", "634d18415352ddfa80567beed471001a"),
    OfficialFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    OfficialFile("test_batch", "40351d587109b95175f43aff81a1287e"),
)

CIFAR10 = Cifar(
    name="cifar10",
    source=Source("cifar10", "cifar-10-batches-py", _FILES_10, _URL, _ARCHIVE_10),
    train_files=tuple(file.name for file in _FILES_10[:5]),
    test_files=("test_batch",),
    label_key=b"labels",
    known=_info("cifar10", _ARCHIVE_10, 10),
)
