"""A data set's arrays as plain files, on their way to other machines.

They are read or made once, whatever the data set is: files, a folder of images, or a function of
the person's own, which is called in a process like a worker's. Each machine keeps one copy, which
all workers map.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuner.code.keras_globals import set_keras_defaults, settings_differ
from tuner.code.process import python_command
from tuner.data import find_dataset
from tuner.data.config import DataConfig, FinalDataConfig
from tuner.data.dataset import DatasetInfo, LabelledImages, LoadedData, Pixels
from tuner.data.files import OfficialDataset, default_data_dir, locate
from tuner.data.probe import probe_environment, process_ended
from tuner.data.synthetic import Synthetic
from tuner.errors import InputError, Problem

INFO = "info.json"
_PROBLEMS = "problems.json"


def is_made_anywhere(name: str) -> bool:
    """Whether any machine makes the same images on the spot."""
    return isinstance(find_dataset(name), Synthetic)


def own_copy(name: str, data_dir: Path | None) -> Path | None:
    """The data folder in which this machine has the official files; their content is checked."""
    dataset = find_dataset(name)
    folders = [data_dir, default_data_dir(os.environ), None]
    if isinstance(dataset, OfficialDataset):
        for folder in filter(None, folders):
            if locate(dataset.source, folder):
                return folder
    return None


@contextmanager
def packed(config: DataConfig, data_dir: Path | None, backend: str) -> Iterator[Path]:
    """A folder with the files of a data set, for as long as it is needed.

    Raises:
        InputError: the data cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-packed-") as folder:
        is_final = isinstance(config, FinalDataConfig)
        size: Any = config.image_size
        task = {
            "name": config.dataset,
            "size": size,
            "data_dir": str(data_dir) if data_dir else None,
            "test": is_final,
        }
        command = python_command("tuner.data.packed", json.dumps(task), folder)
        status = subprocess.run(command, env=probe_environment(backend), check=False).returncode
        if status in (-signal.SIGINT, 128 + signal.SIGINT):
            raise KeyboardInterrupt
        problems = Path(folder) / _PROBLEMS
        if problems.is_file():
            raise InputError([Problem(**problem) for problem in json.loads(problems.read_text())])
        if not (Path(folder) / INFO).is_file():
            raise InputError(process_ended(config.dataset, status))
        yield Path(folder)


def read_packed(folder: Path, *, test: bool) -> LoadedData:
    """What was packed; the images are mapped, so that workers share them."""
    import numpy as np

    told = json.loads((folder / INFO).read_text("utf-8"))
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in told.items()}
    values["pixels"] = Pixels(**told["pixels"])

    def part(name: str) -> LabelledImages:
        images = np.load(folder / f"x_{name}.npy", mmap_mode="r")
        return LabelledImages(images, np.load(folder / f"y_{name}.npy"))

    return LoadedData(DatasetInfo(**values), part("train"), part("test") if test else None)


def _pack(task: dict[str, Any], folder: Path) -> None:
    import numpy as np

    size = tuple(task["size"]) if task["size"] else None
    data_dir = Path(task["data_dir"]) if task["data_dir"] else None
    loaded = find_dataset(task["name"], size).load(data_dir, test=task["test"])
    for name, part in (("train", loaded.train), ("test", loaded.test)):
        if part is not None:
            np.save(folder / f"x_{name}.npy", np.ascontiguousarray(part.images))
            np.save(folder / f"y_{name}.npy", part.labels)
    (folder / INFO).write_text(json.dumps(dataclasses.asdict(loaded.info)), "utf-8")


def main() -> None:
    """Pack what the first argument says into the folder that the second one names."""
    _, task, folder = sys.argv
    if settings_differ(os.environ):
        set_keras_defaults()
    try:
        _pack(json.loads(task), Path(folder))
    except InputError as error:
        problems = [dataclasses.asdict(problem) for problem in error.problems]
        (Path(folder) / _PROBLEMS).write_text(json.dumps(problems), "utf-8")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
