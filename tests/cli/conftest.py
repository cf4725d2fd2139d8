from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tuner.cli import main

_FIXED = Path(__file__).parents[1] / "report" / "fixed_ledger.py"


def _load_fixed() -> Any:
    spec = importlib.util.spec_from_file_location("fixed_ledger_of_cli", _FIXED)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str


Tuner = Callable[..., Said]


@pytest.fixture
def tuner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tuner:
    """Runs a command line in this process, at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TUNER_DATA_DIR", raising=False)
    monkeypatch.delenv("TUNER_TRACEBACK", raising=False)

    def call(*arguments: object) -> Said:
        status = main.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return call


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder that holds the fixed run `grid`."""
    folder = tmp_path / "results"
    _load_fixed().make(folder)
    return folder
