"""The data sets by name; importing this reads no file and loads no array library."""

from __future__ import annotations

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
]

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (CIFAR100, CIFAR100_COARSE, CIFAR10, MNIST, FASHION_MNIST, SYNTHETIC)
}


def find_dataset(name: str) -> Dataset:
    """The data set that `data.dataset` names.

    Raises InputError for a name that is neither known nor a path to an .npz nor
    package.module:function.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name.endswith(".npz"):
        return NpzDataset(name)
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", name):
        return FunctionDataset(name)
    near = nearest(name, DATASETS)
    raise InputError(
        Problem(
            "no such data set",
            where="data.dataset",
            received=repr(name),
            expected=f"{', '.join(DATASETS)}, a path to an .npz, or package.module:function",
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
