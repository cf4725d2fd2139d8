"""A person's own images: an .npz file, or a function that returns arrays."""

from __future__ import annotations

import hashlib
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.data.arrays import Arrays, checked_arrays
from tuner.data.dataset import Dataset, DatasetInfo, LabelledImages, Progress
from tuner.data.npz import read_npz
from tuner.errors import InputError, Problem

_NAMES = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class NpzDataset(Dataset):
    """Arrays in an .npz; its path is relative to the working folder, or else to `data_dir`."""

    name: str

    def info(self, data_dir: Path | None) -> DatasetInfo:
        """Read from the file, so that whatever is wrong with it shows before a trial starts."""
        path = self._path(data_dir)
        arrays = self._load(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return arrays.info(f"npz:sha256:{digest}")

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Nothing can be downloaded; raises InputError when the file is not there."""
        self._path(data_dir)

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self._load(self._path(data_dir)).train

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images; raises InputError when the file has none."""
        return _present(self._load(self._path(data_dir)).test, self.name)

    def _path(self, data_dir: Path | None) -> Path:
        written = Path(os.path.expanduser(self.name))
        paths = [written.absolute()] + ([data_dir / written] if data_dir else [])
        found = next((path for path in paths if os.path.isfile(path)), None)
        if found is None:
            other = any(os.path.exists(path) for path in paths)
            raise InputError(
                Problem(
                    "this is no plain file" if other else "no such file",
                    where="data.dataset",
                    received=self.name,
                    expected="a file " + " or ".join(map(str, dict.fromkeys(paths))),
                    mend="write the whole path, or name the folder that has it with --data-dir",
                )
            )
        return found

    def _load(self, path: Path) -> Arrays:
        return checked_arrays(read_npz(path, _NAMES), where=str(path))


@dataclass(frozen=True)
class FunctionDataset(Dataset):
    """`package.module:function`, which returns (x_train, y_train[, x_test, y_test]).

    It is called anew whenever the images are wanted, in more than one process, and must return
    the same each time.
    """

    name: str

    def info(self, data_dir: Path | None) -> DatasetInfo:
        """From the arrays that the function returns."""
        arrays = self._load()
        return arrays.info(f"function:sha256:{arrays.hash()}")

    def fetch(self, data_dir: Path | None, progress: Progress | None = None) -> None:
        """Raises InputError when there is no such function."""
        self._function()

    def train(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The training images."""
        return self._load().train

    def test(self, data_dir: Path | None, progress: Progress | None = None) -> LabelledImages:
        """The test images; raises InputError when the function returns none."""
        return _present(self._load().test, self.name)

    def _load(self) -> Arrays:
        returned = self._function()()
        if not isinstance(returned, tuple | list) or len(returned) not in (2, 4):
            count = f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
            raise InputError(
                Problem(
                    "the function did not return data",
                    where=f"data.dataset: {self.name}",
                    received=type(returned).__name__ + count,
                    expected="(x_train, y_train) or (x_train, y_train, x_test, y_test)",
                )
            )
        return checked_arrays(dict(zip(_NAMES, returned, strict=False)), where=self.name)

    def _function(self) -> Any:
        module, _, function = self.name.partition(":")
        try:
            return getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise InputError(
                Problem(
                    "no such function",
                    where="data.dataset",
                    received=self.name,
                    expected=f"a module {module} that can be imported, with a function {function}",
                    mend=f"{error}; is its folder in $PYTHONPATH?",
                )
            ) from error


def _present(images: LabelledImages | None, name: str) -> LabelledImages:
    if images is None:
        raise InputError(
            Problem(
                "the data set has no test images",
                where="data.dataset",
                received=name,
                expected="x_test and y_test",
            )
        )
    return images
