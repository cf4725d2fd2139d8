"""Running out of memory is told from other errors, and told in one line."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from tuner.errors import telling_line
from tuner.execution.protocol import TrainTrial
from tuner.execution.worker import Worker, is_out_of_memory
from tuner.ledger.profile import Stopwatch

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


def test_a_state_that_cannot_be_copied_fails_its_trial_with_the_reason(monkeypatch):
    """It is noticed when the saver is done with the trial's last epoch."""

    class Full:
        def give_up(self):
            raise MemoryError("Unable to allocate 3 TiB")

    from tuner.training.program import Hyperparameters

    prepared = Mock(hyperparameters=Hyperparameters({}, {}, seed=0))
    monkeypatch.setattr("tuner.training.trial.prepare", lambda *_, **__: prepared)
    worker = Mock(spec=Worker, _stopwatch=Stopwatch(), _saver=Full(), _images=None)
    task = TrainTrial(3, "key", 1, {}, {}, frozenset(), "float32", 0, "structure", until=2)
    finished = Worker._finished(worker, task)
    assert (finished.number, finished.out_of_memory, finished.leaves) == (3, True, True)
    assert finished.reason == "MemoryError: Unable to allocate 3 TiB"
