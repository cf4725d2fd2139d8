from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_cache(tmp_path_factory, monkeypatch):
    """No test sees or fills the cache of the person who runs it."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
