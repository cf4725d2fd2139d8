"""Which GPUs a run may use: within what CUDA_VISIBLE_DEVICES leaves visible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.errors import InputError, Problem
from tuner.ledger.environment import gpus as installed_gpus

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_HIDES_THE_REST = "-1"
_NAMES = ("GPU-", "MIG-")  # UUIDs of cards, and slices of them


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that several workers share out: those of CUDA_VISIBLE_DEVICES, or all."""
    given = environment.get(_VARIABLE)
    if given is None:
        return [str(gpu.index) for gpu in installed_gpus()]
    names = [name.strip() for name in given.split(",") if name.strip()]
    return names[: names.index(_HIDES_THE_REST)] if _HIDES_THE_REST in names else names


def chosen_gpus(asked: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The GPUs that a person asks for, as CUDA_VISIBLE_DEVICES names them to a worker.

    An index counts within what is visible, so that on a shared machine a person gets no card of
    others; names of cards (GPU-…) and of slices (MIG-…) are taken as they are.

    Raises:
        InputError: what is no GPU, or an index beyond those that are visible.
    """
    if not asked:
        return []
    visible = visible_gpus(environment)
    # Without the variable and without a driver that tells, nobody knows what there is.
    is_known = bool(visible) or _VARIABLE in environment
    problems, chosen = [], []
    for name in asked:
        if name.startswith(_NAMES) or (name.isdecimal() and not is_known):
            chosen.append(name)
        elif not name.isdecimal():
            expected = "indices as 0,1, or names as GPU-…, MIG-…"
            problems.append(Problem("not a list of GPUs", "--gpus", name, expected))
        elif int(name) >= len(visible):
            problems.append(_invisible(name, visible, environment))
        else:
            chosen.append(visible[int(name)])
    if problems:
        raise InputError(problems)
    return chosen


def _invisible(name: str, visible: Sequence[str], environment: Mapping[str, str]) -> Problem:
    given = environment.get(_VARIABLE)
    source = "installed" if given is None else f"visible: {_VARIABLE}={given}"
    last = len(visible) - 1
    expected = f"0 to {last}" if last > 0 else "0" if visible else "none"
    return Problem("there is no such GPU", "--gpus", name, f"{expected} ({source})")
