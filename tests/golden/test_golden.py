"""Nothing that a person has is lost when the code is rebuilt: keys, and what commands print.

A text that changes on purpose is written again with `python -m tests.golden.write`, and read.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import cases
from tests.report import fixed_ledger, replicated_ledger
from tuner.cli import main

MEND = "if it changed on purpose: python -m tests.golden.write, and read the difference"


@pytest.fixture
def ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    fixed_ledger.make(Path("results"))
    replicated_ledger.make(Path("results"))


@pytest.mark.parametrize("name", cases.COMMANDS)
def test_a_command_prints_what_it_did(name: str, ledgers: None, capsys) -> None:
    assert main.run(cases.COMMANDS[name]) == 0
    assert capsys.readouterr().out == (cases.HERE / "texts" / name).read_text("utf-8"), MEND


def test_trials_csv_is_what_it_was(ledgers: None) -> None:
    from tuner.ledger.ledger import Ledger
    from tuner.ledger.table import csv_text

    with Ledger.open_read_only(Path("results/grid/ledger.sqlite")) as ledger:
        assert csv_text(ledger) == (cases.HERE / "texts" / "trials.csv").read_text("utf-8"), MEND


def test_trials_keep_their_keys() -> None:
    """A key that changes makes people's finished trials run again."""
    assert cases.all_keys() == (cases.HERE / "keys.json").read_text("utf-8")
