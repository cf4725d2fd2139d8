"""The reason of an error is what went wrong, not how a framework begins to tell it."""

from __future__ import annotations

import pytest

from tuner.errors import reason_of, telling_line

KERAS = (
    "Exception encountered when calling MaxPooling2D.call().\n\n\x1b[1mComputed output size would "
    "be zero or negative.\x1b[0m\n\nArguments received by MaxPooling2D.call():\n  • args=('x',)"
)
INFERRED = (
    "Exception encountered when calling Own.call().\n\n\x1b[1mCould not automatically infer the "
    "output shape / dtype of 'own' (of type Own). Error encountered:\n\nname 'units' is not "
    "defined\x1b[0m\n\nArguments received by Own.call():\n  • args=()"
)
EMPTY = (
    "Exception encountered when calling Own.call().\n\n\x1b[1m\x1b[0m\n\nArguments received by x"
)
TENSORFLOW = (
    "Graph execution error:\n\nDetected at node Reshape defined at (most recent call last):\n"
    "<stack traces unavailable>\n2 root error(s) found.\n  (0) INVALID_ARGUMENT: Input has 3 "
    "values\n\t [[{{node Reshape}}]]"
)
EAGER = "{{function_node __wrapped__Cholesky_device_CPU:0}} Input matrix is not invertible. [Op:x]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (KERAS, "Computed output size would be zero or negative."),
        (INFERRED, "name 'units' is not defined"),
        (EMPTY, "Exception encountered when calling Own.call()."),
        (TENSORFLOW, "INVALID_ARGUMENT: Input has 3 values"),
        (EAGER, "Input matrix is not invertible. [Op:x]"),
        ("depth 3\nmore", "depth 3"),
        ("", ""),
    ],
)
def test_the_line_of_the_cause_is_taken(text, line):
    assert telling_line(RuntimeError(text)) == line


def test_a_reason_names_the_kind_and_fits_into_a_table():
    assert reason_of(ValueError(KERAS)).startswith("ValueError: Computed output size")
    assert reason_of(KeyError()) == "KeyError"
    assert len(reason_of(ValueError("x" * 1000))) == 300
