"""Search methods over small experiments."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.search.cases import CASES, PLANNED, Case, Dice

# Times are asserted where they matter, not for every example on a shared machine.
settings.register_profile("tuner", deadline=None)
settings.load_profile("tuner")


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    """Every method that exists, over every kind of space that it takes."""
    case: Case = request.param
    return case


@pytest.fixture(params=PLANNED.values(), ids=PLANNED.keys())
def planned(request: pytest.FixtureRequest) -> Case:
    """Every method that knows beforehand what it will propose."""
    case: Case = request.param
    return case


@pytest.fixture
def dice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bayesian search without its model, which takes a second to load."""
    monkeypatch.setattr("tuner.search.bayesian.GaussianProcess", Dice)
