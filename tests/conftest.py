"""Quiet frameworks, chosen before anything imports one."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Removed when the tests end; what they measure is of no use to the person's own estimates.
CACHE = tempfile.TemporaryDirectory(prefix="tuner-tests-")
os.environ["TUNER_CACHE_DIR"] = CACHE.name
# Thousands of commits wait for the disk, and no test pulls the plug: in memory, if there is some.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**31:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


# Frameworks are a million objects, which Python would look through again and again for garbage:
# a tenth of all the time that tests take.
gc.disable()  # until they are imported


def pytest_collection_finish():
    """What has been imported stays; of the rest, garbage is looked for more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    gc.enable()


# Longest first.
LONG = (
    "test_programs",
    "test_backends",
    "test_faults",
    "test_pages",
    "test_pool_contract",
    "test_ray",
    "test_family_contract",
    "test_families",
    "test_tutorial",
    "actions/test_export",
    "training/test_trial",
    "test_run",
    "test_interrupt",
    "test_oracle",
    "test_program",
    "test_estimate",
    "test_method_contract",
    "test_own_family",
)


def pytest_configure(config):
    """Of xdist: it would begin with the files that have most tests, and end with the longest."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left alone with one of them at the end."""

    def place(item):
        file = item.nodeid.partition("::")[0]
        return next((n for n, part in enumerate(LONG) if part in file), len(LONG))

    items.sort(key=place)


@pytest.fixture
def kernels_by_numpy(monkeypatch):
    """JAX would compile a program for the initial values of every shape: most of the time."""
    import keras

    rng = np.random.default_rng(0)

    def draw(self, shape, dtype=None):
        deviation = (self.scale / np.prod(shape[:-1])) ** 0.5
        return keras.ops.convert_to_tensor(rng.normal(0, deviation, shape), dtype or "float32")

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)


@pytest.fixture(scope="session")
def environ() -> Iterator[Mapping[str, str]]:
    """For commands whose workers are forked from a process that has imported TensorFlow."""
    from benchmarks.reliability.preload import preloaded
    from benchmarks.reliability.search import environment

    with preloaded("tensorflow", environment()) as environ:
        yield environ


@pytest.fixture(scope="module")
def forked_workers(environ: Mapping[str, str]) -> Iterator[None]:
    """The same for runs in this process: real workers that start in no time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setitem(os.environ, name, value)
        yield
