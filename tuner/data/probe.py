"""What a person's data function returns, asked in a process that is as a worker's.

Keras' settings, the backend, the order of sets and the devices are those of a worker, so that the
function returns here what it returns there; and what it imports, prints or ends is gone with it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.code.keras_globals import set_keras_defaults, settings_differ
from tuner.code.process import plain_environment, python_command
from tuner.data.dataset import DatasetInfo, Pixels
from tuner.data.own import FunctionDataset
from tuner.errors import InputError, Problem


def probed_info(dataset: FunctionDataset, backend: str) -> DatasetInfo:
    """Shapes, counts and fingerprint of what the function returns.

    Raises:
        InputError: there is no such function, it fails, or its arrays are no images with classes.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-data-") as folder:
        answer = Path(folder) / "answer"
        command = python_command("tuner.data.probe", dataset.name, str(answer))
        status = subprocess.run(command, env=probe_environment(backend), check=False).returncode
        if status in (-signal.SIGINT, 128 + signal.SIGINT):
            raise KeyboardInterrupt
        if not answer.is_file():
            raise InputError(process_ended(dataset.name, status))
        told = json.loads(answer.read_text("utf-8"))
    if problems := told["problems"]:
        raise InputError([Problem(**problem) for problem in problems])
    return _info(told["info"])


def _info(told: dict[str, Any]) -> DatasetInfo:
    """From JSON, which has lists for tuples."""
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in told.items()}
    values["pixels"] = Pixels(**told["pixels"])
    return DatasetInfo(**values)


def probe_environment(backend: str) -> Mapping[str, str]:
    """A worker's, without a GPU: those are the workers'."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **plain_environment(os.environ, backend),
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
    }


def process_ended(name: str, status: int) -> Problem:
    """What became of the process in which a person's function was called."""
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    module, _, function = name.partition(":")
    mend = f"run it by itself: python -c 'import {module}; {module}.{function}()'"
    what = f"the function ended its process: {how}"
    return Problem(what, "data.dataset", name, "arrays", mend)


def main() -> None:
    """Answer for the function that is named, in the file that is named."""
    _, name, answer = sys.argv
    if settings_differ(os.environ):
        set_keras_defaults()
    told: dict[str, Any] = {"info": None, "problems": []}
    try:
        told["info"] = dataclasses.asdict(FunctionDataset(name).info(None))
    except InputError as error:
        told["problems"] = [dataclasses.asdict(problem) for problem in error.problems]
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    Path(answer).write_text(json.dumps(told), "utf-8")
