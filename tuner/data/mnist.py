"""MNIST and Fashion-MNIST, from the files that Keras keeps.

LeCun et al., Gradient-based learning applied to document recognition, 1998; Xiao et al.,
Fashion-MNIST, 2017.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, Progress
from tuner.data.files import OfficialFile, Source, fetch, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


def _info(name: str, md5: str) -> DatasetInfo:
    return DatasetInfo((28, 28, 1), 10, 60_000, 10_000, f"{name}:md5:{md5}")


@dataclass(frozen=True)
class Mnist(Dataset):
    """All arrays in one .npz."""

    name: str
    source: Source

    def info(self, data_dir: Path | None) -> DatasetInfo:
        """Known beforehand."""
        return _info(self.name, self.source.files[0].md5)

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Make the file be there; its md5 is checked."""
        folder = fetch(self.source, data_dir, progress)
        read(folder / self.source.files[0].name, self.source.files[0])

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self._read("train", data_dir, progress)

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images."""
        return self._read("test", data_dir, progress)

    def _read(self, part: str, data_dir: Path | None, progress: Progress | None) -> LabelledImages:
        import numpy as np

        folder = fetch(self.source, data_dir, progress)
        data = read(folder / self.source.files[0].name, self.source.files[0])
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return LabelledImages(
                arrays[f"x_{part}"][..., np.newaxis], arrays[f"y_{part}"].astype(np.int32)
            )


@dataclass(frozen=True)
class Idx(Dataset):
    """Each array in a gzipped idx file: big-endian header, then bytes."""

    name: str
    source: Source

    def info(self, data_dir: Path | None) -> DatasetInfo:
        """Known beforehand."""
        return _info(self.name, self.source["train-images-idx3-ubyte.gz"].md5)

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Make the files be there; their md5 is checked."""
        folder = fetch(self.source, data_dir, progress)
        for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
            read(folder / name, self.source[name])

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self._read("train", data_dir, progress)

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images."""
        return self._read("t10k", data_dir, progress)

    def _read(self, part: str, data_dir: Path | None, progress: Progress | None) -> LabelledImages:
        import numpy as np

        folder = fetch(self.source, data_dir, progress)
        images, labels = (
            _idx_array(gzip.decompress(read(folder / name, self.source[name])))
            for name in (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz")
        )
        return LabelledImages(images[..., np.newaxis], labels.astype(np.int32))


def _idx_array(data: bytes) -> NDArray[np.uint8]:
    """Bytes 0, 0, 8 (unsigned bytes), number of axes; the axes as uint32; the values."""
    import numpy as np

    num_axes = data[3]
    shape = np.frombuffer(data, ">u4", num_axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * num_axes).reshape(shape)


MNIST = Mnist(
    name="mnist",
    source=Source(
        "mnist", "", (OfficialFile("mnist.npz", "8a61469f7ea1b51cbae51d4f78837e45"),), _URL
    ),
)

FASHION_MNIST = Idx(
    name="fashion_mnist",
    source=Source(
        "fashion_mnist",
        "fashion-mnist",
        (
            OfficialFile("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            OfficialFile("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            OfficialFile("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            OfficialFile("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        _URL,
    ),
)
