"""The data sets by name; importing this reads no file and loads no array library."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tuner.data.cifar import CIFAR10, CIFAR100, CIFAR100_COARSE
from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, Progress
from tuner.data.files import OfficialDataset, locate, locate_archive
from tuner.data.mnist import FASHION_MNIST, MNIST
from tuner.data.own import FunctionDataset, NpzDataset
from tuner.data.synthetic import SYNTHETIC
from tuner.errors import InputError, Problem, nearest

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetInfo",
    "LabelledImages",
    "Progress",
    "find_dataset",
    "found_datasets",
    "is_path",
    "with_whole_path",
]

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (CIFAR100, CIFAR100_COARSE, CIFAR10, MNIST, FASHION_MNIST, SYNTHETIC)
}


_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_path(name: str) -> bool:
    """Whether a data set is a file or a folder of the person's own."""
    return name.endswith(".npz") or "/" in name or name in (".", "..", "~")


def with_whole_path(name: str, folder: Path) -> str:
    """The name with its whole path where it is a file or folder in `folder`, or else in this one.

    A name without a slash is no path if it is anything else.
    """
    if name in DATASETS or _FUNCTION.fullmatch(name):
        return name
    for place in (folder, Path()):
        path = os.path.abspath(place / os.path.expanduser(name))
        if name.strip() and os.path.exists(path):
            return path if path.endswith(".npz") or not os.path.isfile(path) else name
    return name


def find_dataset(name: str, image_size: tuple[int, int] | None = None) -> Dataset:
    """The data set that `data.dataset` names.

    Raises InputError for a name that is neither known nor a path nor package.module:function.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name.endswith(".npz"):
        return NpzDataset(name)
    if _FUNCTION.fullmatch(name):
        return FunctionDataset(name)
    if is_path(name):
        from tuner.data.folder import FolderDataset  # late, as few have one

        return FolderDataset(name, image_size)
    near = nearest(name, DATASETS)
    raise InputError(
        Problem(
            "no such data set",
            where="data.dataset",
            received=repr(name),
            expected=f"{', '.join(DATASETS)}, a path to an .npz or to a folder with one folder "
            "for each class, or package.module:function",
            mend=f"did you mean {near}?" if near else "",
        )
    )


def found_datasets(data_dir: Path | None) -> list[tuple[str, Path | None, str]]:
    """Each named data set, where its files lie, and in which state; no file is opened."""
    return [(name, *_state(dataset, data_dir)) for name, dataset in DATASETS.items()]


def _state(dataset: Dataset, data_dir: Path | None) -> tuple[Path | None, str]:
    if not isinstance(dataset, OfficialDataset):
        return None, "made on the spot"
    if folder := locate(dataset.source, data_dir):
        return folder, "found"
    if archive := locate_archive(dataset.source, data_dir):
        return archive, "found; will be unpacked when first used"
    return None, "not found; will be downloaded when first used"
