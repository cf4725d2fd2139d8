"""Running out of memory is told from other errors, and told in one line."""

from __future__ import annotations

import pytest

from tuner.errors import telling_line
from tuner.execution.worker import is_out_of_memory

GRAPH = """Graph execution error:

Detected at node Tile defined at (most recent call last):
OOM when allocating tensor with shape[64,99999] and type float on CPU
\t [[{{node Tile}}]]"""


class ResourceExhaustedError(Exception):
    """As TensorFlow names it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3 TiB"),
        ResourceExhaustedError("whatever"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes."),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_it_is_known_whatever_it_is_called(error):
    assert is_out_of_memory(error)


def test_it_is_known_behind_another_error():
    try:
        raise ValueError("could not build") from MemoryError()
    except ValueError as error:
        assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [None, ValueError("no"), OSError(28, "No space left on device")])
def test_other_errors_are_others(error):
    assert not is_out_of_memory(error)


def test_the_line_that_says_what_it_was_is_taken():
    assert telling_line(RuntimeError(GRAPH)).startswith("OOM when allocating tensor")
    assert telling_line(RuntimeError(GRAPH.replace("OOM", "Bug"))).startswith("Bug when allocating")
    assert telling_line(ValueError("depth 3\nmore")) == "depth 3"
    assert telling_line(ValueError()) == ""
