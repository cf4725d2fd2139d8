"""Runs tests again in a process with JAX, or PyTorch, under Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

# Tiny programs run once each: compiling them is the cost, optimizing them is wasted.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA_FLAGS}

PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-x")

IS_THAT_RUN = os.environ.get("KERAS_BACKEND") == "jax"
not_on_jax = pytest.mark.skipif(IS_THAT_RUN, reason="is that run")


def python_on_jax(*arguments: str) -> None:
    """Fails with what the process printed."""
    pytest.importorskip("jax")
    _run(JAX, arguments)


def pytest_on_jax(*arguments: str) -> None:
    """The tests that the arguments select, as one test."""
    python_on_jax(*PYTEST, *arguments)


def pytest_on_torch(*arguments: str) -> None:
    """The same with PyTorch, which the extras do not bring."""
    pytest.importorskip("torch")
    _run({"KERAS_BACKEND": "torch"}, [*PYTEST, *arguments])


def _run(environ: Mapping[str, str], arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
