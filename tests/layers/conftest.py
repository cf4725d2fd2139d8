from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quickly(kernels_by_numpy):
    """In every test of this folder."""
