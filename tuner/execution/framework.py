"""The framework of this process, where a command needs one itself."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def load_framework(backend: str) -> None:
    """Import Keras on the backend of an experiment, unless the person or program has chosen.

    TensorFlow greets on stderr, past Python, and warns of every model that is not the first: what
    a command says would be lost among it.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("KERAS_BACKEND", backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with _silent_stderr():
        import keras  # noqa: F401


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """What is written to the file descriptor is lost; exceptions are not."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
