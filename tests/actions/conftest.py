from __future__ import annotations

from tests.execution.conftest import bench

__all__ = ["bench"]
