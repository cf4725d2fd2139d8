"""The contract of the families again, with JAX under Keras."""

from __future__ import annotations

from pathlib import Path

from tests.on_jax import not_on_jax, pytest_on_jax

CONTRACT = Path(__file__).with_name("test_family_contract.py")
# The rest needs no backend, or says nothing new.
CHECKS = "cost or (every_precision and bfloat16) or stateless_scope or lower_the_loss or runtime"

pytestmark = not_on_jax


def test_every_family_holds_on_jax():
    pytest_on_jax("-k", CHECKS, str(CONTRACT))
