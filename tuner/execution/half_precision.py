"""Whether half precision trains faster or slower than float32 on a processor, as it was measured.

Where this machine has trained the same network in both, that counts. Otherwise it depends on the
processor's instructions: with them products take half the time, without them every number is
converted before and after. Of GPUs, of other frameworks and of families that nobody has measured
nothing is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from tuner.execution.estimate import (
    Here,
    Speed,
    SpeedRecord,
    families_of,
    is_long,
    times_as_fast,
)
from tuner.experiment.experiment import Experiment
from tuner.ledger.environment import cpu_instructions
from tuner.ledger.estimate import Estimate

HALF = "mixed_bfloat16"
WORTHWHILE = 1.2  # times as fast: below, a search in another precision is not worth a thought
INSTRUCTIONS = {
    HALF: ("avx512_bf16", "amx_bf16"),
    "mixed_float16": ("avx512_fp16", "amx_fp16"),
}
# Seconds in float32 / in mixed_bfloat16, TensorFlow, avx512_bf16: ResNet-20, WRN-16-4 and, of the
# DenseNets, BC-100-12, which gains less than one without bottlenecks
# (benchmarks/results/2026-11-28-half-precision-cpu.md).
GAINS: Mapping[str, float] = {"resnet": 1.5, "wide_resnet": 1.7, "densenet": 1.4}
# The same of ResNet-20 without the instructions of a precision.
WITHOUT_INSTRUCTIONS: Mapping[str, float] = {HALF: 0.49}


def precision_notes(
    experiment: Experiment, here: Here, estimate: Estimate, *, is_new: bool
) -> Iterator[str]:
    """That a run would be faster in another precision, or is slower in its own."""
    instructions = cpu_instructions()
    if not here.trains_on_cpu or instructions is None:
        return
    record = SpeedRecord.at_home(here.environment).read()

    def gain_of(precision: str) -> float | None:
        found = measured_gain(experiment, precision, here, record)
        return found or known_gain(experiment, precision, instructions)

    if experiment.precision != "float32":
        yield from _warning(experiment.precision, gain_of(experiment.precision), instructions)
    elif is_new and is_long(estimate):
        yield from _suggestion(gain_of(HALF))


def measured_gain(
    experiment: Experiment, precision: str, here: Here, record: Sequence[Speed]
) -> float | None:
    """As the networks of these families that were trained here in both precisions have shown it."""
    full, half = (here.place(experiment, each) for each in ("float32", precision))
    return times_as_fast(record, families_of(experiment), full, half)


def known_gain(
    experiment: Experiment, precision: str, instructions: Collection[str]
) -> float | None:
    """As it was measured elsewhere; None for what was not."""
    if experiment.backend != "tensorflow":
        return None
    if not has_instructions(precision, instructions):
        return WITHOUT_INSTRUCTIONS.get(precision)
    if precision != HALF:
        return None
    gains = [GAINS.get(family) for family in families_of(experiment)]
    known = [gain for gain in gains if gain is not None]
    return min(known) if len(known) == len(gains) else None


def has_instructions(precision: str, instructions: Collection[str]) -> bool:
    """Whether a processor computes with such numbers as they are."""
    return any(name in instructions for name in INSTRUCTIONS[precision])


def _warning(precision: str, gain: float | None, instructions: Collection[str]) -> Iterator[str]:
    if gain is None or gain >= 1.0:
        return
    why = "as both were measured here"
    if not has_instructions(precision, instructions):
        why = f"the processor has no instructions for it ({' or '.join(INSTRUCTIONS[precision])})"
    yield f"precision: {precision} takes about {1 / gain:.1f} times as long as float32 here: {why}"


def _suggestion(gain: float | None) -> Iterator[str]:
    if gain is None or gain < WORTHWHILE:
        return
    yield (
        f"precision: {HALF} would train about {gain:.1f} times as fast on this processor; "
        "its trials are others than those in float32, so choose before the first run"
    )
