from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import fixed_ledger
from tuner.ledger.folder import RunFolder
from tuner.report.record import RunRecord, read_record


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return fixed_ledger.make(tmp_path)


@pytest.fixture
def record(folder: RunFolder) -> RunRecord:
    return read_record(folder)
