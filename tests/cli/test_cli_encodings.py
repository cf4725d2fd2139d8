"""What commands print where the terminal's encoding is narrow: plain characters, never an error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.golden.cases import COMMANDS
from tests.report import fixed_ledger, replicated_ledger
from tuner.cli import main
from tuner.cli.progress import RunProgress
from tuner.cli.terminal import can_redraw
from tuner.cli.view import view_of
from tuner.execution.events import Notice
from tuner.experiment.objective import Objective

NARROW = ("ascii", "latin-1", "cp1252", "iso8859-15", "koi8-r", "shift_jis")
MORE = [
    *(("show", "grid", trial) for trial in ("2", "7", "best")),
    *(("plan", "e.yaml"), ("plan", "e.yaml", "--list"), ("schema",), ("report", "--help")),
    *(("report", "gríd"), ("show", "grid", "²"), ("report", "grid", "--sort", "…"), ("λ",)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with results and an experiment."""
    folder = tmp_path_factory.mktemp("narrow")
    fixed_ledger.make(folder / "results")
    replicated_ledger.make(folder / "results")
    open_values = "{family: resnet, depth: {choice: [8, 20]}}"
    (folder / "e.yaml").write_text(f"data: {{dataset: synthetic}}\nmodel: {open_values}\n")
    return folder


@pytest.fixture
def streams(folder, monkeypatch):
    """Gives stdout and stderr an encoding; the function returns what was printed since."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")

    def start(encoding: str):
        raw = io.BytesIO()
        both = [io.TextIOWrapper(raw, encoding=encoding, write_through=True) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", both[0])
        monkeypatch.setattr(sys, "stderr", both[1])
        main.print_anything(*both)
        return lambda: raw.getvalue().decode(encoding)

    return start


@pytest.mark.parametrize("encoding", NARROW)
def test_every_command_prints_in_every_encoding(streams, encoding) -> None:
    text = streams(encoding)
    for arguments in [*COMMANDS.values(), *MORE]:
        assert main.run(arguments) in (0, 2), arguments
    assert "unexpected error" not in text()
    assert "Mean val_accuracy at each value, over everything else, " in text()


def test_replacements_read_well(streams) -> None:
    text = streams("ascii")
    main.run(["report", "grid"])
    assert "  learning_rate  0.001     0.1350 +- 0.0212    n=2    #######." in text()
    main.run(["report", "--help"])
    assert "A,B,..." in text()
    print("λ = 2·10⁻³ – Zoë 図", file=sys.stderr)
    assert "lambda = 2.10-3 - Zoe ?" in text()


def test_the_bytes_of_a_name_are_printed_as_they_are(streams) -> None:
    streams("utf-8")
    print(os.fsdecode(b"caf\xe9"))
    assert sys.stdout.buffer.getvalue() == b"caf\xe9\n"


def test_lines_of_progress_take_the_place_of_a_view(streams, monkeypatch) -> None:
    text = streams("latin-1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert not can_redraw(sys.stderr)
    with view_of(RunProgress(Objective("val_loss", "min"), time.monotonic), quiet=False) as view:
        view(Notice("½ of ≥ 3 …"))
    assert text().endswith("½ of >= 3 ...\n")


def test_a_file_is_utf_8_whatever_the_terminal_is(tmp_path, folder) -> None:
    """In a process of its own, in a locale that knows ASCII alone."""
    path = tmp_path / "out.md"
    narrow = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def tuner(*arguments: object) -> bytes:
        command = [sys.executable, "-m", "tuner", *map(str, arguments)]
        return subprocess.run(
            command, cwd=folder, env=narrow, capture_output=True, check=True
        ).stdout

    assert tuner("report", "seeds", "-f", "markdown", "-o", path) == b""
    assert "±" in path.read_text("utf-8")
    printed = tuner("report", "seeds", "-f", "markdown")
    assert b"+-" in printed and printed.isascii()
