"""Runs a file of laws in a process of its own, under a chosen Keras backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_laws(path: str, backend: str) -> dict[str, str | None]:
    """The laws (functions `law_*`) in a file, each with its traceback, or None where it holds."""
    environ = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, __file__, path], env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def law_names(module) -> list[str]:
    return [name for name in vars(module) if name.startswith("law_")]


def _outcome(law) -> str | None:
    try:
        law()
    except Exception:
        return traceback.format_exc()


def _main(path: str) -> None:
    spec = importlib.util.spec_from_file_location("laws", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(json.dumps({name: _outcome(getattr(module, name)) for name in law_names(module)}))


if __name__ == "__main__":
    _main(sys.argv[1])
