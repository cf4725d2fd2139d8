"""The space in keras-tuner's words, and back. The one module that imports keras-tuner (slowly)."""

from __future__ import annotations

import warnings

import pytest

from tuner.experiment.hyperparameters import from_keras_tuner, to_keras_tuner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras_tuner = pytest.importorskip("keras_tuner")

FINITE = """
    model: {choice: [{family: resnet, depth: {choice: [20, 56]}, dropout: {choice: [0, 0.2]}},
                     {family: densenet, growth_rate: {choice: [12, 24]}}]}
    training: {l2: {min: 0, max: 0.3, step: 0.1}, batch_size: {choice: [32, full]},
               schedule: {choice: [constant, {step: {at: [0.5], factor: 0.1}}]},
               epochs: {min: 2, max: 4}}
"""
ONE_BRANCH = """
    model: {family: densenet, growth_rate: {choice: [12, 24]}, bottleneck: {choice: [true, false]}}
    training: {epochs: {min: 2, max: 9, step: 3}, l2: {choice: [0, 1e-4]}}
"""
ENDLESS = """
    model: {family: resnet, dropout: {min: 0, max: 0.5}}
    training: {learning_rate: {min: 1e-4, max: 0.1, scale: log},
               beta_2: {min: 0.9, max: 0.9995, scale: reverse_log},
               batch_size: {min: 16, max: 64, scale: log}}
    search: {method: random, max_trials: 3}
"""


@pytest.mark.parametrize("text", [FINITE, ONE_BRANCH])
def test_every_point_is_reached_by_values_of_keras_tuner(parse, text) -> None:
    space = parse(text).space
    hp, found = to_keras_tuner(space), set()
    for seed in range(4_000):
        hp.values = {}
        for number, parameter in enumerate(hp.space):
            if hp.is_active(parameter):
                hp.values[parameter.name] = parameter.random_sample(100 * seed + number)
        found.add(space.index(from_keras_tuner(space, hp).flat()))
    assert found == set(range(space.size))


def test_draws_of_keras_tuner_are_configurations_of_the_space(parse) -> None:
    space = parse(ENDLESS).space
    hp = to_keras_tuner(space)
    for seed in range(200):
        hp.values = {p.name: p.random_sample(seed + i) for i, p in enumerate(hp.space)}
        point = from_keras_tuner(space, hp)
        assert space.find(point.flat()) == point


def test_scales_are_kept(parse) -> None:
    space = parse(ENDLESS).space
    found = {p.name: (p.min_value, p.max_value, p.sampling) for p in to_keras_tuner(space).space}
    assert found == {
        "training.batch_size": (16, 64, "log"),
        "model.dropout": (0.0, 0.5, "linear"),
        "training.learning_rate": (1e-4, 0.1, "log"),
        "1 - training.beta_2": (0.0005, 0.1, "log"),
    }
