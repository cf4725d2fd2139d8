"""Experiments from a few lines of YAML."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings

from tuner.errors import InputError, Problem
from tuner.experiment import Experiment, parse_experiment

# Times are asserted where they matter, not for every example on a shared machine.
settings.register_profile("tuner", deadline=None)
settings.load_profile("tuner")

Parse = Callable[..., Experiment]
Refuse = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def parse() -> Parse:
    """Parses the dedented text as x.yaml."""

    def parse(text: str, overrides: Sequence[str] = ()) -> Experiment:
        return parse_experiment(textwrap.dedent(text), "x.yaml", overrides)

    return parse


@pytest.fixture
def refuse(parse: Parse) -> Refuse:
    """The problems of a text that must not parse."""

    def refuse(text: str, overrides: Sequence[str] = ()) -> tuple[Problem, ...]:
        with pytest.raises(InputError) as caught:
            parse(text, overrides)
        return caught.value.problems

    return refuse
