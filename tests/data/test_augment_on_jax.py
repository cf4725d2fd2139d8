"""Augmentation again, with JAX under Keras."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax

# The rest needs no backend, or says nothing new.
CHECKS = "not (padding or pixels or number_of_draws or grey)"

pytestmark = not_on_jax


def test_all_of_it_holds_on_jax():
    pytest_on_jax("-k", CHECKS, str(Path(__file__).with_name("test_augment.py")))
