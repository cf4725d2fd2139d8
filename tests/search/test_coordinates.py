"""Open values as numbers of [0, 1]."""

from __future__ import annotations

import math
import random

import pytest

from tests.search.cases import FINITE
from tuner.experiment import parse_experiment
from tuner.search.coordinates import Coordinates, Point

SPACE = """
model: {family: resnet, depth: {choice: [56, 20, 32]}}
training:
  schedule: {choice: [constant, cosine]}
  batch_size: {min: 8, max: 512, scale: log}
  learning_rate: {min: 1e-4, max: 0.1, scale: log}
  beta_2: {min: 0.9, max: 0.9999, scale: reverse_log}
  beta_1: {min: 0.8, max: 0.95, scale: reverse_log, count: 3}
  label_smoothing: {min: 0.0, max: 0.2}
  epochs: {min: 3, max: 12}
search: {method: random, max_trials: 3}
"""


def coordinates(text: str) -> Coordinates:
    for word in ("METHOD", "random"), ("TRIALS", "3"), ("SEED", "0"):
        text = text.replace(*word)
    return Coordinates(parse_experiment(text, "x.yaml").space)


@pytest.mark.parametrize("number", range(8))
def test_the_value_at_the_place_of_a_value_is_that_value(number) -> None:
    dimension = coordinates(SPACE).dimensions[number]
    rng = random.Random(0)
    for u in [0.0, 1 - 1e-9, *(rng.random() for _ in range(50))]:
        value = dimension.axis.domain.sample(u)
        place = dimension.place(value)
        assert 0 <= place <= 1
        back = dimension.value(place)
        assert back == value or math.isclose(back, value, rel_tol=1e-7)


def test_numbers_rise_and_options_without_order_stay_as_written() -> None:
    points = {one.axis.name: one.points for one in coordinates(SPACE).dimensions}
    assert points["model.depth"] == [20, 32, 56]
    assert points["training.schedule"] == ("constant", "cosine")
    assert points["training.learning_rate"] is None


def test_a_scale_is_even_in_its_places() -> None:
    found = {one.axis.name: one for one in coordinates(SPACE).dimensions}
    assert found["training.learning_rate"].place(1e-2) == pytest.approx(2 / 3)
    assert found["training.beta_2"].place(0.99) == pytest.approx(1 / 3)
    assert found["model.depth"].place(32) == pytest.approx(0.5)


def test_what_branches_open_alike_is_one_dimension() -> None:
    found = coordinates(FINITE)
    assert [len(branch) for branch in found.branches] == [4, 3]
    assert len(found.dimensions) == 5
    different = FINITE.replace("growth_rate: {choice: [12", "dropout: {choice: [0.1")
    names = [one.name for one in coordinates(different.replace("24, 36", "0.3")).dimensions]
    assert [name for name in names if "dropout" in name] == ["model.dropout", "model.dropout (2)"]


def test_neighbours_differ_in_few_values_and_lie_near() -> None:
    found = coordinates(SPACE)
    values = {one.axis.name: one.value(0.5) for one in found.dimensions}
    rng, changed, moved = random.Random(0), [], []
    for _ in range(200):
        near = found.near(Point(0, values), rng).values
        others = [one for one in found.dimensions if near[one.axis.name] != values[one.axis.name]]
        changed.append(len(others))
        moved += [abs(one.place(near[one.axis.name]) - 0.5) for one in others if one.is_ordered]
    assert min(changed) >= 0
    assert 1 <= sum(changed) / 200 <= 3
    assert sum(moved) / len(moved) < 0.3
