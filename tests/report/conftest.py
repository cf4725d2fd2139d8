from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.report import fixed_ledger, replicated_ledger
from tuner.ledger.folder import RunFolder
from tuner.report.record import RunRecord, read_record


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return fixed_ledger.make(tmp_path)


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    made = read_record(fixed_ledger.make(tmp_path_factory.mktemp("fixed")))
    return replace(made, typed="grid")  # as in ./results


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    made = read_record(replicated_ledger.make(tmp_path_factory.mktemp("seeds")))
    return replace(made, typed="grid")
