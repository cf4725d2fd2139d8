"""Seeds of the parts of a trial, and the initial weights drawn from them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner.training.seeds import VariableSpec, derive, draw, draw_all, generator


def test_a_key_is_the_same_in_every_process_and_version():
    assert derive(0, "layer", 3, 7) == 153337975


def test_keys_differ_by_seed_purpose_and_indices_and_fit_31_bits():
    keys = [
        derive(s, p, i, e) for s in range(10) for p in "ab" for i in range(10) for e in range(10)
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**31 for key in keys)


def test_indices_are_not_glued_together():
    assert derive(1, "layer", 1, 23) != derive(1, "layer", 12, 3)


def test_generators_of_two_purposes_draw_different_numbers():
    first, second = generator(0, "order", 1).random(4), generator(0, "weights", 1).random(4)
    assert (first != second).all()
    assert (first == generator(0, "order", 1).random(4)).all()


NAMES = [
    "GlorotUniform",
    "GlorotNormal",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "TruncatedNormal",
    "RandomNormal",
    "RandomUniform",
]


@pytest.mark.parametrize("name", NAMES)
def test_mean_spread_and_range_agree_with_keras(name):
    shape = (3, 3, 40, 60)
    theirs = np.asarray(getattr(keras.initializers, name)(seed=1)(shape))
    spec = VariableSpec(shape, "float32", getattr(keras.initializers, name)())
    ours = draw(spec, seed=5, index=0)
    assert ours.dtype == np.float32
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.05 * float(theirs.std()))
    if "Normal" not in name or "Random" not in name:
        assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)


def test_constants_are_constants():
    inits = [keras.initializers.Zeros(), keras.initializers.Ones(), keras.initializers.Constant(3)]
    values = draw_all([VariableSpec((4,), "float32", init) for init in inits], seed=0)
    assert [v.tolist() for v in values] == [[0] * 4, [1] * 4, [3] * 4]


def test_an_initializer_that_is_not_known_is_called_with_a_derived_seed():
    spec = VariableSpec((6, 6), "float32", keras.initializers.Orthogonal())
    first, again, other = draw(spec, 1, 0), draw(spec, 1, 0), draw(spec, 2, 0)
    assert first @ first.T == pytest.approx(np.eye(6), abs=1e-5)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_variable_and_every_seed_draws_its_own_values():
    specs = [VariableSpec((50,), "float32", keras.initializers.RandomNormal())] * 2
    first, second = draw_all(specs, seed=0)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, draw_all(specs, seed=1)[0])
    assert np.array_equal(first, draw_all(specs, seed=0)[0])
