"""From the `data:` section to the arrays that a trial sees."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.data import find_dataset
from tuner.data.config import DataConfig, FinalDataConfig
from tuner.data.dataset import (
    BYTES,
    Dataset,
    DatasetInfo,
    LabelledImages,
    LoadedData,
    Pixels,
    Progress,
)
from tuner.data.own import FunctionDataset, OwnDataset
from tuner.data.probe import probed_info
from tuner.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK_IMAGES = 256  # of the statistics; fits into the cache, and the sums into 32 bits
_FUNCTION, _RANGE = "function:", ":0.."  # in a fingerprint


@dataclass(frozen=True, eq=False)
class ImageData:
    """Training and validation images as they lie on disk, and what normalizes them.

    Images are uint8 (n, height, width, channels), labels int32 (n,). The network gets
    (pixel - mean) / std: mean and std are those of the training images that are used, per channel,
    in 0..255, or, with `normalize: false`, what gives the pixels as the data have them. `fill` is
    that mean where `mean` is another.
    """

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int32]
    x_validation: NDArray[np.uint8]
    y_validation: NDArray[np.int32]
    num_classes: int
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    hashes: dict[str, str]  # what the environment record keeps
    fill: NDArray[np.float32] | None = None
    pixels: Pixels = BYTES
    class_names: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        _, height, width, channels = self.x_train.shape
        return height, width, channels


def check(
    config: DataConfig,
    data_dir: Path | None,
    progress: Progress | None = None,
    *,
    backend: str,
) -> DatasetInfo:
    """What the data set is like, when the experiment can be run on it.

    A named data set is not looked for: it may still have to be downloaded.
    Raises InputError where sizes don't fit, or the person's own data set is not as it must be.
    """
    from tuner.data.splits import class_problems, size_problems

    dataset = _dataset(config)
    if isinstance(dataset, FunctionDataset):
        info = probed_info(dataset, backend)
    else:
        info = dataset.info(data_dir, progress)
    few = () if isinstance(config, FinalDataConfig) else info.class_counts
    problems = class_problems(few, info.class_names) or size_problems(
        info.num_train, info.num_classes, config.validation, config.train_images
    )
    if problems:
        raise InputError(problems)
    if isinstance(config, FinalDataConfig) and not info.num_test:
        what = "there are no test images to confirm anything on"
        mend = dataset.adding_test if isinstance(dataset, OwnDataset) else ""
        raise InputError(Problem(what, "data.dataset", config.dataset, mend=mend))
    return dataclasses.replace(info, fingerprint=_fingerprint(config, info))


def _fingerprint(config: DataConfig, info: DatasetInfo) -> str:
    """What tells data apart: as they are, pixels differ in their range, too.

    Those of a function are kept as the same bytes whether it gives 0..1 or 0..255.
    """
    is_function = info.fingerprint.startswith(_FUNCTION)
    if config.normalize or not is_function or info.pixels.scale == 1:
        return info.fingerprint
    return f"{info.fingerprint}{_RANGE}{info.pixels.high:g}"


def same_content(one: str, other: str) -> bool:
    """Whether these fingerprints are of the same images and labels, in whatever range they come."""
    contents = [f.partition(_RANGE)[0] if f.startswith(_FUNCTION) else f for f in (one, other)]
    return contents[0] == contents[1]


def runs_code(config: DataConfig) -> bool:
    """Whether a function of the person's gives the images."""
    return isinstance(_dataset(config), FunctionDataset)


def fetch(config: DataConfig, data_dir: Path | None, progress: Progress | None = None) -> None:
    """Make the files of the data set be there, before the first trial starts.

    Raises InputError where they are not and cannot be downloaded.
    """
    _dataset(config).fetch(data_dir, progress)


def load_images(
    config: DataConfig,
    data_dir: Path | None,
    progress: Progress | None = None,
    *,
    loaded: LoadedData | None = None,
) -> ImageData:
    """Training and validation images; the test images stay on disk.

    Of `FinalDataConfig` the test images stand in the place of the validation images. What was
    `loaded` already is not read again.
    """
    import numpy as np

    from tuner.data.splits import split

    is_final = isinstance(config, FinalDataConfig)
    if loaded is None:
        loaded = _dataset(config).load(data_dir, test=is_final, progress=progress)
    data, info = loaded.train, loaded.info
    parts = split(data.labels, config.validation, config.train_images, config.seed)
    x_train, y_train = data.images[parts.train], data.labels[parts.train]
    held_out_name = "validation_images"
    held_out = LabelledImages(data.images[parts.validation], data.labels[parts.validation])
    if loaded.test is not None:
        held_out_name, held_out = "test_images", loaded.test
    fill = None
    mean, std = channel_statistics(x_train)
    if not config.normalize:
        fill, mean, std = mean, np.zeros_like(mean), np.full_like(std, info.pixels.scale)
    return ImageData(
        x_train=x_train,
        y_train=y_train,
        x_validation=held_out.images,
        y_validation=held_out.labels,
        num_classes=int(data.labels.max()) + 1,
        mean=mean,
        std=std,
        hashes={
            "dataset": _fingerprint(config, info),
            "content": _content_hash(data),
            "split": parts.hash,
            "train_images": _count(y_train),
            held_out_name: _count(held_out.labels),
        },
        fill=fill,
        pixels=info.pixels,
        class_names=info.class_names,
    )


def load_test_images(
    config: FinalDataConfig, data_dir: Path | None
) -> tuple[LabelledImages, tuple[str, ...]]:
    """The test images alone, in the order in which they are predicted: some of them are shown.

    With the file of each where they are files.
    """
    dataset = _dataset(config)
    return dataset.test(data_dir), dataset.paths_of_test(data_dir)


def _dataset(config: DataConfig) -> Dataset:
    size: Any = config.image_size  # an integer became a pair when it was validated
    return find_dataset(config.dataset, size)


def channel_statistics(
    images: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation per channel; 1 for a channel that never changes.

    The sums are whole numbers, so the result is the same on every machine.
    """
    import numpy as np

    channels = images.shape[-1]
    rows = images.reshape(len(images), -1)
    sums = np.zeros((2, rows.shape[1]), np.int64)
    for start in range(0, len(rows), _CHUNK_IMAGES):
        chunk = rows[start : start + _CHUNK_IMAGES].astype(np.uint16)
        sums[0] += chunk.sum(axis=0, dtype=np.uint32)
        chunk *= chunk  # at most 255**2, which is below 2**16
        sums[1] += chunk.sum(axis=0, dtype=np.uint32)
    total, squares = sums.reshape(2, -1, channels).sum(axis=1)
    count = images.size // channels
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    std = np.sqrt(np.where(variance > 0, variance, 1))
    return mean.astype(np.float32), std.astype(np.float32)


def _content_hash(data: LabelledImages) -> str:
    """SHA-256 of what was read: two workers with the same hash train on the same images."""
    import numpy as np

    digest = hashlib.sha256(f"{data.images.shape}".encode())
    digest.update(np.ascontiguousarray(data.images).data)
    digest.update(data.labels.astype("<i4").tobytes())
    return digest.hexdigest()


def _count(labels: NDArray[np.int32]) -> str:
    """How many images, and how many of each class: `45000 (450 per class)`."""
    import numpy as np

    counts = np.bincount(labels)
    low, high = int(counts.min()), int(counts.max())
    return f"{len(labels)} ({low if low == high else f'{low} to {high}'} per class)"
