"""What is said where trials were trained with different numbers of threads."""

from __future__ import annotations

import pytest

from tuner.ledger.records import SEVERAL
from tuner.ledger.threads import mixed_threads, other_threads


@pytest.mark.parametrize("numbers", [[], [None], [2, 2, 2], [None, 1]])
def test_equal_threads_are_not_worth_a_word(numbers) -> None:
    assert mixed_threads(numbers) == ""


@pytest.mark.parametrize(
    ("numbers", "told", "cpu"),
    [
        ([1, 2, 2], "(1 and 2)", 2),
        ([4, 1, 2], "(1, 2 and 4)", 1),
        ([1, SEVERAL], "(1; in some it changed on the way)", 1),
        ([SEVERAL, None], "(in some it changed on the way)", 1),
    ],
)
def test_what_mixes_is_said_with_what_most_had(numbers, told, cpu) -> None:
    assert mixed_threads(numbers) == (
        f"These trials were trained with different numbers of threads {told}, which alone moves "
        f"scores a little; resources: {{cpu: {cpu}}} gives all workers the same."
    )


def test_a_run_with_other_threads_than_most_is_told_how_to_go_on() -> None:
    eight = {"workers": 4, "cores": 8}
    note = other_threads({2: 5, 1: 3}, 1, **eight)
    assert note == (
        "the trials so far were trained with 2 threads, and these workers have 1, which alone "
        "moves scores a little: --cpus-per-worker 2 goes on alike"
    )
    for counts in ({2: 5, 1: 3}, {}, {SEVERAL: 3}):
        assert other_threads(counts, 2, **eight) == ""
    assert "trained with 1 thread, and these workers have 2," in other_threads({1: 3}, 2, **eight)


def test_advice_that_a_run_would_refuse_is_not_given() -> None:
    """As many workers with as many threads may be more than the machine has cores."""
    assert other_threads({4: 1}, 1, workers=4, cores=8).endswith(
        ": -j 2 --cpus-per-worker 4 goes on alike"
    )
    assert other_threads({9: 1}, 1, workers=4, cores=8).endswith("moves scores a little")
