from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.report import fixed_ledger
from tuner.cli import main


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
    fixed_ledger.make(tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def tuner_of_grid(tuner: Tuner, results: Path) -> Tuner:
    """The same over these results."""
    return lambda *arguments: tuner(*arguments, "--results", results)
