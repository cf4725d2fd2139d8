"""Runs tests again in a process with JAX under Keras."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Tiny programs run once each: compiling them is the cost, optimizing them is wasted.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA_FLAGS}

IS_THAT_RUN = os.environ.get("KERAS_BACKEND") == "jax"
not_on_jax = pytest.mark.skipif(IS_THAT_RUN, reason="is that run")


def python_on_jax(*arguments: str) -> None:
    """Fails with what the process printed."""
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **JAX},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def pytest_on_jax(*arguments: str) -> None:
    """The tests that the arguments select, as one test."""
    python_on_jax("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-x", *arguments)
