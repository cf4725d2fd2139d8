"""What is said of trials that CPUs have trained with different numbers of threads.

Sums are taken in another order then, and what training makes of the last digits is no longer the
last digits: scores of equal trials differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tuner.ledger.records import SEVERAL

_ALONE = "which alone moves scores a little"


def mixed_threads(numbers: Iterable[int | None]) -> str:
    """A sentence, where trials with these threads are ranked together; empty where all are alike.

    None, of which nobody knows, does not count.
    """
    counts = Counter(number for number in numbers if number is not None)
    if len(counts) < 2 and SEVERAL not in counts:
        return ""
    fix = f"resources: {{cpu: {_usual(counts)}}}"
    return (
        f"These trials were trained with different numbers of threads ({_listed(counts)}), "
        f"{_ALONE}; {fix} gives all workers the same."
    )


def other_threads(counts: Mapping[int, int], threads: int, *, workers: int, cores: float) -> str:
    """A note, where a run goes on with other `threads` than most trials had; empty otherwise.

    `counts` are those of its trials, by their threads; `workers` are to run on so many `cores`.
    """
    others = {number: 1 for number in counts if number not in (threads, SEVERAL)}
    usual = _usual(counts)
    if not others or usual == threads:
        return ""
    text = f"{_listed(others)} thread{'s' * (list(others) != [1])}"
    note = f"the trials so far were trained with {text}, and these workers have {threads}, {_ALONE}"
    if usual > cores:
        return note
    fewer = f"-j {cores // usual:g} " if workers * usual > cores else ""
    return f"{note}: {fewer}--cpus-per-worker {usual} goes on alike"


def _usual(counts: Mapping[int, int]) -> int:
    """Of most trials; the fewer threads in a tie."""
    known = {number: count for number, count in counts.items() if number != SEVERAL}
    return min(known, key=lambda number: (-known[number], number), default=1)


def _listed(counts: Mapping[int, int]) -> str:
    numbers = [str(number) for number in sorted(counts) if number != SEVERAL]
    text = " and ".join(filter(None, [", ".join(numbers[:-1]), *numbers[-1:]]))
    return "; ".join(filter(None, [text, "in some it changed on the way" * (SEVERAL in counts)]))
