"""Texts that were read and found good, kept in files."""

from __future__ import annotations

from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def check(name: str, found: str) -> None:
    """Compares with a file that was read and found good; delete it to write it anew."""
    path = GOLDEN / name
    if not path.exists():
        path.write_text(found)
        pytest.fail(f"{path} was written: read it")
    assert found == path.read_text()
