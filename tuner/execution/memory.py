"""Tells running out of memory from other errors, whatever the framework calls it."""

from __future__ import annotations

# TensorFlow's ResourceExhaustedError, JAX' JaxRuntimeError, CUDA's and the allocators' own words.
_WORDS = ("resource_exhausted", "out of memory", "oom when allocating", "cannot allocate memory")
_NAMES = ("ResourceExhaustedError", "MemoryError", "_ArrayMemoryError")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, is about memory."""
    while error is not None:
        text = str(error).lower()
        if type(error).__name__ in _NAMES or any(word in text for word in _WORDS):
            return True
        error = error.__cause__
    return False


def telling_line(error: BaseException) -> str:
    """The line of an error's text that says most: about memory, or else the first.

    TensorFlow begins with "Graph execution error:" and says what it was at the end.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    about = [line for line in lines if any(word in line.lower() for word in _WORDS)]
    first = next((line for line in lines if not line.endswith("error:")), "")
    return about[0] if about else first or "".join(lines[:1])
