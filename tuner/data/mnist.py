"""MNIST and Fashion-MNIST, from the files that Keras keeps.

LeCun et al., Gradient-based learning applied to document recognition, 1998; Xiao et al.,
Fashion-MNIST, 2017.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.data.dataset import DatasetInfo, LabelledImages
from tuner.data.files import OfficialDataset, OfficialFile, OfficialSource, Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


@dataclass(frozen=True)
class Mnist(OfficialDataset):
    """All arrays in one .npz."""

    def decode(self, contents: Iterator[bytes], part: Part) -> LabelledImages:
        """Those of the part."""
        import numpy as np

        with np.load(io.BytesIO(next(contents)), allow_pickle=False) as arrays:
            return LabelledImages(
                arrays[f"x_{part}"][..., np.newaxis], arrays[f"y_{part}"].astype(np.int32)
            )


@dataclass(frozen=True)
class Idx(OfficialDataset):
    """Each array in a gzipped idx file: big-endian header, then bytes."""

    def decode(self, contents: Iterator[bytes], part: Part) -> LabelledImages:
        """Images, then labels."""
        import numpy as np

        images, labels = (_idx_array(gzip.decompress(content)) for content in contents)
        return LabelledImages(images[..., np.newaxis], labels.astype(np.int32))


def _idx_array(data: bytes) -> NDArray[np.uint8]:
    """Bytes 0, 0, 8 (unsigned bytes), number of axes; the axes as uint32; the values."""
    import numpy as np

    num_axes = data[3]
    shape = np.frombuffer(data, ">u4", num_axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * num_axes).reshape(shape)


def _info(name: str, official: OfficialFile) -> DatasetInfo:
    return DatasetInfo((28, 28, 1), 10, 60_000, 10_000, f"{name}:md5:{official.md5}")


_NPZ = OfficialFile("mnist.npz", "8a61469f7ea1b51cbae51d4f78837e45")
_IDX = (
    OfficialFile("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    OfficialFile("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    OfficialFile("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    OfficialFile("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
)

MNIST = Mnist(
    name="mnist",
    source=OfficialSource("mnist", "", (_NPZ,), _URL),
    known=_info("mnist", _NPZ),
    train_files=(_NPZ.name,),
    test_files=(_NPZ.name,),
)

FASHION_MNIST = Idx(
    name="fashion_mnist",
    source=OfficialSource("fashion_mnist", "fashion-mnist", _IDX, _URL),
    known=_info("fashion_mnist", _IDX[0]),
    train_files=tuple(file.name for file in _IDX[:2]),
    test_files=tuple(file.name for file in _IDX[2:]),
)
