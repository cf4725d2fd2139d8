"""Runs tests again in a process with JAX, or PyTorch, under Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from mmap import PROT_READ, mmap
from pathlib import Path

import pytest

# Tiny programs run once each. Compiling them is the cost, optimizing them is wasted, and so is a
# compiler of its own for each fusion: without all that it takes a quarter.
_QUICKLY = {
    "xla_backend_optimization_level": "0",
    "xla_llvm_disable_expensive_passes": "true",
    "xla_cpu_use_fusion_emitters": "false",
    "xla_cpu_parallel_codegen_split_count": "1",
}


def _known_flags() -> str:
    """XLA ends the process at a flag that its version does not know."""
    if (jaxlib := find_spec("jaxlib")) is None or jaxlib.origin is None:
        return ""
    library = Path(jaxlib.origin).with_name("libjax_common.so")
    if not library.is_file():  # not Linux, or another jaxlib: compiled as ever
        return ""
    with library.open("rb") as file, mmap(file.fileno(), 0, prot=PROT_READ) as text:
        known = [name for name in _QUICKLY if text.find(name.encode()) >= 0]
    return " ".join(f"--{name}={_QUICKLY[name]}" for name in known)


XLA_FLAGS = _known_flags()
JAX = {
    "KERAS_BACKEND": "jax",
    "JAX_PLATFORMS": "cpu",
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",  # a program needs no lines of Python
    "XLA_FLAGS": XLA_FLAGS,
}

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
