"""What a person's `build` draws by itself: numbers that no trial's seed reaches.

They come from one seed, the same in every trial (`undrawn`), so that a trial that is run again is
the same trial. That is said; and where even that cannot be had, it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tuner.errors import InputError, Problem
from tuner.models.own.build import Built, digest_of, set_values
from tuner.models.own.undrawn import called, initializer_of


def note_of_draws(first: Built, run: Callable[[int], Built]) -> str:
    """What to say of the numbers that `build` draws; empty if it draws none.

    `first` is what `run(0)` gave: `build` with its defaults, and a seed for what it draws.

    Raises:
        InputError: they are others each time, whatever the seed.
    """
    _check_initializers(first.model)
    shown = _shown(first)
    if _shown(run(1)) == shown:
        return ""
    if _shown(run(0)) != shown:
        what = "build gives another network each time, with the same values"
        mend = "numpy.random.normal(...), or numpy.random.default_rng(0)"
        raise _unseeded(what, "random numbers without a seed", mend)
    return (
        "build draws random numbers itself: they are the same in every trial, whatever its seed "
        "(initializers of layers are drawn from it)"
    )


def _shown(built: Built) -> tuple[str | None, dict[str, str]]:
    return digest_of(built.model), set_values(built.model)


def _check_initializers(model: Any) -> None:
    for variable in model.variables:
        initializer = initializer_of(variable)
        if initializer is None or type(initializer).__module__.startswith("keras."):
            continue
        arguments = (tuple(variable.shape), variable._dtype, 0)
        if not np.array_equal(called(initializer, *arguments), called(initializer, *arguments)):
            what = "an initializer gives other weights each time, whatever the seed"
            mend = "numpy.random.normal(...) or keras.random.normal(...)"
            raise _unseeded(what, variable.path, mend)


def _unseeded(what: str, received: str, mend: str) -> InputError:
    expected = "draws from a seed, or from a generator that everybody shares"
    return InputError(Problem(what, "model.family", received, expected, mend))
