"""How a process of ours starts in which a person's code runs: a safe path, a plain environment."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

_START = Path(__file__).with_name("start.py")

# Would change what a trial gives without being a part of it; without them all have their defaults.
_DROPPED = (
    "JAX_DEBUG_INFS",
    "JAX_DEBUG_NANS",
    "JAX_DEFAULT_DTYPE_BITS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_DISABLE_JIT",
    "JAX_ENABLE_CUSTOM_PRNG",
    "JAX_ENABLE_X64",
    "JAX_NUMPY_DTYPE_PROMOTION",
    "JAX_NUMPY_RANK_PROMOTION",
    "JAX_THREEFRY_PARTITIONABLE",
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "TF_ENABLE_AUTO_MIXED_PRECISION",
)
# May change the last digits, or on which device they are computed: kept, and recorded.
# By name, as others begin with TF_, too, and hold what is nobody's business.
RECORDED = (
    "CUBLAS_WORKSPACE_CONFIG",
    "JAX_PLATFORMS",
    "JAX_PLATFORM_NAME",
    "MKL_CBWR",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
_FIXED = {
    "KERAS_NNX_ENABLED": "false",  # keras.json may have it on
    "TF_USE_LEGACY_KERAS": "0",  # tf.keras is the Keras that trains here
    "PYTHONHASHSEED": "0",  # the order of a set of strings, in a person's build
    "PYTHONIOENCODING": "utf-8",  # what a person's code prints never fails
    "PYTHONFAULTHANDLER": "1",
}


@contextmanager
def no_garbage_search() -> Iterator[None]:
    """Python looks for no cycles meanwhile, where very much is made that stays.

    A tenth of a short run, while a framework is imported; a quarter of reading 100,000 trials.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def python_command(module: str, *arguments: str, folders: Sequence[str] = ()) -> list[str]:
    """What starts the `main()` of a module of ours; see `start`.

    A person's modules are looked for in `folders` before all other places of theirs.
    """
    import json  # late, as `tuner --help` starts no process

    searched = json.dumps([*folders, *searched_folders()])
    return [sys.executable, "-P", str(_START), searched, module, *arguments]


def searched_folders() -> list[str]:
    """Where modules are looked for: as here, and last in the present folder."""
    import sysconfig

    scripts = sysconfig.get_path("scripts")
    folders = dict.fromkeys(os.path.abspath(path) for path in [*sys.path, os.getcwd()])
    return [folder for folder in folders if folder != scripts]


def plain_environment(environment: Mapping[str, str], backend: str) -> dict[str, str]:
    """The variables without those that would change what a trial gives."""
    kept = {name: value for name, value in environment.items() if name not in _DROPPED}
    return {**kept, **_FIXED, "KERAS_BACKEND": backend}


def recorded_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What a person has set of the variables that may change the last digits."""
    return {name: environment[name] for name in RECORDED if name in environment}


def make_plain(environment: MutableMapping[str, str], backend: str) -> None:
    """`plain_environment`, for this very process."""
    plain = plain_environment(environment, backend)
    for name in environment.keys() - plain.keys():
        del environment[name]
    environment.update(plain)


def search_present_folder() -> None:
    """Find a person's modules in the present folder, too: last, so that they hide nothing."""
    here = os.getcwd()
    if here not in map(os.path.abspath, sys.path):
        sys.path.append(here)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """What is written there is lost, also what C++ writes; exceptions are not."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def prints_aside() -> Iterator[None]:
    """What is printed goes to standard error: standard output is for the answer of a command."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
