"""Writes the golden texts again: `python -m tests.golden.write`; then read the difference."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path

from tests.golden import cases
from tests.report import fixed_ledger, replicated_ledger
from tuner.cli import main
from tuner.ledger.ledger import Ledger
from tuner.ledger.table import csv_text

TEXTS = cases.HERE / "texts"


def write() -> None:
    """Every command's output, trials.csv and the keys."""
    TEXTS.mkdir(exist_ok=True)
    (cases.HERE / "keys.json").write_text(cases.all_keys(), "utf-8")
    os.environ["COLUMNS"] = "80"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        fixed_ledger.make(Path("results"))
        replicated_ledger.make(Path("results"))
        for name, arguments in cases.COMMANDS.items():
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert main.run(arguments) == 0, name
            (TEXTS / name).write_text(out.getvalue(), "utf-8")
        with Ledger.open_read_only(Path("results/grid/ledger.sqlite")) as ledger:
            (TEXTS / "trials.csv").write_text(csv_text(ledger), "utf-8")


if __name__ == "__main__":
    write()
