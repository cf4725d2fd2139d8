"""Derived seeds: stable, distinct, small enough for every backend."""

from __future__ import annotations

from tuner.training.seeds import derive, generator


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
